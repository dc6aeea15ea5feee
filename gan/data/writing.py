"""The second half of a build: finished pixels become record files."""

import dataclasses
import hashlib

import numpy as np

from gan import examples, storage, tfrecords
from gan.data import preparation, shards

_BLOCK_BYTES = 64 << 20  # of pixels that are gathered at once, so that a shard may be of any size


@dataclasses.dataclass(frozen=True)
class Shard:
    """A record file to be written.

    Attributes:
      name: of the file.
      chunk, row: where the pixels of each record are, int [records] each, in the order of the records.
      label: int [records], or None.
    """

    name: str
    chunk: np.ndarray
    row: np.ndarray
    label: np.ndarray | None

    def __str__(self):
        return self.name


def write(shard, work, output, image_size, kind):
    """Writes a record file, and beside the chunks what `result` returns.

    Args:
      shard: the `Shard`.
      work, output: the work folder and the folder of the file, as text.
      image_size: bytes of an image.
      kind: one of `shards.FORMATS`.

    Returns:
      How many records it has, for a progress bar.
    """
    count, folder = len(shard.chunk), storage.path(work)
    labels = [None] * count if shard.label is None else shard.label.tolist()
    digest, size, block = hashlib.sha256(), 0, max(1, _BLOCK_BYTES // image_size)
    with storage.replacing(storage.path(output) / shard.name) as file:
        for begin in range(0, count, block):
            places = slice(begin, begin + block)
            pixels = preparation.gather(folder, shard.chunk[places], shard.row[places], image_size)
            for image, label in zip(pixels, labels[places], strict=True):
                record = tfrecords.frame(examples.serialize(image, label, shards.FORMATS[kind]))
                file.write(record)
                digest.update(record)
                size += len(record)
    found = {"name": shard.name, "records": count, "bytes": size, "sha256": digest.hexdigest()}
    storage.write_json(_result_file(folder, shard.name), found)
    return count


def result(work, name):
    """Returns {"name", "records", "bytes", "sha256"} of a record file, or None before it is written."""
    file = _result_file(work, name)
    return storage.read_json(file) if file.exists() else None


def _result_file(work, name):
    return work / f"{name}.json"
