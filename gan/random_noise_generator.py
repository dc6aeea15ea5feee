"""The latent vectors that every generator of the contest is fed: uniform in [-1, 1]."""

import numpy as np

_DIM = 100


def get_dim():
    """Returns the contest's latent size."""
    return _DIM


def generate_noise(batch_size, dim=_DIM, rng=None):
    """Draws latent vectors.

    Args:
      batch_size: number of vectors.
      dim: numbers in each vector.
      rng: a `numpy.random.Generator` (see `gan.seeds.generator`), for draws that can be repeated; fresh ones without.

    Returns:
      float32 [batch_size, dim], each number uniform in [-1, 1].
    """
    rng = np.random.default_rng() if rng is None else rng
    return rng.uniform(-1.0, 1.0, size=(batch_size, dim)).astype(np.float32)
