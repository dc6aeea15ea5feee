"""Fits p to what a contest means by it: over 0.5 for a real image, under 0.5 for a generated one.

D is trained until it is undecided, on images that it has seen, and a critic's logit (Wasserstein, relativistic) has no
zero at all. So scale and bias of p = sigmoid(scale * logit + bias) are fitted on real images that were held out of
training and on as many generated ones (after Platt 1999, with equal shares of both; scikit-learn's penalty on the scale
takes the place of his smoothed targets, so that few images give a cautious p). Of the guard beside D, see `gan.guard`,
no more is asked than to believe real images.
"""

import dataclasses

import numpy as np
from etils import epy

from gan.errors import RunError

with epy.lazy_imports():
    from sklearn import linear_model

LEAST = 20  # images of each kind
_LEAST_SLOPE = 0.1  # of p's logit, for logits of variance 1
_REFUSED_BY_GUARD = 0.02  # of real images, at most: what a guard gains against strangers it must not lose on them


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was fitted, and what it brings.

    Attributes:
      images: of each kind that it was fitted on.
      scale, bias: p = sigmoid(scale * logit + bias); scale is positive.
      guard_bias: what is added to the guard's logits, so that it believes nearly all real images; at least 0.
      accuracy_before: share of images that D is right on by its logits as they are, and without a guard.
      accuracy_after: the same as it battles, with what was fitted on one half and judged on the other, both ways.
    """

    images: int
    scale: float
    bias: float
    guard_bias: float
    accuracy_before: float
    accuracy_after: float


def fit(discriminator, guard=None):
    """Returns the `Calibration`.

    Args:
      discriminator: its logits [2, N] of held-out real images and of as many generated ones, `LEAST` of each.
      guard: its logits [2, N] of the same images; None without a guard.

    Raises:
      RunError: a logit is not a finite number.
    """
    logits = {"D": discriminator} if guard is None else {"D": discriminator, "the guard": guard}
    for name, values in logits.items():
        if not np.all(np.isfinite(values)):
            raise RunError(f"{name} answers with values that are not finite numbers, so that p cannot be fitted")
    logits = np.asarray(list(logits.values()), np.float64)
    halves = logits[..., ::2], logits[..., 1::2]
    crosswise = [_accuracy(_fitted(half), other) for half, other in (halves, halves[::-1])]
    (scale, bias), *of_guard = _fitted(logits)
    return Calibration(
        images=logits.shape[-1],
        scale=scale,
        bias=bias,
        guard_bias=of_guard[0][1] if of_guard else 0.0,
        accuracy_before=_accuracy([(1.0, 0.0)], logits[:1]),
        accuracy_after=float(np.mean(crosswise)),
    )


def _fitted(logits):
    """Returns [(scale, bias)] of D and maybe the guard, for their logits [1 or 2, 2, N]."""
    return [_regression(logits[0]), *((1.0, _bias_to_believe(real)) for real, _ in logits[1:])]


def _bias_to_believe(real):
    return max(0.0, -float(np.quantile(real, _REFUSED_BY_GUARD)))


def _regression(logits):
    labels, logits = np.repeat([1, 0], logits.shape[1]), logits.ravel()
    mean, spread = logits.mean(), logits.std()
    if spread <= 1e-6 * abs(mean):  # equal but for rounding
        spread = 1.0
    regression = linear_model.LogisticRegression().fit(((logits - mean) / spread)[:, None], labels)
    # A D that is worse than guessing is not turned round: what it has learned of other generators may still hold.
    slope = max(float(regression.coef_[0, 0]), _LEAST_SLOPE)
    return slope / spread, float(regression.intercept_[0]) - slope * mean / spread


def _accuracy(fitted, logits):
    """Returns the share of images that the less convinced of the networks is right on."""
    real, generated = np.min([scale * of + bias for (scale, bias), of in zip(fitted, logits, strict=True)], axis=0)
    return float((np.mean(real > 0) + np.mean(generated <= 0)) / 2)
