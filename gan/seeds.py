"""Every random draw of the project comes from one master seed, by a documented hash.

`derive(seed, "noise", 17)` is the first 8 bytes, big-endian, of SHA-256 over the UTF-8 text `seed/noise/17`. So a
draw depends on its name alone, never on how many draws came before it: a resumed run, a replayed match and a
re-drawn picture all see the same numbers.
"""

import hashlib

import numpy as np


def derive(seed, *name):
    """Returns the 64-bit integer that belongs to `name` (strings or integers) under the master seed `seed`."""
    text = "/".join(str(part) for part in (seed, *name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def generator(seed, *name):
    """Returns a `numpy.random.Generator` that is a pure function of `seed` and `name`."""
    return np.random.Generator(np.random.PCG64(derive(seed, *name)))
