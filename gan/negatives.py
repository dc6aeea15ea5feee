"""Ways to spoil real images: what the guard beside D learns to refuse, see `gan.guard`.

Add a class here, or in a module of your own, and name it in `--negatives`.
"""

import tensorflow as tf

from gan import augmentation, class_lookup
from gan.errors import InputError


class BaseNegative:
    """Base of all ways to spoil real images."""

    def spoil(self, images, seed):
        """Returns images that are not real any more, each spoiled in its own way; what leaves [0, 1] is cut off.

        Args:
          images: real ones, float32 [N, height, width, channels] in [0, 1].
          seed: int32 [2], for `tf.random.stateless_*`: a draw of this step alone.
        """
        raise NotImplementedError


class Grain(BaseNegative):
    """Mixes each image with noise: from a tenth of it, which shows as grain, to noise alone."""

    def spoil(self, images, seed):
        strength_seed, noise_seed = augmentation.split(seed, 2)
        strength = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], strength_seed, 0.1, 1.0)
        noise = tf.random.stateless_uniform(tf.shape(images), noise_seed)
        return images + strength * (noise - images)


class Ghost(BaseNegative):
    """Lays several images over each other, as a generator does that cannot decide."""

    def spoil(self, images, seed):
        seeds = augmentation.split(seed, 3)
        others = [tf.gather(images, _shuffled(images, each)) for each in seeds]
        return tf.add_n([images, *others]) / 4


def _shuffled(images, seed):
    """[N]: the places of the images in a random order."""
    return tf.argsort(tf.random.stateless_uniform([tf.shape(images)[0]], seed))


class Negatives:
    """Spoils batches, each kind as many images as the others.

    Args:
      kinds: `BaseNegative`s, at least one.
      image_shape: (height, width, channels).

    Raises:
      InputError: one of them breaks its contract.
    """

    def __init__(self, kinds, image_shape):
        for kind in kinds:
            _check(kind, tf.fill([4, *image_shape], 0.25))
        self._kinds = kinds
        self._image_shape = image_shape

    def of(self, flat, seed):
        """Returns the batch with all of its images spoiled.

        Args:
          flat: real images, float32 [N, height * width * channels] in [0, 1].
          seed: int32 [2].
        """
        images = tf.reshape(flat, [-1, *self._image_shape])
        seeds = augmentation.split(seed, len(self._kinds))
        # Every kind chooses from the whole batch, so that those that mix images have enough of them.
        spoiled = [kind.spoil(images, each) for kind, each in zip(self._kinds, seeds, strict=True)]
        shares = [made[place :: len(spoiled)] for place, made in enumerate(spoiled)]
        # No generated image leaves the range: a guard that went by that would be of no use.
        return tf.clip_by_value(tf.reshape(tf.concat(shares, axis=0), tf.shape(flat)), 0.0, 1.0)


def _check(kind, images):
    """Raises InputError where a guard could not be shown what comes out."""
    name = f"{type(kind).__name__}.spoil"
    with class_lookup.blaming(name):
        spoiled = kind.spoil(images, tf.constant([0, 1]))
    found = f"{spoiled.dtype.name} {list(spoiled.shape)}" if tf.is_tensor(spoiled) else repr(spoiled)
    if not tf.is_tensor(spoiled) or spoiled.shape != images.shape or spoiled.dtype != images.dtype:
        raise InputError(f"{name} returned {found}; expected float32 {list(images.shape)}, as it got")
    if not tf.reduce_all(tf.math.is_finite(spoiled)):
        raise InputError(f"{name} returned values that are not finite numbers")
