"""DCGAN in the way of keras.io: a `keras.Model` with a `train_step` of its own, trained by `fit`."""

import time
from unittest import mock

import keras
import tensorflow as tf

from benchmarks.peers import keras_models, keras_tape


class GAN(keras.Model):
    """Both networks; `fit` takes batches of real images."""

    def __init__(self, recipe):
        super().__init__()
        self._recipe = recipe
        self.generator = keras_models.make_generator(recipe)
        self.discriminator = keras_models.make_discriminator(recipe)

    def compile(self, d_optimizer, g_optimizer, **settings):
        super().compile(**settings)
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.d_loss_metric = keras.metrics.Mean(name="d_loss")
        self.g_loss_metric = keras.metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_loss_metric, self.g_loss_metric]

    def latent_vectors(self):
        return tf.random.normal([self._recipe.batch_size, self._recipe.latent_size])

    def train_step(self, images):
        generated = self.generator(self.latent_vectors(), training=True)
        with tf.GradientTape() as tape:
            on_real = self.discriminator(images, training=True)
            on_generated = self.discriminator(generated, training=True)
            d_loss = keras_tape.discriminator_loss(on_real, on_generated)
        gradients = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply_gradients(zip(gradients, self.discriminator.trainable_weights, strict=True))

        with tf.GradientTape() as tape:
            generated = self.generator(self.latent_vectors(), training=True)
            g_loss = keras_tape.generator_loss(self.discriminator(generated, training=True))
        gradients = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply_gradients(zip(gradients, self.generator.trainable_weights, strict=True))

        self.d_loss_metric.update_state(d_loss)
        self.g_loss_metric.update_state(g_loss)
        return {"d_loss": self.d_loss_metric.result(), "g_loss": self.g_loss_metric.result()}


class Clock(keras.callbacks.Callback):
    """Knows the seconds from the end of the first step to that of the last: what `fit` does but once is left out."""

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if batch == 0:
            self._begin = now
        self.seconds = now - self._begin


class Loop(keras_models.BaseLoop):
    """A training that goes on where it stopped.

    Args:
      recipe: the `recipe.Recipe`.
      images: float32 [N, 50, 50, 1] in [-1, 1].
      jit_compile: of `compile`; "auto", its default, takes XLA.
    """

    def __init__(self, recipe, images, jit_compile="auto"):
        self._model = GAN(recipe)
        optimizers = (keras_models.make_optimizer(recipe), keras_models.make_optimizer(recipe))
        self._model.compile(*optimizers, jit_compile=jit_compile)
        self._dataset = keras_tape.dataset_of(recipe, images)
        self.generator, self.discriminator = self._model.generator, self._model.discriminator

    def seconds_of(self, steps):
        """Makes one step, and `steps` more; returns the seconds of these."""
        clock = Clock()
        self._model.fit(self._dataset, steps_per_epoch=1 + steps, shuffle=False, verbose=0, callbacks=[clock])
        return clock.seconds

    def update(self, images, noise):
        """Makes one step, with the same latent vectors in both passes of G; returns (D's loss, G's loss)."""
        self._model.reset_metrics()  # which are means over all steps since
        with mock.patch.object(self._model, "latent_vectors", lambda: noise):
            losses = self._model.train_step(images)
        return losses["d_loss"], losses["g_loss"]
