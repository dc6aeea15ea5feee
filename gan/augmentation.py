"""What D is shown in place of the images themselves, so that it cannot learn a small data set by heart.

Zhao et al., "Differentiable augmentation for data-efficient GAN training" (2020): real and generated images alike are
changed at random before D sees them, and G learns through the change. Add a class here, or in a module of your own,
and name it in `--augmentations`.
"""

import tensorflow as tf

from gan import class_lookup
from gan.errors import InputError


class BaseAugmentation:
    """Base of all augmentations."""

    def augment(self, images, seed):
        """Returns changed images; every image is changed in its own way, and differentiably.

        Args:
          images: float32 [N, height, width, channels], mostly in [0, 1].
          seed: int32 [2], for `tf.random.stateless_*`: a draw of this step alone.
        """
        raise NotImplementedError


class Translation(BaseAugmentation):
    """Moves each image by up to an eighth of its sides; black enters at the edge."""

    def augment(self, images, seed):
        height, width = images.shape[1:3]
        seeds = split(seed, 2)
        rows = _shift_matrices(images, height, seeds[0])
        columns = _shift_matrices(images, width, seeds[1])
        return tf.einsum("nij,njkc,nlk->nilc", rows, images, columns)


def _shift_matrices(images, size, seed):
    """[N, size, size]: ones beside the diagonal, so that a product with them moves rows or columns."""
    most = round(size / 8)
    shift = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1], seed, -most, most + 1, tf.int32)
    places = tf.range(size)
    return tf.cast(places[None, :, None] + shift == places[None, None, :], images.dtype)


class Cutout(BaseAugmentation):
    """Covers a rectangle of half of each side with gray; its centre may lie anywhere."""

    def augment(self, images, seed):
        height, width = images.shape[1:3]
        seeds = split(seed, 2)
        covered = _span(images, height, seeds[0])[:, :, None, None] & _span(images, width, seeds[1])[:, None, :, None]
        return tf.where(covered, tf.constant(0.5, images.dtype), images)


def _span(images, size, seed):
    """[N, size], true over a random stretch of half of the size (less where it crosses the edge)."""
    centre = tf.random.stateless_uniform([tf.shape(images)[0], 1], seed, 0, size, tf.int32)
    return tf.abs(2 * (tf.range(size)[None, :] - centre)) < size // 2


class BrightnessContrast(BaseAugmentation):
    """Adds a number of [-1/4, 1/4] to each image and scales its distance to its mean by [1/2, 3/2]."""

    def augment(self, images, seed):
        seeds = split(seed, 2)
        one_each = [tf.shape(images)[0], 1, 1, 1]
        brightness = tf.random.stateless_uniform(one_each, seeds[0], -0.25, 0.25)
        contrast = tf.random.stateless_uniform(one_each, seeds[1], 0.5, 1.5)
        mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        return (images - mean) * contrast + mean + brightness


class Pipeline:
    """Several augmentations, one after the other, each on a share of the images.

    Args:
      augmentations: `BaseAugmentation`s.
      image_shape: (height, width, channels).

    Raises:
      InputError: one of them breaks its contract.
    """

    def __init__(self, augmentations, image_shape):
        for augmentation in augmentations:
            _check(augmentation, tf.fill([4, *image_shape], 0.25))
        self._augmentations = augmentations
        self._image_shape = image_shape

    def __call__(self, flat, probability, seed):
        """Returns the images as D sees them.

        Args:
          flat: float32 [N, height * width * channels].
          probability: scalar in [0, 1], with which each change meets each image.
          seed: int32 [2].
        """
        images = tf.reshape(flat, [-1, *self._image_shape])
        for augmentation, (choice, change) in zip(
            self._augmentations, pairs(split(seed, 2 * len(self._augmentations))), strict=True
        ):
            chosen = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], choice) < probability
            images = tf.where(chosen, augmentation.augment(images, change), images)
        return tf.reshape(images, tf.shape(flat))


def _check(augmentation, images):
    """Raises InputError where G could not learn through an augmentation."""
    name = f"{type(augmentation).__name__}.augment"
    with class_lookup.blaming(name), tf.GradientTape() as tape:
        tape.watch(images)
        changed = augmentation.augment(images, tf.constant([0, 1]))
    found = f"{changed.dtype.name} {list(changed.shape)}" if tf.is_tensor(changed) else repr(changed)
    if not tf.is_tensor(changed) or changed.shape != images.shape or changed.dtype != images.dtype:
        raise InputError(f"{name} returned {found}; expected float32 {list(images.shape)}, as it got")
    if tape.gradient(changed, images) is None:
        raise InputError(f"{name} cannot be differentiated, so that G would learn nothing through it")


def flip_half(flat, image_shape, seed):
    """Mirrors about half of the images, float32 [N, height * width * channels], left to right."""
    images = tf.reshape(flat, [-1, *image_shape])
    flipped = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.reshape(tf.where(flipped, tf.reverse(images, [2]), images), tf.shape(flat))


def split(seed, count):
    """Returns `count` independent seeds, int32 [2] each."""
    return tf.unstack(tf.random.split(seed, count)) if count else []


def pairs(values):
    return zip(values[::2], values[1::2], strict=True)
