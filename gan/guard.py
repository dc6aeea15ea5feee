"""A small discriminator beside D, which refuses what no image of the training data looks like.

D knows the faults of the generator that it grew up with, and soon no others: after half an hour of training it believes
grainy faces that it refused after ten minutes. In a contest it meets the generators of others. So a guard learns to
tell real images from spoiled ones (Sinha et al., "Negative data augmentation", 2021), and in battle an image is
believed no more than the less convinced of D and guard believes it. G never learns from the guard, and D never sees
spoiled images: among G's they would tell it less about G.
"""

import numpy as np
import tensorflow as tf

from gan import class_lookup, losses, model_builder, negatives, optimizers

# What is spoiled is easy to tell: few weights, and a step for four of D's, are enough and leave D its time.
EVERY = 4  # steps of training for one of the guard
_FEATURES = 16
_IMAGES = 16  # real ones, and as many spoiled ones, in a step, at most
_LOSS = losses.CrossEntropyLoss()
_OPTIMIZER = {"learning_rate": 3e-4, "beta_1": 0.5}  # whatever trains G and D: it plays against nobody


def build_network(contest, seed):
    """Makes the network of a guard, like a small discriminator, with weights that follow from the seed."""
    network = model_builder.create("PlainDiscriminator", "guard", contest, _FEATURES, seed)
    network(np.zeros([1, contest.image_size], np.float32))
    return network


class Guard:
    """A guard that is trained, and its training step.

    Args:
      kinds: `negatives.BaseNegative`s, which spoil images.
      contest: the `spec.ContestSpec`.
      options: `TrainOptions`.

    Attributes:
      network: a `models.BaseModel` that answers like a discriminator.
      step: the traced training step.

    Raises:
      InputError: a negative breaks its contract.
    """

    def __init__(self, kinds, contest, options):
        self._negatives = negatives.Negatives(kinds, contest.image_shape)
        self._count = min(_IMAGES, options.batch_size)
        self.network = build_network(contest, options.seed)
        self._optimizer = optimizers.Adam(**_OPTIMIZER)
        self._optimizer.build(self.network.trainable_variables)
        with class_lookup.blaming("the guard's step with --negatives"):
            self.step = tf.function(self._step, autograph=False).get_concrete_function(
                images=tf.TensorSpec([self._count, contest.image_size], tf.float32), seed=tf.TensorSpec([2], tf.int32)
            )

    def learn(self, images, seed):
        """Makes a step, with the first images of D's batch, none of them mirrored.

        Args:
          images: real ones, float32 [batch_size, height * width * channels] in [0, 1].
          seed: int32 [2].
        """
        self.step(images=tf.constant(images[: self._count]), seed=tf.constant(seed, tf.int32))

    def _step(self, images, seed):
        weights = [variable.value for variable in self.network.trainable_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            on_real = self.network(images, training=True)
            on_spoiled = self.network(self._negatives.of(images, seed), training=True)
            loss = losses.scalar(_LOSS, _LOSS.discriminator_loss(on_real, on_spoiled))
        self._optimizer.apply(tape.gradient(loss, weights), self.network.trainable_variables)

    def variables(self):
        """Returns {"guard": variables, ...}: everything that a step reads or writes."""
        return {"guard": self.network.variables, "guard_optimizer": self._optimizer.variables}
