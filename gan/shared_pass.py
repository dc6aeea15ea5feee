"""One pass through D, there and back, for the updates of both networks.

Let l(x) be D's logit of a generated image x, and let the two losses be functions of the batch's logits. D learns by
a = d(its loss)/dl times dl/dw, G by b = d(its loss)/dl times dl/dx. Where no image has a part in another's logit, what
flows back through D for an image is proportional to what enters at its logit. So a enters, for the gradient by D's
weights, and what arrives at x is multiplied by b / a.

Where a is 0, as the hinge loss has it for images that D is sure of, nothing would arrive: there a 1e-12th of b enters.
It is lost in the rounding of the sum by which D learns, and arrives whole: float32 and bfloat16 numbers of such size
have as many digits as any.
"""

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf

from gan import losses
from gan.errors import InputError

_FAINTEST = 1e-12  # of what G's loss wants to flow back from an image
_IMAGES = 4  # in the check


@dataclasses.dataclass(frozen=True)
class Signals:
    """The losses of a step, and what they send back through D.

    Attributes:
      d_loss, g_loss: scalars.
      real, generated: what enters at the logits, [N, 1] each.
      ratio: of what G wants to arrive at each generated image to what does, [N, 1].
    """

    d_loss: tf.Tensor
    g_loss: tf.Tensor
    real: tf.Tensor
    generated: tf.Tensor
    ratio: tf.Tensor


def signals(loss, real, generated):
    """Returns the `Signals` of a batch.

    Args:
      loss: a `losses.BaseLoss`.
      real, generated: D's logits, float32 [N, 1] each.

    Raises:
      InputError: a loss does not depend on D's logits.
    """
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch([real, generated])
        d_loss = losses.scalar(loss, loss.discriminator_loss(outputs(real), outputs(generated)))
        g_loss = losses.scalar(loss, loss.generator_loss(outputs(real), outputs(generated)))
    for_real, for_d = tape.gradient(d_loss, [real, generated])
    for_g = tape.gradient(g_loss, generated)
    if for_real is None or for_d is None or for_g is None:
        raise InputError(f"{type(loss).__name__}: one of its losses does not depend on D's answers")
    faintest = _FAINTEST * tf.abs(for_g)
    entering = tf.where(tf.abs(for_d) < faintest, faintest, for_d)
    return Signals(d_loss, g_loss, for_real, entering, tf.math.divide_no_nan(for_g, entering))


def outputs(logits):
    """Returns what a loss expects of D: {"logits", "predictions"}; Keras's cross entropy looks behind the sigmoid."""
    return {"logits": logits, "predictions": tf.sigmoid(logits)}


def check(discriminator, image_size, seed):
    """Refuses a discriminator for which one pass cannot serve both updates; leaves no trace in it.

    Args:
      discriminator: a `models.BaseModel` that has its variables.
      image_size: numbers in an image.
      seed: for images and for a change of its weights: as they begin, many are 0 and hide what they will do.

    Raises:
      InputError: it is one.
    """
    name = f"--shared_pass: {type(discriminator).__name__}"
    rng = np.random.default_rng(seed)
    images = tf.constant(rng.random((_IMAGES, image_size), np.float32))
    labels = tf.range(_IMAGES) % discriminator.num_classes if discriminator.uses_labels else None
    with _changed(discriminator, rng), tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(images)
        answers = discriminator(images, training=True, labels=labels)
        logits = tf.unstack(answers["logits"])
        penalty = tf.add_n([tf.zeros([]), *discriminator.losses])
    if not np.allclose(answers["predictions"], tf.sigmoid(answers["logits"]), rtol=0, atol=1e-2):
        raise InputError(f"{name} has predictions that are not the sigmoid of its logits")
    if tape.gradient(penalty, images) is not None:
        raise InputError(f"{name} has a regulariser that looks at activations, from which G would learn as well")
    by_image = [tape.gradient(logit, images) for logit in logits]  # [of whose logit][by which image]
    if any(np.any(np.delete(gradient, i, axis=0)) for i, gradient in enumerate(by_image)):
        raise InputError(
            f"{name} does not look at each image by itself: in training, others of the batch have a part in its "
            "answer (batch normalisation?); PlainDiscriminator does"
        )


@contextlib.contextmanager
def _changed(model, rng):
    """Within, the weights are a little off what they were."""
    kept = [(variable, variable.numpy()) for variable in model.variables]
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1 * rng.standard_normal(variable.shape))
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
