"""Measures images: how near they are to real ones, and how many are copies."""

import functools

import numpy as np
from etils import epy

from benchmarks.zoo import results
from gan import feature_networks, memorisation, metrics, random_noise_generator, seeds, spec
from gan.arena import options as arena_options

with epy.lazy_imports():
    import tensorflow as tf

BATCH = 500  # images generated at once
MEMORISATION_IMAGES = 1000


class Judge:
    """Measures images against those of the data set.

    Args:
      options: `ZooOptions`.
      shape: (height, width, channels).

    Attributes:
      data: {"train", "validation"}: the `records.Records`.
    """

    def __init__(self, options, shape):
        self._num_generated = options.num_generated
        self._shape = shape
        self.data = {
            "train": arena_options.load_images(options.train_data_pattern, shape, "train"),
            "validation": arena_options.load_images(options.validation_data_pattern, shape, "validation"),
        }

    @functools.cached_property
    def pixels(self):
        """{"train", "validation"}: uint8 [N, height * width * channels]."""
        return {split: data.pixels.take(np.arange(len(data))) for split, data in self.data.items()}

    def generate(self, folder):
        """Returns the images of a submission's generator for fixed latents, uint8 [num_generated, D]."""
        loaded = tf.saved_model.load(str(folder))
        generate = loaded.signatures[spec.GENERATOR.signature]
        noise = random_noise_generator.generate_noise(self._num_generated, rng=seeds.generator(0, "zoo"))
        batches = [tf.constant(noise[begin : begin + BATCH]) for begin in range(0, len(noise), BATCH)]
        return np.concatenate([spec.to_8bit(generate(**{spec.NOISE: batch})[spec.IMAGES].numpy()) for batch in batches])

    def kid(self, pixels):
        """Returns the KID to training images."""
        return metrics.kid(self._some_training, self._features_of(pixels))

    def against_training(self, pixels):
        """Returns {measure: [value, low, high]}, compared with training images."""
        return _report(self._some_training, self._features_of(pixels))

    def against_validation(self, pixels):
        """Returns the same, compared with the validation images, of which there are few: as many are taken."""
        features = self._features["validation"]
        return _report(features, self._features_of(pixels[: len(features)]), self._features["train"])

    def distinctness(self, pixels):
        """Returns how far images are from the one most like them, over the same for as many training images."""
        count = min(len(pixels), len(self._some_training))
        generated, usual = self._features_of(pixels[:count]), metrics.nearest_distance(self._some_training[:count])
        return metrics.nearest_distance(generated) / max(usual, metrics.LEAST_DISTANCE)

    def copies(self, pixels):
        """Returns [close, looked at]: how many of some images are suspiciously near to a training image."""
        training, others = self._neighbours
        close = memorisation.memorisation(training, pixels[:MEMORISATION_IMAGES], others).close
        return [int(close.sum()), len(close)]

    def _features_of(self, pixels):
        return feature_networks.load(feature_networks.choose(self._shape)).features(pixels, self._shape)

    @functools.cached_property
    def _features(self):
        return {split: self._features_of(pixels) for split, pixels in self.pixels.items()}

    @functools.cached_property
    def _some_training(self):
        """Features of as many training images as are generated, as far as there are."""
        features = self._features["train"]
        order = seeds.generator(0, "zoo", "training").permutation(len(features))
        return features[np.sort(order[: self._num_generated])]

    @functools.cached_property
    def _neighbours(self):
        """The training set to look for copies in, and the `Neighbours` of the validation images there."""
        training = memorisation.TrainingSet(self.pixels["train"], self._shape)
        return training, training.nearest(self.pixels["validation"])


def _report(*features):
    """Returns `metrics.report` as plain data."""
    found = metrics.report(*features)
    return {name: results.plain([estimate.value, estimate.low, estimate.high]) for name, estimate in found.items()}
