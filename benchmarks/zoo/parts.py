"""`default` with one part changed each: what does the part bring? Their docstrings are the rows of a table."""

import sys

from gan import class_lookup
from gan.presets import Default


class LargeBatches(Default):
    """batches of 128"""

    batch_size = 128


class FullWidth(Default):
    """the width of `dcgan`"""

    feature_size = 64


class WithoutAverages(Default):
    """no moving averages"""

    average_half_life = 0
    average_discriminator = False


class WithoutFlips(Default):
    """no horizontal flips"""

    horizontal_flip = False


class WithAugmentation(Default):
    """augmentation: translation, cutout, brightness and contrast"""

    augmentations = "Translation,Cutout,BrightnessContrast"


class WithAdaptiveAugmentation(WithAugmentation):
    """the same augmentation, adaptive"""

    adaptive_augmentation_target = 0.6


class WithR1(Default):
    """R1 in every 16th step, and a D without batch normalisation"""

    discriminator_model = "PlainDiscriminator"
    gradient_penalties = "R1Penalty"
    gradient_penalty_interval = 16


def names():
    """Returns the presets as `--preset` takes them."""
    return [f"{__name__}.{name}" for name in class_lookup.names_in(sys.modules[__name__], Default)]
