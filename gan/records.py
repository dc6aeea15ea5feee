"""Record files to arrays of bytes: TFRecord files of `tf.train.Example` with the pixels in `image_raw`.

Both wings read through here. Everything is parsed and checked once, in file order, so that a broken record is named
before anything else happens; after that an image costs one copy of its bytes.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import tempfile

import numpy as np
import tqdm
from etils import epy
from google.protobuf import message

from gan import storage
from gan.errors import InputError, first_line

with epy.lazy_imports():
    import tensorflow as tf

_CHUNK = 256  # records parsed at once
_FRAME = 16  # bytes around each record: its length and two checksums
_GZIP_MAGIC = b"\x1f\x8b\x08"


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
        for pixels, labels, faults in _map_in_order(pool, decode, chunks, 2 * num_readers):
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


def _map_in_order(pool, function, items, window):
    """`map` over a thread pool that keeps the order and never holds more than `window` results."""
    waiting = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


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
    with file.open("rb") as head:
        compression = "GZIP" if head.read(3) == _GZIP_MAGIC else ""
    dataset = tf.data.TFRecordDataset(str(file), compression)
    first, size = 0, 0
    try:
        for serialized in dataset.batch(_CHUNK).as_numpy_iterator():
            yield _Chunk(file, first, serialized)
            first += len(serialized)
            size += sum(len(record) + _FRAME for record in serialized)
        if not compression and size != file.stat().length:  # TensorFlow takes a piece of a header for the end
            yield _Chunk(file, first, [], f"{file}: record {first} is cut short: the file is truncated")
    except tf.errors.OpError:
        # The batch that holds the break was lost with it: read its records one by one to name the broken one.
        yield _until_the_break(file, first, dataset.skip(first))


def _until_the_break(file, first, dataset):
    serialized = []
    try:
        for record in dataset.as_numpy_iterator():
            serialized.append(record)
    except tf.errors.OpError as error:
        fault = (
            f"{file}: record {first + len(serialized)} cannot be read ({first_line(error)}): "
            "the file is truncated, damaged or not a TFRecord file, and what follows in it is lost"
        )
        return _Chunk(file, first, serialized, fault)
    return _Chunk(file, first, serialized)


class _Decoder:
    """Turns a `_Chunk` into (pixels uint8 [n, D], labels int64 [n] or None, faults)."""

    def __init__(self, shape, with_labels):
        self._shape = shape
        self._size = int(np.prod(shape))
        self._with_labels = with_labels
        self._features = {"image_raw": tf.io.RaggedFeature(tf.int64)}
        if with_labels:
            self._features["label"] = tf.io.RaggedFeature(tf.int64)

    def __call__(self, chunk):
        faults = [chunk.fault] if chunk.fault else []
        if not len(chunk.serialized):
            return np.empty((0, self._size), np.uint8), np.empty(0, np.int64), faults
        fast = self._parse(chunk.serialized)
        if fast is not None:
            return *fast, faults
        good = []
        for offset, record in enumerate(chunk.serialized):
            fault = self._fault(record)
            if fault:
                faults.insert(len(faults) - bool(chunk.fault), f"{chunk.file}: record {chunk.first + offset} {fault}")
            else:
                good.append(record)
        pixels, labels = self._parse(good) if good else (np.empty((0, self._size), np.uint8), np.empty(0, np.int64))
        return pixels, labels, faults

    def _parse(self, serialized):
        """Returns (pixels, labels), or None where any record breaks the format."""
        try:
            parsed = tf.io.parse_example(serialized, self._features)
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # TensorFlow may quote the bad bytes
            return None
        image = parsed["image_raw"]
        values = image.values.numpy()
        if np.any(image.row_lengths().numpy() != self._size) or np.any((values < 0) | (values > 255)):
            return None
        labels = None
        if self._with_labels:
            if np.any(parsed["label"].row_lengths().numpy() != 1):
                return None
            labels = parsed["label"].values.numpy()
        return values.astype(np.uint8).reshape(-1, self._size), labels

    def _fault(self, record):
        """Says what is wrong with one record, or returns None."""
        try:
            features = tf.train.Example.FromString(record).features.feature
        except message.DecodeError as error:
            return f"is not a tf.train.Example ({error})"
        names = ", ".join(sorted(features)) or "none"
        for name in self._features:
            if name not in features:
                return f"has no feature {name!r} (it has: {names})"
            kind = features[name].WhichOneof("kind")
            if kind != "int64_list":
                return f"holds {name!r} as {kind}, expected int64_list"
        values = np.asarray(features["image_raw"].int64_list.value)
        if len(values) != self._size:
            height, width, channels = self._shape
            return f"has {len(values)} pixel values, expected {self._size} ({height}x{width}x{channels})"
        if values.min() < 0 or values.max() > 255:
            outside = values[(values < 0) | (values > 255)][0]
            return f"has the pixel value {outside}, expected 0 to 255"
        if self._with_labels and len(features["label"].int64_list.value) != 1:
            return f"has {len(features['label'].int64_list.value)} labels, expected 1"
        return None
