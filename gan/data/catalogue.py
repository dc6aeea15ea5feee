"""What is known of all images of a build at once, and which record each becomes."""

import dataclasses
import re

import numpy as np

from gan import seeds
from gan.data import preparation, splits

_INTEGER = r"0|-?[1-9][0-9]{0,17}"  # of 64 bits, spelled in the usual way


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All images, about a hundred bytes each, in the order of the source.

    Attributes:
      chunk, row: where the pixels are, int [N] each; see `preparation`.
      key: perceptual keys, uint64 [N].
      content: SHA-256 of the pixels, bytes [N].
      label: numbers of the labels, int [N]; None where images have none.
      label_names: {text of a label: its number}.
      group: numbers of the groups, int [N]; -1 for none.
      refused: [place, reason] of each file that is no usable image.
      num_chunks: chunks of the build.
    """

    chunk: np.ndarray
    row: np.ndarray
    key: np.ndarray
    content: np.ndarray
    label: np.ndarray | None
    label_names: dict
    group: np.ndarray
    refused: list
    num_chunks: int

    def __len__(self):
        return len(self.key)


def load(work, num_chunks):
    """Returns the `Catalogue` of the chunks of a work folder, an `epath.Path`."""
    columns = {name: [] for name in ("chunk", "row", "key", "content", "label", "group")}
    numbers, refused = {"label": {None: -1}, "group": {None: -1}}, []
    for number in range(num_chunks):
        rows, refused_here = preparation.load(work, number)
        refused.extend(refused_here)
        columns["chunk"].append(np.full(len(rows), number, np.int32))
        columns["row"].append(np.arange(len(rows), dtype=np.int32))
        columns["key"].append(np.array([row.key for row in rows], np.uint64))
        columns["content"].append(np.array([bytes.fromhex(row.content) for row in rows], "S32"))
        for name, known in numbers.items():
            found = [known.setdefault(getattr(row, name), len(known) - 1) for row in rows]
            columns[name].append(np.array(found, np.int32))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    label_names, joined["label"] = _number_labels(numbers["label"], joined["label"])
    return Catalogue(**joined, label_names=label_names, refused=refused, num_chunks=num_chunks)


def _number_labels(first_seen, label):
    """Numbers labels by name: those that are integers keep their value, others are counted from 0 in order.

    Args:
      first_seen: {text of a label: number in `label`}, {None: -1} among them.
      label: int [N].
    """
    names = [name for name in first_seen if name is not None]
    if not names or label.min(initial=0) < 0:
        return {}, None
    if all(re.fullmatch(_INTEGER, name) for name in names):
        numbered = {name: int(name) for name in sorted(names, key=int)}
    else:
        numbered = {name: number for number, name in enumerate(sorted(names))}
    return numbered, np.array([numbered[name] for name in names], np.int64)[label]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which record each image becomes.

    Attributes:
      split: the number of each image's split, int [N].
      shard, position: of its record in that split, int [N] each.
      shards: {split: number of shards}, in order; 0 for a split without images.
    """

    split: np.ndarray
    shard: np.ndarray
    position: np.ndarray
    shards: dict

    def images_of(self, split, shard):
        """Returns the images of a shard, in the order of its records."""
        found = np.flatnonzero((self.split == list(self.shards).index(split)) & (self.shard == shard))
        return found[np.argsort(self.position[found])]


def plan(catalogue, shares, shards, seed):
    """Makes the `Plan`: the images of a split are shuffled and dealt to its shards in turn.

    Args:
      catalogue: the `Catalogue`.
      shares: {split: share}.
      shards: how many shards a split has; never more than images.
      seed: the master seed.
    """
    split = splits.assign(splits.families(catalogue.key, catalogue.group), shares, seed)
    shard, position, counts = np.zeros(len(split), np.int32), np.zeros(len(split), np.int64), {}
    by_content = np.argsort(catalogue.content, kind="stable")  # so that names play no part
    for number, name in enumerate(shares):
        members = by_content[split[by_content] == number]
        members = seeds.generator(seed, "order", name).permutation(members)
        counts[name] = min(shards, len(members))
        if len(members):
            shard[members] = np.arange(len(members)) % counts[name]
            position[members] = np.arange(len(members)) // counts[name]
    return Plan(split, shard, position, counts)


def first_equal(values):
    """Returns for each of N values the number of the first one that is equal to it, int [N]; often its own."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse]


def copies(same, similar):
    """Returns which images are there more than once.

    Args:
      same, similar: `first_equal` of the contents and of the perceptual keys.

    Returns:
      (images with the pixels of one before them, images that look like one before them and have no equal before), by
      their numbers.
    """
    everyone = np.arange(len(same))
    is_copy = same != everyone
    return np.flatnonzero(is_copy), np.flatnonzero((similar != everyone) & ~is_copy)
