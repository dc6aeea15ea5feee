"""Measures of images that both wings use: which training image is nearest to a generated one, and is it too near?

Distance: images are smoothed and halved to about 25 pixels a side; of one, every flip and every shift by up to
`MAX_SHIFT` (coarse) pixels is tried; both are normalised to mean 0 and length 1, which takes brightness and contrast
out. What is left is the Euclidean distance of unit vectors: 0 the same picture, 1.41 unrelated, 2 a negative.

A smooth picture is near to everything, so nearness alone says little. `isolation` divides the distance to the nearest
training image by the distance to the 20th nearest: about 1 for a picture of its own, near 0 for a copy.
"""

import dataclasses

import numpy as np
from etils import epy

with epy.lazy_imports():
    import scipy.stats

MAX_SHIFT = 2
_COARSE_SIDE = 25
_NEIGHBOURS = 20
_CHUNK = 4096  # training images compared at once
_QUANTILE = 0.01
_SIGNIFICANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """For each image its nearest training image.

    Attributes:
      index: int [N], place of the nearest in the training set.
      distance: float [N], to it.
      isolation: float [N], that distance divided by the distance to the 20th nearest.
    """

    index: np.ndarray
    distance: np.ndarray
    isolation: np.ndarray


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """How near generated images are to training images, compared with other real images.

    Attributes:
      neighbours: of the generated images.
      close: bool [N], images nearer, by distance and by isolation, than all but 1 % of other real images.
      thresholds: (distance, isolation) below which an image counts as close.
      p_value: how often so many would be close by chance, if the thresholds were exact.
      flagged: whether a person should look at it.
    """

    neighbours: Neighbours
    close: np.ndarray
    thresholds: tuple
    p_value: float
    flagged: bool


class TrainingSet:
    """Training images, prepared for the search of neighbours.

    Args:
      pixels: uint8 [N, height * width * channels].
      shape: (height, width, channels).
    """

    def __init__(self, pixels, shape):
        self._shape = shape
        chunks = [pixels[start : start + _CHUNK] for start in range(0, len(pixels), _CHUNK)]
        self._images = [_normalise(_centre(_coarse(chunk, shape), 0, 0)) for chunk in chunks]

    def __len__(self):
        return sum(map(len, self._images))

    def nearest(self, pixels):
        """Returns the `Neighbours` of images, uint8 [N, height * width * channels]."""
        variants = _variants(_coarse(pixels, self._shape))
        neighbours = min(_NEIGHBOURS, len(self))
        likeness = np.concatenate([_best_likeness(variants, images) for images in self._images], axis=1)
        order = np.argpartition(-likeness, neighbours - 1, axis=1)[:, :neighbours]
        top = np.take_along_axis(likeness, order, axis=1)
        distances = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * top))
        nearest = distances.argmin(axis=1)[:, None]
        first = np.take_along_axis(distances, nearest, axis=1)[:, 0]
        isolation = first / np.maximum(distances.max(axis=1), 1e-6)
        return Neighbours(np.take_along_axis(order, nearest, axis=1)[:, 0], first, isolation)


def memorisation(training, generated, others):
    """Compares generated images with training images, and real images that were not trained on with them.

    Args:
      training: the `TrainingSet`.
      generated: uint8 [N, D].
      others: `Neighbours` of real images that are not in the training set, from `TrainingSet.nearest`.

    Returns:
      A `Memorisation`.
    """
    found = training.nearest(generated)
    thresholds = tuple(float(np.quantile(values, _QUANTILE)) for values in (others.distance, others.isolation))
    close = (found.distance <= thresholds[0]) & (found.isolation <= thresholds[1])
    p_value = scipy.stats.binomtest(int(close.sum()), len(close), _QUANTILE, alternative="greater").pvalue
    return Memorisation(found, close, thresholds, float(p_value), bool(p_value < _SIGNIFICANCE))


def _coarse(pixels, shape):
    """Averages blocks of pixels: float32 [N, h, w, channels] with sides of about `_COARSE_SIDE`."""
    images = pixels.reshape(-1, *shape)
    block = max(1, round(min(shape[:2]) / _COARSE_SIDE))
    height, width = (side // block for side in shape[:2])
    blocks = images[:, : height * block, : width * block].reshape(-1, height, block, width, block, shape[2])
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def _centre(images, down, right):
    """Cuts out the middle, moved by (down, right): what two images show that are shifted against each other."""
    margin = min(MAX_SHIFT, (min(images.shape[1:3]) - 1) // 2)
    height, width = (side - 2 * margin for side in images.shape[1:3])
    top, left = margin + max(-margin, min(margin, down)), margin + max(-margin, min(margin, right))
    return images[:, top : top + height, left : left + width]


def _normalise(images):
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _variants(images):
    """Returns every flip and shift of the images, normalised."""
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    return [
        _normalise(_centre(flipped, down, right))
        for flipped in (images, images[:, :, ::-1])
        for down in shifts
        for right in shifts
    ]


def _best_likeness(variants, training):
    best = variants[0] @ training.T
    for variant in variants[1:]:
        np.maximum(best, variant @ training.T, out=best)
    return best
