"""The objectives: losses, and penalties on D's gradient that can be combined with any of them.

Add a class here, or in a module of your own, and name it in `--label_loss` or in `--gradient_penalties`. D(x) below is
the logit, before the sigmoid that makes p of it.
"""

import keras
import tensorflow as tf
from keras import ops

from gan.errors import InputError


class BaseLoss:
    """Base of all losses.

    A loss on labels overrides `calculate_loss` alone. A loss that needs more (logits, pairs of real and generated
    images) overrides `discriminator_loss` and `generator_loss`, which are what the trainer calls.

    `is_critic`: whether only differences of logits mean something, so that a p of 0.5 is no threshold by itself.
    """

    is_critic = False

    def calculate_loss(self, predictions, labels):
        """Returns the scalar loss of a batch.

        Args:
          predictions: D's p [N, 1] in [0, 1].
          labels: what p should be, [N, 1]: 1 real, 0 generated.
        """
        raise NotImplementedError

    def discriminator_loss(self, real, generated):
        """Returns the scalar that D minimises.

        Args:
          real, generated: D's outputs {"logits", "predictions"}, [N, 1] each, for real and for generated images.
        """
        return self._labelled(real, 1) + self._labelled(generated, 0)

    def generator_loss(self, real, generated):
        """Returns the scalar that G minimises.

        Args:
          real: D's outputs before its update of this step.
          generated: D's outputs after it, with `--shared_pass` before it; the gradient flows through them into G.
        """
        return self._labelled(generated, 1)

    def _labelled(self, outputs, label):
        predictions = outputs["predictions"]
        return self.calculate_loss(predictions, label * ops.ones_like(predictions))


class CrossEntropyLoss(BaseLoss):
    """Cross entropy; G maximises log D(G(z)) (non-saturating: Goodfellow et al. 2014, section 3).

    In a traced step Keras takes the logits behind a sigmoid, so the gradient stays where p rounds to 0 or 1.
    """

    def calculate_loss(self, predictions, labels):
        return ops.mean(keras.losses.binary_crossentropy(labels, predictions))


class LeastSquaresLoss(BaseLoss):
    """Mao et al., "Least squares generative adversarial networks" (2017), equation 2, with a = -1 and b = c = 1.

    This is the paper's 0-1 coding (equation 9) stretched to [-1, 1], so that D is undecided at 0, where p is 0.5.
    """

    def discriminator_loss(self, real, generated):
        return 0.5 * ops.mean((real["logits"] - 1) ** 2) + 0.5 * ops.mean((generated["logits"] + 1) ** 2)

    def generator_loss(self, real, generated):
        return 0.5 * ops.mean((generated["logits"] - 1) ** 2)


class HingeLoss(BaseLoss):
    """Lim & Ye, "Geometric GAN" (2017); as in Miyato et al. 2018, equations 16 and 17."""

    def discriminator_loss(self, real, generated):
        return ops.mean(ops.relu(1 - real["logits"])) + ops.mean(ops.relu(1 + generated["logits"]))

    def generator_loss(self, real, generated):
        return -ops.mean(generated["logits"])


class WassersteinLoss(BaseLoss):
    """Arjovsky et al., "Wasserstein GAN" (2017). D is a critic: combine it with `WassersteinPenalty`.

    Only differences of logits mean something, so p needs `--held_out_images` for its threshold.
    """

    is_critic = True

    def discriminator_loss(self, real, generated):
        return ops.mean(generated["logits"]) - ops.mean(real["logits"])

    def generator_loss(self, real, generated):
        return -ops.mean(generated["logits"])


class RelativisticLoss(BaseLoss):
    """Relativistic pairing, RpGAN: D(x) - D(G(z)) in place of D (Jolicoeur-Martineau 2018; R3GAN 2024, equation 2).

    Only differences of logits mean something, so p needs `--held_out_images` for its threshold.
    """

    is_critic = True

    def discriminator_loss(self, real, generated):
        return ops.mean(ops.softplus(generated["logits"] - real["logits"]))

    def generator_loss(self, real, generated):
        return ops.mean(ops.softplus(real["logits"] - generated["logits"]))


class BasePenalty:
    """Base of all penalties on D's gradient, which the trainer weights and adds to D's loss.

    The gradient is by pixels in [0, 1]. Papers have pixels in [-1, 1], where it is half as long: a weight of 1 on its
    square is one of 4 there. Batch normalisation in D would mix the images' gradients, so use a D without it.
    """

    def calculate_penalty(self, critic, real, generated, uniform):
        """Returns a scalar, the mean over the images, of which each of several devices has its own.

        Args:
          critic: turns images into logits [N, 1], with the weights of D.
          real, generated: the images that D sees in this step, [N, height * width * channels] each.
          uniform: `uniform(size)` draws float32 [N, size] in [0, 1): numbers of this step alone, the same on any number
            of devices.
        """
        raise NotImplementedError


class R1Penalty(BasePenalty):
    """1/2 E |grad D(x)|^2 over real images (Mescheder et al. 2018, section 4.1, equation 9)."""

    def calculate_penalty(self, critic, real, generated, uniform):
        return 0.5 * ops.mean(squared_gradient(critic, real))


class R2Penalty(BasePenalty):
    """1/2 E |grad D(G(z))|^2 over generated images (Mescheder et al. 2018, section 4.1, equation 10)."""

    def calculate_penalty(self, critic, real, generated, uniform):
        return 0.5 * ops.mean(squared_gradient(critic, generated))


class WassersteinPenalty(BasePenalty):
    """E (|grad D(y)| - 1)^2, y uniform between a real and a generated image (Gulrajani et al. 2017, section 4).

    A length of 1 by pixels in [0, 1] is one of 1/2 by the paper's. The norm of a zero gradient has no derivative: a
    small number under the root keeps it finite.
    """

    def calculate_penalty(self, critic, real, generated, uniform):
        weight = uniform(1)
        norm = ops.sqrt(squared_gradient(critic, weight * real + (1 - weight) * generated) + 1e-12)
        return ops.mean((norm - 1) ** 2)


def scalar(source, value):
    """Returns what a loss or a penalty has returned, as a tensor.

    Args:
      source: the `BaseLoss` or `BasePenalty`.

    Raises:
      InputError: it is no scalar.
    """
    name = type(source).__name__
    if value is None:
        raise InputError(f"{name} returned None: is there a return?")
    value = tf.convert_to_tensor(value)
    if value.shape.rank != 0:
        raise InputError(f"{name} returned a loss of shape {value.shape}, not a scalar: take its mean over the batch")
    return value


def squared_gradient(critic, images):
    """Returns |d critic / d image|^2 of every image, [N]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = ops.sum(critic(images))
    gradient = ops.cast(tape.gradient(logits, images), "float32")
    return ops.sum(gradient**2, axis=1)
