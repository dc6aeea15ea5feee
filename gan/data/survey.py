"""Record files seen image by image: what each shows, its label, and what is not usable.

A file is read at a time, and of an image stay about fifty bytes, so memory is enough for millions.
"""

import dataclasses
import math
import re
import sys

import numpy as np
import tqdm

from gan import records
from gan.data import built, fingerprints
from gan.errors import InputError

_CACHE_MB = 64  # of a file's pixels in memory; the rest of them is in a temporary file
_CHUNK_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True)
class File:
    """A record file.

    Attributes:
      file: an `epath.Path`.
      size: in bytes.
      kind: how it holds pixels, "integers" or "bytes"; None where its beginning does not say.
      images: usable records.
      labels: of these, int64 [images]; None where they have none.
      broken: numbers of the records that are not usable.
    """

    file: object
    size: int
    kind: str | None
    images: int = 0
    labels: np.ndarray | None = None
    broken: tuple = ()


@dataclasses.dataclass(frozen=True)
class Survey:
    """All usable images of some record files, without their pixels.

    Attributes:
      patterns: the patterns of the files.
      shape: (height, width, channels).
      shape_found: how that is known, a clause.
      files: the `File`s, in order.
      content: SHA-256 of shape and pixels, bytes [N].
      key: perceptual keys, uint64 [N]; see `fingerprints`.
      faults: a sentence for each record that is not usable, and for each file without a usable one.
    """

    patterns: str
    shape: tuple
    shape_found: str
    files: list
    content: np.ndarray
    key: np.ndarray
    faults: list

    def __len__(self):
        return len(self.key)

    def place(self, image):
        """Says where image number `image` is: "faces/train.tfrecords record 17"."""
        for file in self.files:
            if image < file.images:
                for number in file.broken:  # in ascending order
                    image += number <= image
                return f"{file.file} record {image}"
            image -= file.images
        raise IndexError(image)

    def labels(self):
        """Returns the label of each image, int64 [N], 0 where it has none, and whether it has one, bool [N]."""
        labels = [np.zeros(file.images, np.int64) if file.labels is None else file.labels for file in self.files]
        labelled = [np.full(file.images, file.labels is not None) for file in self.files]
        return np.concatenate(labels), np.concatenate(labelled)

    def label_counts(self):
        """Returns ({label: images}, how many images have none)."""
        labels, labelled = self.labels()
        counts = zip(*np.unique(labels[labelled], return_counts=True), strict=True)
        return {int(label): int(count) for label, count in counts}, int((~labelled).sum())

    def label_names(self):
        """Returns {label: its name} where the manifests of the files' folders agree on them, else {}."""
        manifests = [built.load(folder) for folder in dict.fromkeys(file.file.parent for file in self.files)]
        names = [manifest.label_names if manifest else {} for manifest in manifests]
        return names[0] if all(other == names[0] for other in names) else {}


def make(beginnings, see=None):
    """Goes through record files.

    Args:
      beginnings: the `heads.Files`.
      see: called with consecutive images, uint8 [n, height, width, channels], and their hashes, bytes [n].

    Returns:
      A `Survey`.

    Raises:
      InputError: none holds a usable image.
    """
    files, faults, prints = [], [], []
    sizes = [head.file.stat().length for head in beginnings.heads]
    with _progress_bar(sum(sizes)) as bar:
        for head, size in zip(beginnings.heads, sizes, strict=True):
            try:
                data = _read(head, beginnings.shape)
            except InputError as error:
                files.append(File(head.file, size, head.kind))
                faults.append(str(error))
                continue
            files.append(File(head.file, size, head.kind, len(data), data.labels, _numbers(head.file, data.bad)))
            faults.extend(data.bad)
            for images in _chunks(data):
                content, key = _fingerprints(images)
                prints.append((content, key))
                if see:
                    see(images, content)
                bar.update(size * len(images) / len(data))
    if not prints:
        words = f"no usable image in {len(files)} file(s); the first fault: {faults[0]}"
        raise InputError(f"{beginnings.patterns}: {words}")
    content, key = (np.concatenate(column) for column in zip(*prints, strict=True))
    return Survey(beginnings.patterns, beginnings.shape, beginnings.shape_found, files, content, key, faults)


def _progress_bar(size):
    settings = {"unit": "B", "unit_scale": True, "delay": 2, "leave": False, "disable": None}
    return tqdm.tqdm(desc="looking at images", total=size, **settings)


def _read(head, shape):
    """Returns the `gan.records.Records` of a file, however many of its records are broken."""
    settings = {"cache_mb": _CACHE_MB, "max_bad_records": sys.maxsize}
    return records.read(str(head.file), shape, with_labels=head.labelled, **settings)


def _fingerprints(images):
    content = np.array([fingerprints.content_hash(image) for image in images], "S32")
    return content, np.array([fingerprints.perceptual_key(image) for image in images], np.uint64)


def _numbers(file, bad):
    """Takes the numbers of the records out of the sentences of `gan.records`."""
    begin = re.compile(re.escape(f"{file}: record ") + r"(\d+) ")
    return tuple(int(begin.match(sentence)[1]) for sentence in bad)


def _chunks(data):
    """Yields the images of `gan.records.Records`, uint8 [n, height, width, channels]."""
    step = max(1, _CHUNK_BYTES // math.prod(data.shape))
    for start in range(0, len(data), step):
        yield data.pixels.take(np.arange(start, min(start + step, len(data)))).reshape(-1, *data.shape)
