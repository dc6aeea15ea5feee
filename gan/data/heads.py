"""The first records of a file, which say what all of it should be like: the storage format, the size, the labels."""

import collections
import dataclasses
import math

from etils import epy
from google.protobuf import message

from gan import examples, records, storage, tfrecords
from gan.data import built
from gan.errors import InputError

with epy.lazy_imports():
    import tensorflow as tf

_LOOKED_AT = 16
_ENCODED = (b"\xff\xd8\xff", b"\x89PNG")
_MOST_NAMED = 3  # sizes that an image may have
_LONGEST_SIDE = 2  # times the other one, of such a size
_FLAGS = "--image_height, --image_width and --image_channels"


@dataclasses.dataclass(frozen=True)
class Head:
    """What the first records of a file that can be read as images have in common.

    Attributes:
      file: an `epath.Path`.
      values: pixel values of most of them; None where none is an image.
      kind: how most hold their pixels, "integers" or "bytes"; None where none is an image.
      encoded: whether these are JPEG or PNG files and no pixels.
      labelled: whether all have integer labels.
    """

    file: object
    values: int | None
    kind: str | None
    encoded: bool
    labelled: bool


def look(file):
    """Returns the `Head` of a file, an `epath.Path`."""
    found = [image for features in _features(file) if (image := _image(features))]
    if not found:
        return Head(file, None, None, False, False)
    (values, kind, encoded), _ = collections.Counter(image[:3] for image in found).most_common(1)[0]
    return Head(file, values, kind, encoded, all(labelled for *_, labelled in found))


def _features(file):
    """Yields the features of the first records, {name: feature}; what cannot be read is left to those who read all."""
    try:
        serialized = next(tfrecords.read(file, _LOOKED_AT), [])
    except tfrecords.Break:
        return
    for record in serialized:
        try:
            yield tf.train.Example.FromString(record).features.feature
        except message.DecodeError:
            continue


def _image(features):
    """Returns (pixel values, kind, whether encoded, whether labelled) of a record, or None where it holds no image."""
    if "image_raw" not in features:
        return None
    image = features["image_raw"]
    labelled = "label" in features and features["label"].WhichOneof("kind") == "int64_list"
    if image.int64_list.value:
        return len(image.int64_list.value), examples.INTEGERS, False, labelled
    if len(image.bytes_list.value) == 1:
        (packed,) = image.bytes_list.value
        return len(packed), examples.BYTES, packed.startswith(_ENCODED), labelled
    return None


@dataclasses.dataclass(frozen=True)
class Files:
    """Record files whose images have one size.

    Attributes:
      patterns: what they were named by.
      heads: the `Head` of each, in order.
      shape: (height, width, channels) of the images.
      shape_found: how that is known, a clause.
    """

    patterns: str
    heads: list
    shape: tuple
    shape_found: str


def look_at(patterns, shape=None):
    """Returns the `Files` of comma-separated files or patterns.

    Where no size is given it is found by the number of pixel values. Squares are recognised, gray ones and RGB: no
    number is that of both. Of other sizes a manifest of `gan.build_records` beside the files says which it is, and it
    is believed where it fits the number.

    Args:
      patterns: local or `gs://`.
      shape: (height, width, channels), or None.

    Raises:
      InputError: no file matches, there is no image, there are images of several sizes, or the size cannot be told.
    """
    heads = [look(file) for file in storage.expand(patterns)]
    return Files(patterns, heads, *((shape, "as the flags say") if shape else _shape(heads)))


def _shape(heads):
    """Returns ((height, width, channels), how it was found)."""
    first_of = {}
    for head in heads:
        if head.values:
            first_of.setdefault(head.values, head)
    if not first_of:
        raise _no_image(heads[0].file)
    head, *others = first_of.values()
    if others:
        raise InputError(
            f"{head.file} has images of {head.values} pixel values, {others[0].file} of {others[0].values}: look at "
            f"them one after the other, or say by {_FLAGS} which are right"
        )
    if head.encoded:
        raise InputError(
            f"{head.file} holds JPEG or PNG files and no pixels, so it cannot be trained on; make records of the "
            "pictures by gan.build_records"
        )
    manifests = [built.load(folder) for folder in dict.fromkeys(head.file.parent for head in heads)]
    told = {manifest.shape for manifest in manifests if manifest and math.prod(manifest.shape) == head.values}
    if len(told) == 1:
        return told.pop(), "by manifest.json"
    square = _square(head.values)
    if square is None or told:
        raise InputError(
            f"{head.file}: images of {head.values} pixel values may have several sizes; say by {_FLAGS} which"
            f"{_sizes_text(head.values)}"
        )
    return square, f"by the number of pixel values, {head.values}"


def _no_image(file):
    """Returns the error of a file that does not begin with an image, in the words of `gan.records`."""
    words = "it does not begin with an image"
    try:
        records.read(str(file), (1, 1, 1))
    except InputError as error:
        words = error
    return InputError(f"{file}: there is no image to find the size by: {words}")


def _square(values):
    """Returns the shape of a square image of so many values, or None."""
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if side * side * channels == values:
            return side, side, channels
    return None


def _sizes_text(values):
    """Lists sizes that an image of so many values may have, the squarest first."""
    sizes = [
        (side, pixels // side, channels)
        for channels, pixels in ((1, values), (3, values // 3 if values % 3 == 0 else 0))
        for side in range(1, math.isqrt(pixels) + 1)
        if pixels % side == 0 and pixels // side <= _LONGEST_SIDE * side
    ]
    sizes.sort(key=lambda size: size[1] / size[0])
    texts = [f"{a}x{b}x{channels} or {b}x{a}x{channels}" for a, b, channels in sizes[:_MOST_NAMED]]
    return f", for instance {', '.join(texts)}" if texts else ""
