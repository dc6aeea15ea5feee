"""Record files to arrays of bytes: TFRecord files of `tf.train.Example` with the pixels in `image_raw`.

Both wings read through here. Everything is parsed and checked once, in file order, so that a broken record is named
before anything else happens; after that an image costs one copy of its bytes.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import tempfile
import threading

import numpy as np
import tqdm
from etils import epy
from google.protobuf import message

from gan import examples, ordered_map, storage, tfrecords
from gan.errors import InputError

with epy.lazy_imports():
    import tensorflow as tf

_CHUNK = 256  # records parsed at once


class PixelStore:
    """Images as bytes: in memory up to a limit, in an unnamed temporary file beyond it.

    Args:
      image_size: bytes in one image.
      cache_bytes: the limit. The file (in `TMPDIR`) has no name, so a killed run leaves nothing behind.
    """

    def __init__(self, image_size, cache_bytes):
        self._image_size = image_size
        self._cache_bytes = cache_bytes
        self._count = 0
        self._chunks = []
        self._file = None
        self._joining = threading.Lock()  # threads share the images

    def __len__(self):
        return self._count

    def append(self, pixels):
        """Adds uint8 [n, image_size] at the end."""
        self._count += len(pixels)
        if self._file is None and self._count * self._image_size > self._cache_bytes:
            self._file = tempfile.TemporaryFile()
            for chunk in self._chunks:
                self._file.write(chunk.data)
            self._chunks = []
        if self._file is None:
            self._chunks.append(pixels)
        else:
            self._file.write(np.ascontiguousarray(pixels).data)

    def take(self, indices):
        """Returns uint8 [len(indices), image_size], the images at those places."""
        if self._file is None:
            with self._joining:
                if len(self._chunks) > 1:
                    self._join()
            return self._chunks[0][indices]
        self._file.flush()
        pixels = np.empty((len(indices), self._image_size), np.uint8)
        for row, index in zip(pixels, indices, strict=True):
            os.preadv(self._file.fileno(), [row.data], int(index) * self._image_size)  # threads share the file
        return pixels

    def _join(self):
        """Makes one array of the chunks and lets go of each as it is copied, so that memory is not needed twice."""
        whole, start = np.empty((self._count, self._image_size), np.uint8), 0
        for chunk in _emptying(self._chunks):
            whole[start : start + len(chunk)] = chunk
            start += len(chunk)
        self._chunks = [whole]


def _emptying(items):
    items.reverse()
    while items:
        yield items.pop()


@dataclasses.dataclass(frozen=True)
class Records:
    """What was read: the images, their labels and what had to be left out.

    Attributes:
      pixels: a `PixelStore`.
      shape: (height, width, channels) of every image.
      labels: int64 [N], or None where they were not asked for.
      bad: one sentence for each record that was skipped.
      fingerprint: SHA-256 over shape, pixels and labels in order; equal data has an equal fingerprint.
    """

    pixels: PixelStore
    shape: tuple
    labels: np.ndarray | None
    bad: tuple
    fingerprint: str

    def __len__(self):
        return len(self.pixels)


def from_arrays(pixels, shape, labels=None):
    """Makes `Records` of uint8 [N, height * width * channels] and optional integer labels [N]."""
    builder = _Builder(shape, 1 << 62, labels is not None)
    builder.append(pixels, labels if labels is None else np.asarray(labels, np.int64))
    return builder.finish(())


def read(patterns, shape, *, with_labels=False, num_readers=8, cache_mb=1024, max_bad_records=0):
    """Reads record files.

    Args:
      patterns: comma-separated files or patterns, local or `gs://`; gzip is recognised by content.
      shape: (height, width, channels) that every record must have.
      with_labels: whether each record must hold an integer `label`.
      num_readers: threads that parse. The result does not depend on it.
      cache_mb: images are kept in memory up to this many megabytes, in a temporary file beyond.
      max_bad_records: broken records that may be skipped.

    Raises:
      InputError: no file matches, no record is left, or more than `max_bad_records` are broken; the message names the
        file, the record (counted from 0) and what was expected.
    """
    files = storage.expand(patterns)
    builder = _Builder(shape, cache_mb << 20, with_labels)
    bad = []
    chunks = (chunk for file in files for chunk in _raw_chunks(file))
    bar = tqdm.tqdm(desc="reading records", unit=" records", unit_scale=True, delay=2, leave=False, disable=None)
    with bar, concurrent.futures.ThreadPoolExecutor(num_readers) as pool:
        decode = _Decoder(shape, with_labels)
        for pixels, labels, faults in ordered_map.ordered_map(pool, decode, chunks, 2 * num_readers):
            bad.extend(faults)
            if len(bad) > max_bad_records:
                raise InputError(f"{bad[0]}{_count_text(bad, max_bad_records)}")
            builder.append(pixels, labels)
            bar.update(len(pixels))
    if not builder.count:
        first = f"; the first bad record: {bad[0]}" if bad else ""
        raise InputError(f"{patterns}: {len(files)} file(s) hold no usable record{first}")
    return builder.finish(tuple(bad))


def _count_text(bad, allowed):
    return f" (and {len(bad) - 1} more; --max_bad_records={allowed})" if allowed else ""


class _Builder:
    """Collects chunks in order into a `Records`."""

    def __init__(self, shape, cache_bytes, with_labels):
        self._shape = shape
        self._store = PixelStore(int(np.prod(shape)), cache_bytes)
        self._labels = [] if with_labels else None
        self._digest = hashlib.sha256(repr(tuple(shape)).encode())

    @property
    def count(self):
        return len(self._store)

    def append(self, pixels, labels):
        pixels = np.ascontiguousarray(pixels, np.uint8)
        self._store.append(pixels)
        self._digest.update(pixels.data)
        if self._labels is not None:
            self._labels.append(labels)

    def finish(self, bad):
        labels = None if self._labels is None else np.concatenate(self._labels)
        if labels is not None:
            self._digest.update(labels.astype("<i8").data)
        return Records(self._store, tuple(self._shape), labels, bad, self._digest.hexdigest())


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """Consecutive serialized records of one file, and the fault that ended the file, if one did."""

    file: object
    first: int
    serialized: list
    fault: str | None = None


def _raw_chunks(file):
    first = 0
    try:
        for serialized in tfrecords.read(file, _CHUNK):
            yield _Chunk(file, first, serialized)
            first += len(serialized)
    except tfrecords.Break as error:
        yield _Chunk(file, first, [], f"{file}: record {first} {error}; what follows there is lost")


class _Decoder:
    """Turns a `_Chunk` into (pixels uint8 [n, D], labels int64 [n] or None, faults)."""

    def __init__(self, shape, with_labels):
        self._shape = shape
        self._size = int(np.prod(shape))
        self._with_labels = with_labels

    def __call__(self, chunk):
        faults = []
        if not chunk.serialized:
            pixels, labels = self._stack([], [])
        elif found := examples.parse(chunk.serialized, self._size, self._with_labels):
            pixels, labels = found
        else:
            pixels, labels = self._one_by_one(chunk, faults)
        if chunk.fault:
            faults.append(chunk.fault)
        return pixels, labels, faults

    def _stack(self, images, labels):
        pixels = np.array(images, np.uint8).reshape(-1, self._size)
        return pixels, np.array(labels, np.int64) if self._with_labels else None

    def _one_by_one(self, chunk, faults):
        """Parses the records that hold what they should; says of the others what is wrong with them."""
        images, labels = [], []
        for number, record in enumerate(chunk.serialized, chunk.first):
            try:
                image, label = self._parse(record)
            except _Fault as fault:
                faults.append(f"{chunk.file}: record {number} {fault}")
            else:
                images.append(image)
                labels.append(label)
        return self._stack(images, labels)

    def _parse(self, record):
        """Returns (pixel values, label or None); raises `_Fault`."""
        try:
            features = tf.train.Example.FromString(record).features.feature
        except message.DecodeError as error:
            raise _Fault(f"is not a tf.train.Example ({error})") from None
        label = _integers(features, "label") if self._with_labels else [None]
        if len(label) != 1:
            raise _Fault(f"has {len(label)} labels, expected 1")
        return self._image(features), label[0]

    def _image(self, features):
        packed = features["image_raw"].bytes_list.value if "image_raw" in features else ()
        values = np.frombuffer(packed[0], np.uint8) if len(packed) == 1 else _integers(features, "image_raw")
        if len(values) != self._size:
            height, width, channels = self._shape
            raise _Fault(f"has {len(values)} pixel values, expected {self._size} ({height}x{width}x{channels})")
        if values.min() < 0 or values.max() > 255:
            outside = values[(values < 0) | (values > 255)][0]
            raise _Fault(f"has the pixel value {outside}, expected 0 to 255")
        return values


class _Fault(Exception):
    """What is wrong with a record, one clause."""


def _integers(features, name):
    """Returns a feature's integers, int64 [n]; raises `_Fault` where it has none."""
    if name not in features:
        raise _Fault(f"has no feature {name!r} (it has: {', '.join(sorted(features)) or 'none'})")
    kind = features[name].WhichOneof("kind")
    if kind != "int64_list":
        raise _Fault(
            f"holds {name!r} as {kind}, expected int64_list{' or one string of bytes' * (name == 'image_raw')}"
        )
    return np.array(features[name].int64_list.value, np.int64)
