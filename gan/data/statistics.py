"""Counts over the pixels of images that are seen once, chunk by chunk."""

import numpy as np
from etils import epy

from gan import pictures

with epy.lazy_imports():
    from PIL import Image

_SHEET = (20, 10)  # columns and rows of a contact sheet, at most
_SHEET_PIXELS = (1600, 1000)  # its width and height, about


class Statistics:
    """Counts over pixels, gathered chunk by chunk.

    Attributes:
      shape: (height, width, channels) of an image.
      count: images so far.
      histogram: how often each value occurs, int64 [channels, 256].
      black, white: how many pixels are, in all channels.
      single_colour: numbers of the images that have one colour all over.
    """

    def __init__(self, shape):
        self.shape = shape
        self.count = 0
        self.histogram = np.zeros((shape[2], 256), np.int64)
        self.black = 0
        self.white = 0
        self.single_colour = []
        self._sum = np.zeros(shape, np.int64)
        self._sample = _Sample(shape)

    def add(self, images, content):
        """Counts images.

        Args:
          images: uint8 [n, height, width, channels].
          content: their hashes, bytes [n].
        """
        _, width, channels = self.shape
        flat = pictures.squeeze_gray(images.reshape(-1, width, channels))
        self.histogram += np.reshape(Image.fromarray(flat).histogram(), (channels, 256))
        self.black += int((images == 0).all(axis=-1).sum())
        self.white += int((images == 255).all(axis=-1).sum())
        same = (images == images[:, :1, :1]).all(axis=(1, 2, 3))
        self.single_colour.extend((self.count + np.flatnonzero(same)).tolist())
        self._sum += images.sum(axis=0, dtype=np.int64)
        self._sample.add(images, content, self.count)
        self.count += len(images)

    @property
    def mean_image(self):
        """uint8 [height, width, channels]."""
        return np.rint(self._sum / self.count).astype(np.uint8)

    @property
    def mean(self):
        """Of all values of each channel, 0 to 255: float [channels]."""
        return self.histogram @ np.arange(256) / self.histogram.sum(axis=1)

    @property
    def standard_deviation(self):
        """Of all values of each channel: float [channels]."""
        squares = self.histogram @ np.arange(256) ** 2 / self.histogram.sum(axis=1)
        return np.sqrt(np.maximum(0, squares - self.mean**2))

    @property
    def sample(self):
        """Some images, the same in whatever files and order they come: (numbers [n], uint8 [n, size])."""
        return self._sample.number, self._sample.pixels


class _Sample:
    """The images with the smallest hashes: a random choice that needs no seed, and has no copies."""

    def __init__(self, shape):
        self._most = int(np.prod(sheet_size(shape)))
        self._content = np.empty(0, "S32")
        self.number = np.empty(0, np.int64)
        self.pixels = np.empty((0, int(np.prod(shape))), np.uint8)

    def add(self, images, content, first):
        content = np.concatenate([self._content, content])
        number = np.concatenate([self.number, first + np.arange(len(images))])
        pixels = np.concatenate([self.pixels, images.reshape(len(images), -1)])
        _, chosen = np.unique(content, return_index=True)
        chosen = chosen[: self._most]
        self._content, self.number, self.pixels = content[chosen], number[chosen], pixels[chosen]


def sheet_size(shape):
    """Returns (columns, rows) of a contact sheet of images of this shape: fewer where they are large."""
    height, width, _ = shape
    sides = zip(_SHEET, _SHEET_PIXELS, (width, height), strict=True)
    return tuple(max(1, min(most, pixels // side)) for most, pixels, side in sides)
