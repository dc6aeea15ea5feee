"""Tested combinations of `gan.train`'s flags: `--preset=NAME` sets them, and any flag beside it overrides.

Add a class here, or name one of a module of your own by dotted path. A preset inherits what it does not set itself.

What to expect is said of 11,479 faces of 50x50 and 2 cores of a small server, for `python -m gan.train
--train_data_pattern='faces/train*.tfrecords' --num_epochs=1000` and the flags that are named. The KID is that of the
README's table, which has more numbers; `python -m benchmarks.zoo` makes it.
"""

import sys

from gan import class_lookup


class Preset:
    """Base of all presets: a public attribute is the value of the flag of that name."""

    @classmethod
    def settings(cls):
        """Returns {flag: value}."""
        names = (name for name in dir(cls) if not name.startswith("_") and name != "settings")
        return {name: getattr(cls, name) for name in names}


class Default(Preset):
    """What we recommend, and what the flags' own defaults are: a small DCGAN, trained on small batches.

    Against `dcgan`: three quarters of the width and an eighth of the batch, so many more updates in the same time; a
    learning rate of 3e-4; horizontal flips; moving averages of both networks battle, which takes the noise of small
    batches out; p is fitted on held-out images; and a guard beside D refuses what no training image looks like.

    Faces: after 10 minutes a KID x 1000 of 15, by `--preset=default --max_steps=9550`.
    """


class BaseClassic(Preset):
    """What was usual in 2015, and nothing of what came later.

    It sets all that decides what is learned, so that what extends it stays as it is when the flags' defaults change.
    """

    feature_size = 64
    label_loss = "CrossEntropyLoss"
    gradient_penalties = ""
    gradient_penalty_weight = 1.0
    gradient_penalty_interval = 1
    horizontal_flip = False
    augmentations = ""
    augmentation_probability = 1.0
    adaptive_augmentation_target = None
    negatives = ""
    shared_pass = False
    average_half_life = 0
    average_discriminator = False
    held_out_images = 0
    batch_size = 128
    optimizer = "AdamOptimizer"
    base_learning_rate = 0.0002
    learning_rate_decay = 0.95
    learning_rate_decay_examples = 4_000_000
    discriminator_rate_factor = 1.0
    adam_beta1 = 0.5
    adam_beta2 = 0.999
    clip_gradient_norm = 0.0
    regularization_penalty = 1.0


class Sample(BaseClassic):
    """Dense layers alone: the models that every team of the first contest started from.

    Faces: after 10 minutes a KID x 1000 of 1111, by `--preset=sample --max_steps=66950`.
    """

    generator_model = "SampleGenerator"
    discriminator_model = "SampleDiscriminator"
    clip_gradient_norm = 1.0


class DCGAN(BaseClassic):
    """Radford et al. 2015 with 4x4 kernels: the frozen baseline. No average, no augmentation, no fitted p.

    Faces: after 10 minutes a KID x 1000 of 41, by `--preset=dcgan --max_steps=1010`.
    """

    generator_model = "DCGAN4Generator"
    discriminator_model = "DCGAN4Discriminator"


class ImageNet32(BaseClassic):
    """Radford et al. 2015, section 4.3: DCGAN as published, for RGB images of 32x32 from folders of classes.

    `python -m gan.train --preset=imagenet32 --image_height=32 --image_width=32 --image_channels=3
    --train_data_pattern='imagenet32/train*.tfrecords'`; `gan.build_records` makes the records.
    """

    generator_model = "DCGANGenerator"
    discriminator_model = "DCGANDiscriminator"


class BaseAveraged(DCGAN):
    """What the presets below share with `default`: small batches, averages of both networks, a fitted p."""

    batch_size = 16
    horizontal_flip = None
    average_half_life = 20000
    average_discriminator = True
    held_out_images = 500


class SNGAN(BaseAveraged):
    """Miyato et al. 2018: residual blocks, spectral normalisation in D, hinge loss.

    There D makes five steps for each of G's. Here it makes one, at four times G's rate, which a short training likes
    better (Heusel et al. 2017, "GANs trained by a two time-scale update rule").

    Faces: after 10 minutes a KID x 1000 of 21, by `--preset=sngan --max_steps=5690`.
    """

    generator_model = "SNGANGenerator"
    discriminator_model = "SNGANDiscriminator"
    feature_size = 16
    label_loss = "HingeLoss"
    discriminator_rate_factor = 4.0
    adam_beta1 = 0.0
    adam_beta2 = 0.9


class WGANGP(BaseAveraged):
    """Gulrajani et al. 2017: a critic without normalisation, whose gradient is held to length 1.

    There the critic makes five steps for each of G's. Here it makes one, at twice G's rate.

    Faces: after 10 minutes a KID x 1000 of 15, by `--preset=wgangp --max_steps=7080`.
    """

    discriminator_model = "PlainDiscriminator"
    feature_size = 48
    label_loss = "WassersteinLoss"
    gradient_penalties = "WassersteinPenalty"
    gradient_penalty_weight = 10.0
    discriminator_rate_factor = 2.0
    adam_beta1 = 0.0
    adam_beta2 = 0.9


class R3GAN(BaseAveraged):
    """Huang et al. 2024: relativistic pairs, both zero-centred penalties, residual blocks without normalisation.

    There batches have 256 images or more, and each stage two blocks. The weight is their gamma of 0.4; see
    `losses.BasePenalty` for the factor of four.

    Faces: after 10 minutes a KID x 1000 of 32, by `--preset=r3gan --max_steps=4690`.
    """

    generator_model = "R3GANGenerator"
    discriminator_model = "R3GANDiscriminator"
    feature_size = 32
    label_loss = "RelativisticLoss"
    gradient_penalties = "R1Penalty,R2Penalty"
    gradient_penalty_weight = 0.1
    gradient_penalty_interval = 4
    base_learning_rate = 0.0003
    adam_beta1 = 0.0
    adam_beta2 = 0.99


class Conditional(Default):
    """`default` that is told the class of each image (`--use_mnist`, the embedded digits): Miyato & Koyama 2018."""

    generator_model = "ConditionalDCGANGenerator"
    discriminator_model = "ConditionalDCGANDiscriminator"


def find(name):
    """Returns the preset class.

    Args:
      name: "dcgan", a class of this module in any case, or "my_presets.Mine".

    Raises:
      InputError: there is none.
    """
    return class_lookup.find(own_names().get(name.lower(), name), __name__, Preset, "preset")


def own_names():
    """Returns {name for the flag: class name} of the presets here."""
    return {name.lower(): name for name in class_lookup.names_in(sys.modules[__name__], Preset)}
