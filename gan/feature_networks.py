"""Frozen networks that turn images into features, numbers in which a metric compares sets of images.

Numbers of two networks, or of two versions of one, cannot be compared. So the small networks are shipped and their
files' hashes stand here; `gan.train_features` made them. `gan/feature_weights/README.md` tells what they reach.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib

import numpy as np
from etils import epy

from gan.errors import InputError

with epy.lazy_imports():
    import keras
    import tensorflow as tf

INCEPTION = "inception"
_FOLDER = pathlib.Path(__file__).parent / "feature_weights"
_BATCH = 256  # images at once
_INCEPTION_BATCH = 32
_INCEPTION_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


@dataclasses.dataclass(frozen=True)
class Network:
    """A small convolutional network for gray squares, and the frozen weights of it that are shipped.

    Attributes:
      side: height and width of its images in pixels.
      layers: (filters, stride) of each 3x3 convolution.
      size: number of features.
      sha256: of `feature_weights/NAME.npz`.
      command: what made the file.
    """

    side: int
    layers: tuple
    size: int
    sha256: str
    command: str


NETWORKS = {
    "digits": Network(
        side=28,
        layers=((16, 1), (32, 2), (32, 1), (64, 2), (128, 1)),
        size=64,
        sha256="9083b02ab2e6e42cc466d6ff7ab73960abf9395e0ede2bc5e4151690e9e60661",
        command="python -m gan.train_features --kind=digits --train_data_pattern=mnist/train.tfrecords "
        "--output_file=gan/feature_weights/digits.npz",
    ),
    "faces": Network(
        side=50,
        layers=((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (256, 1)),
        size=64,
        sha256="3bcd70733a45597ad76354e996937f2130b266d140f1b456207bdb61b28bb76b",
        command="python -m gan.train_features --kind=faces --train_data_pattern=faces/train.tfrecords "
        "--output_file=gan/feature_weights/faces.npz",
    ),
}


def choose(image_shape):
    """Returns the name of the small network for images of (height, width, channels)."""
    height, width, channels = image_shape
    return "digits" if channels == 1 and max(height, width) <= 32 else "faces"


@functools.cache
def load(name):
    """Returns a `FeatureNetwork`.

    Args:
      name: "digits" or "faces", which are shipped, or "inception": Keras's InceptionV3 (Szegedy et al. 2015, trained on
        ImageNet), whose weights Keras downloads when they are first used. Its numbers are not those of papers, which
        use another port of the network.

    Raises:
      InputError: there is no such network, or its weights cannot be had.
    """
    if name == INCEPTION:
        return _Inception()
    if name not in NETWORKS:
        raise InputError(f"feature network {name!r}: expected one of {', '.join([*NETWORKS, INCEPTION])}")
    return _Small(name)


class FeatureNetwork:
    """A frozen network.

    Attributes:
      name: as in `load`.
      side: height and width in pixels of the images that it looks at; others are resized.
      channels: 1 or 3; RGB images become gray (luma) for 1, gray ones are repeated for 3.
      size: number of features.
    """

    name: str
    side: int
    channels: int
    size: int
    batch_size = _BATCH

    def features(self, pixels, image_shape):
        """Returns float32 [N, size].

        Args:
          pixels: uint8 [N, height * width * channels].
          image_shape: (height, width, channels).

        Raises:
          ValueError: the pixels are not uint8 or do not have that shape.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != np.prod(image_shape):
            raise ValueError(
                f"pixels are {pixels.dtype} {list(pixels.shape)}; expected uint8 [N, {np.prod(image_shape)}] "
                f"for images of {'x'.join(map(str, image_shape))}"
            )
        features = np.empty((len(pixels), self.size), np.float32)
        for start in range(0, len(pixels), self.batch_size):
            images = self._prepare(pixels[start : start + self.batch_size].reshape(-1, *image_shape))
            features[start : start + self.batch_size] = self._apply(images)
        return features

    def _prepare(self, pixels):
        """uint8 [n, height, width, channels] becomes float32 [n, side, side, own channels] in [0, 1]."""
        images = tf.cast(pixels, tf.float32) / 255.0
        if pixels.shape[3] == 3 and self.channels == 1:
            images = tf.image.rgb_to_grayscale(images)
        if pixels.shape[1:3] != (self.side, self.side):
            images = tf.image.resize(images, (self.side, self.side), antialias=True)
        return tf.repeat(images, self.channels // images.shape[3], axis=3)

    def _apply(self, images):
        raise NotImplementedError


class _Small(FeatureNetwork):
    channels = 1

    def __init__(self, name):
        self.name = name
        self.side = NETWORKS[name].side
        self.size = NETWORKS[name].size
        self._weights = _frozen(name)

    def _apply(self, images):
        return apply(NETWORKS[self.name], self._weights, images)


def apply(network, weights, images):
    """Returns the features [N, size] of images [N, side, side, 1] in [0, 1], in the images' own precision.

    Args:
      network: the `Network`.
      weights: {name: array or tensor}, see `weight_shapes`.
      images: a tensor.
    """
    weights = {name: tf.cast(weights[name], images.dtype) for name in weight_shapes(network)}
    images = 4.0 * images - 2.0
    for i, (_, stride) in enumerate(network.layers):
        images = tf.nn.conv2d(images, weights[f"convolution_{i}/kernel"], stride, "SAME")
        images = tf.nn.relu(images + weights[f"convolution_{i}/bias"])
    return tf.reduce_mean(images, axis=(1, 2)) @ weights["features/kernel"] + weights["features/bias"]


def weight_shapes(network):
    """Returns {name: shape} of a network's weights."""
    shapes, below = {}, 1
    for i, (filters, _) in enumerate(network.layers):
        shapes |= {f"convolution_{i}/kernel": (3, 3, below, filters), f"convolution_{i}/bias": (filters,)}
        below = filters
    return shapes | {"features/kernel": (below, network.size), "features/bias": (network.size,)}


def _frozen(name):
    """Reads the shipped weights as float32."""
    file = _FOLDER / f"{name}.npz"
    if hashlib.sha256(file.read_bytes()).hexdigest() != NETWORKS[name].sha256:
        raise InputError(f"{file} is not the file that was shipped, so its numbers mean nothing; install gan anew")
    with np.load(file) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays}


class _Inception(FeatureNetwork):
    name, side, channels, size = INCEPTION, 299, 3, 2048
    batch_size = _INCEPTION_BATCH

    def __init__(self):
        try:
            self._model = keras.applications.InceptionV3(include_top=False, pooling="avg", weights="imagenet")
        except Exception as error:  # noqa: BLE001 - Keras raises bare ones where a download fails
            folder = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
            raise InputError(
                f"the weights of InceptionV3 could not be downloaded ({type(error).__name__}): put {_INCEPTION_FILE}, "
                f"from Keras's releases, into {folder}, or use the network 'digits' or 'faces', which are shipped"
            ) from None

    def _apply(self, images):
        return self._model(images * 2.0 - 1.0, training=False)
