"""Which split an image goes to: decided by what it shows, or by the group that it belongs to.

Neither its name, nor its place, nor what else there is decides it. So an image stays in its split when others are
added, and no image of the test split is in the training split under another name.
"""

import dataclasses
import re

import numpy as np
from etils import epy

from gan import seeds
from gan.errors import InputError

with epy.lazy_imports():
    from scipy import sparse
    from scipy.sparse import csgraph


def parse(text):
    """Turns "train:0.9,validation:0.1" into {name: share}.

    Raises:
      InputError: a name or a share cannot be used, or the shares do not add up to 1.
    """
    shares = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition(":"))
        share = _share(number)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or share is None:
            raise InputError(f"--splits={text}: {part!r} is not NAME:SHARE, as in train:0.9,validation:0.05,test:0.05")
        if name.lower() in map(str.lower, shares):  # some file systems do not tell them apart
            raise InputError(f"--splits={text}: {name} is there twice")
        shares[name] = share
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"--splits={text}: the shares add up to {sum(shares.values()):g}, not to 1")
    return shares


def _share(text):
    try:
        share = float(text)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None


@dataclasses.dataclass(frozen=True)
class Families:
    """Images that must stay together: those that look alike, those of one group, and whatever these link.

    Attributes:
      of_image: the number of each image's family, int [N].
      representative: the smallest perceptual key in each family, uint64 [families].
    """

    of_image: np.ndarray
    representative: np.ndarray


def families(keys, groups):
    """Finds the `Families`.

    Args:
      keys: perceptual keys, uint64 [N].
      groups: the number of each image's group, int [N]; -1 for images without one.
    """
    distinct, key_numbers = np.unique(keys, return_inverse=True)
    grouped = groups >= 0
    nodes = len(distinct) + int(groups.max(initial=-1)) + 1
    links = (key_numbers[grouped], len(distinct) + groups[grouped])
    graph = sparse.coo_array((np.ones(len(links[0]), np.int8), links), shape=(nodes, nodes))
    _, of_node = csgraph.connected_components(graph, directed=False)
    of_key = of_node[: len(distinct)]
    representative = np.full(of_node.max(initial=-1) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(representative, of_key, distinct)
    return Families(of_key[key_numbers], representative)


def assign(found, shares, seed):
    """Returns the number of the split, in the order of `shares`, of each image: int [N].

    Args:
      found: the `Families`.
      shares: {name: share}.
      seed: the master seed.
    """
    bounds = np.cumsum(list(shares.values()))[:-1]
    drawn = [seeds.derive(seed, "split", int(key)) / 2**64 for key in found.representative]
    return np.searchsorted(bounds, drawn, side="right")[found.of_image]
