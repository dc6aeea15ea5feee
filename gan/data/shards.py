"""Records as bytes: `tf.train.Example` messages.

Both formats are written by hand, because TensorFlow takes seconds and hundreds of megabytes to import, and a
`tf.train.Example` of 2,500 integers ten times as long to make as what is done here.
"""

import numpy as np

FORMATS = ("contest", "bytes")


def shard_name(split, number, count):
    return f"{split}-{number:05}-of-{count:05}.tfrecords"


def example(pixels, label, kind):
    """Returns a serialized `tf.train.Example`.

    Args:
      pixels: uint8 [height * width * channels].
      label: an integer, stored as the feature `label`; None for no such feature.
      kind: "contest", `image_raw` as a list of integers; or "bytes", `image_raw` as one string of bytes.
    """
    image = _field(1, _field(1, pixels.tobytes())) if kind == "bytes" else _field(3, _field(1, _varints(pixels)))
    features = [(b"image_raw", image)]
    if label is not None:
        features.append((b"label", _field(3, _field(1, _varint(label)))))
    entries = b"".join(_field(1, _field(1, name) + _field(2, feature)) for name, feature in features)
    return _field(1, entries)


def _field(number, content):
    """A field of protocol buffers with bytes as content; https://protobuf.dev/programming-guides/encoding."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number):
    number &= (1 << 64) - 1  # negative ones are 64-bit two's complements
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _varints(pixels):
    """The integers 0 to 255, one after the other: those from 128 on take a second byte, which is 1."""
    large = pixels > 0x7F
    pairs = np.ones((len(pixels), 2), np.uint8)
    pairs[:, 0] = pixels
    return pairs[np.column_stack([np.ones_like(large), large])].tobytes()
