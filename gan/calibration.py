"""Fits p to what a contest means by it: over 0.5 for a real image, under 0.5 for a generated one.

D is trained until it is undecided, on images that it has seen, and a critic's logit (Wasserstein, relativistic) has no
zero at all. So scale and bias of p = sigmoid(scale * logit + bias) are fitted on real images that were held out of
training and on as many generated ones (Platt 1999, with equal shares of both).
"""

import dataclasses

import numpy as np
from etils import epy

from gan.errors import RunError

with epy.lazy_imports():
    from sklearn import linear_model

LEAST = 20  # images of each kind
_LEAST_SLOPE = 0.1  # of p's logit, for logits of variance 1
_REFUSED_BY_GUARD = 0.02  # of real images, at most


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was fitted, and what it brings.

    Attributes:
      scale, bias: p = sigmoid(scale * logit + bias); scale is positive.
      accuracy_before, accuracy_after: share of images that D is right on, with the logits as they are and with those
        fitted on one half and judged on the other, both ways.
    """

    scale: float
    bias: float
    accuracy_before: float
    accuracy_after: float


def fit(real, generated):
    """Returns the `Calibration` for D's logits [N] of held-out real images and of generated ones, `LEAST` of each.

    Raises:
      RunError: a logit is not a finite number.
    """
    real, generated = np.asarray(real, np.float64).ravel(), np.asarray(generated, np.float64).ravel()
    if not np.all(np.isfinite(real)) or not np.all(np.isfinite(generated)):
        raise RunError("D answers with values that are not finite numbers, so that p cannot be fitted")
    halves = [(real[i::2], generated[i::2]) for i in (0, 1)]
    crosswise = [_accuracy(*_fit(*halves[i]), *halves[1 - i]) for i in (0, 1)]
    return Calibration(*_fit(real, generated), _accuracy(1.0, 0.0, real, generated), float(np.mean(crosswise)))


def guard_bias(real):
    """Returns what is added to the guard's logits so that it believes nearly all real images; 0 where it does.

    Args:
      real: its logits of held-out real images.
    """
    return max(0.0, -float(np.quantile(real, _REFUSED_BY_GUARD)))


def _fit(real, generated):
    logits = np.concatenate([real, generated])
    mean, spread = logits.mean(), logits.std()
    if spread <= 1e-6 * abs(mean):  # equal but for rounding
        spread = 1.0
    labels = np.repeat([1, 0], [len(real), len(generated)])
    regression = linear_model.LogisticRegression().fit(((logits - mean) / spread)[:, None], labels)
    # A D that is worse than guessing is not turned round: what it has learned of other generators may still hold.
    slope = max(float(regression.coef_[0, 0]), _LEAST_SLOPE)
    return slope / spread, float(regression.intercept_[0]) - slope * mean / spread


def _accuracy(scale, bias, real, generated):
    return float((np.mean(scale * real + bias > 0) + np.mean(scale * generated + bias <= 0)) / 2)
