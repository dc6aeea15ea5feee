"""DCGAN in the way of TensorFlow's tutorial: gradient tapes in a `tf.function`, in a loop over a `tf.data.Dataset`."""

import itertools
import time

import keras
import tensorflow as tf

from benchmarks.peers import keras_models

cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)


def discriminator_loss(on_real, on_generated):
    return cross_entropy(tf.ones_like(on_real), on_real) + cross_entropy(tf.zeros_like(on_generated), on_generated)


def generator_loss(on_generated):
    return cross_entropy(tf.ones_like(on_generated), on_generated)


def dataset_of(recipe, images):
    """Returns endless shuffled batches of images that are held in memory."""
    dataset = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).repeat()
    return dataset.batch(recipe.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


class Loop(keras_models.BaseLoop):
    """A training that goes on where it stopped.

    Args:
      recipe: the `recipe.Recipe`.
      images: float32 [N, 50, 50, 1] in [-1, 1].
    """

    def __init__(self, recipe, images):
        self._recipe = recipe
        self.generator = keras_models.make_generator(recipe)
        self.discriminator = keras_models.make_discriminator(recipe)
        self._generator_optimizer = keras_models.make_optimizer(recipe)
        self._discriminator_optimizer = keras_models.make_optimizer(recipe)
        self._generator_optimizer.build(self.generator.trainable_variables)
        self._discriminator_optimizer.build(self.discriminator.trainable_variables)
        self._batches = iter(dataset_of(recipe, images))

    def seconds_of(self, steps):
        """Makes steps; returns the seconds that they take."""
        begin = time.perf_counter()
        for batch in itertools.islice(self._batches, steps):
            losses = self._train_step(batch)
        [loss.numpy() for loss in losses]  # once they are there, the last step is done
        return time.perf_counter() - begin

    @tf.function
    def _train_step(self, images):
        return self.update(images, tf.random.normal([self._recipe.batch_size, self._recipe.latent_size]))

    @tf.function
    def update(self, images, noise):
        """Makes one step; returns (D's loss, G's loss)."""
        with tf.GradientTape() as generator_tape:
            generated = self.generator(noise, training=True)
            with generator_tape.stop_recording(), tf.GradientTape() as discriminator_tape:
                on_real = self.discriminator(images, training=True)
                on_generated = self.discriminator(generated, training=True)
                d_loss = discriminator_loss(on_real, on_generated)
            with generator_tape.stop_recording():
                variables = self.discriminator.trainable_variables
                gradients = discriminator_tape.gradient(d_loss, variables)
                self._discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
            g_loss = generator_loss(self.discriminator(generated, training=True))
        variables = self.generator.trainable_variables
        gradients = generator_tape.gradient(g_loss, variables)
        self._generator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return d_loss, g_loss
