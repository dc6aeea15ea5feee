"""Images in an IDX file, the format of MNIST: a header and all pixels in one block, plain or compressed."""

import math
import struct

from gan import storage
from gan.data.sources import files, packing
from gan.data.sources.source import Digest, Grouping, Reader, Reference, Source, in_order
from gan.errors import InputError, RunError

_BYTES = 0x08  # the type of the values
_TYPES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)
_BLOCK = 1 << 20
_RENAMES = (("images", "labels"), ("idx3", "idx1"), ("idx4", "idx1"))


def is_idx(head):
    """Whether a file that begins with `head` is an IDX file of any kind."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _TYPES and 1 <= head[3] <= 8


class IdxReader(Reader):
    """Reads images of an IDX file that is local and not compressed; they are named by their offset.

    Args:
      file: an `epath.Path`.
      shape: (height, width, channels).
    """

    def __init__(self, file, shape):
        self._file = file
        self._shape = shape

    def _read(self, where):
        with files.opened(self._file) as stream:
            stream.seek(where)
            return _next_image(stream, self._shape)


def _next_image(stream, shape):
    """Reads the pixels that come next in a stream and makes a PGM or PPM file of them."""
    pixels = stream.read(math.prod(shape))
    if len(pixels) < math.prod(shape):
        raise files.Unreadable(files.CUT_SHORT)
    return netpbm(pixels, shape)


def netpbm(pixels, shape):
    """Returns the bytes of a PGM or PPM file.

    Args:
      pixels: bytes, row by row.
      shape: (height, width, channels), with 1 or 3 channels.
    """
    height, width, channels = shape
    return b"P%d\n%d %d\n255\n" % (5 if channels == 1 else 6, width, height) + pixels


class IdxSource(Source):
    """An IDX file of images. Its labels are in the file of the same name with "labels" for "images", if it is there.

    Args:
      target: the file, an `epath.Path`.
      options: see `open_source`.
      unpack: what `packing.unpacker` says of the file.

    Raises:
      InputError: it does not hold what its header says, or nothing that can be an image, or its labels do not fit.
    """

    def __init__(self, target, options, unpack):
        if options.labels == "folder":
            raise InputError(f"--labels=folder is not for an IDX file; {target} has its labels in another IDX file")
        dimensions = _dimensions(target, unpack, exact=True)
        self._shape = _image_shape(target, dimensions)
        super().__init__("idx", IdxReader(target, self._shape))
        self.count = dimensions[0]
        self._target = target
        self._unpack = unpack
        self._streamed = unpack is not None or not storage.is_local(target)
        self._first = 4 + 4 * len(dimensions)
        self._group = Grouping(options.group_pattern)
        self._labels = None if options.labels == "none" else _labels(target, self.count)
        self.label_names = in_order({str(label) for label in self._labels or ()})
        self.fingerprint = Digest(self.kind, dimensions, *files.size_and_stamp(target), self._labels).finish()

    def references(self, start=0):
        if not self._streamed or start >= self.count:
            yield from (self._reference(number, self._offset(number)) for number in range(start, self.count))
            return
        try:
            with packing.opened(self._target, self._unpack) as stream:
                stream.seek(self._offset(start))
                for number in range(start, self.count):
                    yield self._reference(number, _next_image(stream, self._shape))
        except packing.DAMAGE:
            raise RunError(f"{self._target} has changed since it was opened; start again") from None

    def _offset(self, number):
        return self._first + number * math.prod(self._shape)

    def _reference(self, number, where):
        place = f"{self._target.name}[{number}]"
        label = None if self._labels is None else str(self._labels[number])
        return Reference(place, label, self._group(place), None, where)


def _dimensions(file, unpack, exact=False):
    """Returns the dimensions that the header of an IDX file of bytes says.

    Args:
      exact: whether to make sure that the file holds as many values, no more and no less.
    """
    try:
        with packing.opened(file, unpack) as stream:
            magic = stream.read(4)
            if not is_idx(magic) or magic[2] != _BYTES:
                kind = f"values of type 0x{magic[2]:02x}" if is_idx(magic) else "no IDX data"
                raise InputError(f"{file} holds {kind}; expected an IDX file of bytes (type 0x08), as MNIST's are")
            dimensions = struct.unpack(f">{magic[3]}I", stream.read(4 * magic[3]))
            there = _count_bytes(stream, math.prod(dimensions) + 1) if exact else None
    except (struct.error, *packing.DAMAGE):
        raise InputError(f"{file} is cut short or damaged; get it again") from None
    if exact and there != math.prod(dimensions):
        shape = "x".join(map(str, dimensions))
        amount = "less" if there < math.prod(dimensions) else "more"
        raise InputError(f"{file} holds {amount} than the {shape} bytes that its header announces; get it again")
    return dimensions


def _count_bytes(stream, most):
    count = 0
    while count < most and (block := stream.read(min(_BLOCK, most - count))):
        count += len(block)
    return count


def _image_shape(file, dimensions):
    text = "x".join(map(str, dimensions))
    if len(dimensions) not in (3, 4) or (len(dimensions) == 4 and dimensions[3] not in (1, 3)):
        hint = "; give the file of images, its labels are found beside it" if len(dimensions) == 1 else ""
        raise InputError(f"{file} holds {text} values, no images; expected NxHxW, NxHxWx1 or NxHxWx3{hint}")
    if not math.prod(dimensions):
        raise InputError(f"{file} holds no images: its header says {text}")
    if math.prod(dimensions[1:]) > files.LARGEST:
        raise InputError(f"{file} holds images that are larger than 256 MB: its header says {text}")
    return (*dimensions[1:3], dimensions[3] if len(dimensions) == 4 else 1)


def _labels(images, count):
    """Returns the labels that lie beside a file of images, as bytes, or None if there are none.

    Raises:
      InputError: they are no labels, or not as many.
    """
    file = next((images.parent / name for name in _label_files(images.name) if (images.parent / name).exists()), None)
    if file is None:
        return None
    try:
        with files.opened(file) as stream:
            unpack = packing.unpacker(stream.read(6))
        dimensions = _dimensions(file, unpack)
        if dimensions != (count,):
            text = "x".join(map(str, dimensions))
            raise InputError(f"{file} holds {text} labels, but {images} holds {count} images; there must be as many")
        with packing.opened(file, unpack) as stream:
            stream.read(8)
            labels = stream.read(count)
    except packing.DAMAGE:
        labels = b""
    if len(labels) < count:
        raise InputError(f"{file} is cut short or damaged; get it again")
    return labels


def _label_files(name):
    """Returns the names that the labels of a file of images may have, the likeliest first."""
    names = [name]
    for images, labels in _RENAMES:
        names = [*(other.replace(images, labels) for other in names if images in other), *names]
    names.remove(name)
    return [other for found in names for other in (found, found[:-3] if found.endswith(".gz") else f"{found}.gz")]
