"""The first half of a build: chunks of files become chunks of finished pixels.

A chunk is some consecutive files of the source. What comes of it is in the work folder whole or not at all, so chunks
can be made in any order, by any number of workers, on any number of machines, and after a kill those that are there are
not made again.
"""

import dataclasses
import re

import numpy as np

from gan import storage
from gan.data import decoding, fingerprints, sources
from gan.errors import printable

_MOST_IMAGES = 512  # in a chunk
_MOST_BYTES = 8 << 20  # of finished pixels
_MOST_HELD = 8 << 20  # of files that come with their references, as those of a compressed archive do


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive files of a source.

    Attributes:
      number: of the chunk, from 0.
      references: a `sources.Reference` for each file.
    """

    number: int
    references: tuple

    def __str__(self):
        first, last = (printable(self.references[end].place, 100) for end in (0, -1))
        return first if len(self.references) == 1 else f"{len(self.references)} files, {first} to {last}"


def chunk_size(transform):
    """Returns how many files a chunk has: few enough for a worker's memory, the same in every build."""
    return max(1, min(_MOST_IMAGES, _MOST_BYTES // transform.image_size))


def chunks(references, transform):
    """Yields the `Chunk`s of a source's references."""
    size, number, taken, held = chunk_size(transform), 0, [], 0
    for reference in references:
        taken.append(reference)
        held += len(reference.where) if isinstance(reference.where, bytes) else 0
        if len(taken) == size or held >= _MOST_HELD:
            yield Chunk(number, tuple(taken))
            number, taken, held = number + 1, [], 0
    if taken:
        yield Chunk(number, tuple(taken))


def chunks_there(work):
    """Returns the numbers of the chunks that a work folder, an `epath.Path`, holds whole."""
    names = [entry.name for entry in work.iterdir()]
    return {int(found[1]) for name in names if (found := re.fullmatch(r"chunk-(\d+)\.json", name))}


@dataclasses.dataclass(frozen=True)
class Row:
    """An image without its pixels.

    Attributes:
      place: its name in the source.
      label, group: text, or None.
      content: hexadecimal SHA-256 of its pixels.
      key: its perceptual key, an integer.
    """

    place: str
    label: str | None
    group: str | None
    content: str
    key: int


def prepare(chunk, reader, transform, work):
    """Makes the files of a chunk.

    Args:
      chunk: the `Chunk`.
      reader: reads the files that the references name; see `sources`.
      transform: the `decoding.Transform`.
      work: the work folder, as text.

    Returns:
      How many files the chunk has, for a progress bar.
    """
    rows, refused, pixels = [], [], []
    for reference in chunk.references:
        try:
            finished = decoding.decode(reader.read(reference), transform)
        except (sources.Unreadable, decoding.BadImage) as error:
            refused.append([reference.place, str(error)])
            continue
        content, key = fingerprints.content_hash(finished).hex(), fingerprints.perceptual_key(finished)
        rows.append(Row(reference.place, reference.label, reference.group, content, key))
        pixels.append(finished.tobytes())
    folder = storage.path(work)
    storage.write_bytes(_pixel_file(folder, chunk.number), b"".join(pixels))
    known = {"rows": [dataclasses.astuple(row) for row in rows], "refused": refused}
    storage.write_json(_known_file(folder, chunk.number), known)  # the last: it says that all is there
    return len(chunk.references)


def load(work, number):
    """Returns what is known of a chunk.

    Args:
      work: the work folder, an `epath.Path`.
      number: of the chunk.

    Returns:
      ([`Row`, ...], [[place, reason], ...]): the images, and the files that are no usable images.
    """
    known = storage.read_json(_known_file(work, number))
    return [Row(*row) for row in known["rows"]], known["refused"]


def gather(work, chunk, row, image_size):
    """Returns the pixels of images of many chunks, opening each chunk once.

    Args:
      work: the work folder, an `epath.Path`.
      chunk, row: where each image is, int [N] each.
      image_size: bytes of an image.

    Returns:
      uint8 [N, image_size].
    """
    pixels = np.empty((len(chunk), image_size), np.uint8)
    order = np.lexsort((row, chunk))
    for number in np.unique(chunk):
        here = order[chunk[order] == number]
        for place, image in zip(here, _pixels_of(work, number, row[here], image_size), strict=True):
            pixels[place] = image
    return pixels


def _pixels_of(work, number, rows, image_size):
    """Yields the pixels of some images of a chunk, each uint8 [image_size]; rows ascend."""
    file = _pixel_file(work, number)
    if not storage.is_local(file):  # there, a read of the whole costs as much as that of one image
        pixels = np.frombuffer(file.read_bytes(), np.uint8).reshape(-1, image_size)
        yield from pixels[rows]
        return
    with file.open("rb") as opened:
        for row in rows:
            opened.seek(row * image_size)
            yield np.frombuffer(opened.read(image_size), np.uint8)


def _known_file(work, number):
    return work / f"chunk-{number:06}.json"


def _pixel_file(work, number):
    return work / f"chunk-{number:06}.pixels"
