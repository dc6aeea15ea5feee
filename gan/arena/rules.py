"""The contest's rules as pure functions over plain values: no files, no TensorFlow."""

from gan import spec

# Outputs of a model for the same input may differ by this much between two calls.
REPEAT_TOLERANCE = 1e-4


def verdict(p):
    """Returns 1 (real) if and only if p > 0.5; exactly 0.5 is 0 (generated)."""
    return int(spec.is_real(p))


def score(p, truth):
    """Returns the number of right verdicts.

    Args:
      p: D's beliefs, one for each image.
      truth: 1 for a real image, 0 for a generated one.
    """
    return sum(verdict(belief) == real for belief, real in zip(p, truth, strict=True))
