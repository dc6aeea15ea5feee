"""The embedded data set: scikit-learn's bundled handwritten digits, scaled to 28x28, so that nothing is downloaded."""

import numpy as np
from etils import epy

from gan import records

with epy.lazy_imports():
    import sklearn.datasets
    from PIL import Image

SHAPE = (28, 28, 1)


def load(split):
    """Returns `Records` with labels.

    Args:
      split: "train" (1,437 images), or "validation" (every fifth image of the original order: 360).
    """
    data = sklearn.datasets.load_digits()
    held_out = np.arange(len(data.images)) % 5 == 0
    chosen = held_out if split == "validation" else ~held_out
    pixels = [_enlarge(image) for image in data.images[chosen]]
    return records.from_arrays(np.stack(pixels), SHAPE, data.target[chosen])


def _enlarge(image):
    """8x8 with values from 0 to 16 becomes 28x28 bytes, flattened."""
    pixels = np.rint(image * (255 / 16)).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize(SHAPE[:2], Image.Resampling.BICUBIC)).ravel()
