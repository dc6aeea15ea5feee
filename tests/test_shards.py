"""Records as bytes, against what TensorFlow writes and reads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gan import examples, tfrecords
from gan.data import shards

PIXELS = arrays.arrays(np.uint8, st.integers(1, 400))
LABELS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 127, 128, -1, 2**31, -(2**31) - 1])


def of_tensorflow(pixels, label, kind):
    """What TensorFlow makes of the same; its features are sorted by name."""
    import tensorflow as tf

    if kind == "bytes":
        image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[pixels.tobytes()]))
    else:
        image = tf.train.Feature(int64_list=tf.train.Int64List(value=pixels.tolist()))
    features = {"image_raw": image}
    if label is not None:
        features["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


@pytest.mark.parametrize("kind", shards.FORMATS)
@settings(deadline=None)
@given(PIXELS, LABELS)
def test_an_example_is_what_tensorflow_writes(kind, pixels, label):
    assert examples.serialize(pixels, label, shards.FORMATS[kind]) == of_tensorflow(pixels, label, kind)


@pytest.mark.parametrize("kind", shards.FORMATS)
@pytest.mark.parametrize("size", [1, 126, 127, 128, 2500, 16383, 16384, 3 * 224 * 224, (1 << 21) + 1])
def test_sizes_of_all_lengths(kind, size, random_pixels):
    """The lengths that stand before a field take from one byte to four."""
    pixels = random_pixels(1, size)[0]
    assert examples.serialize(pixels, 7, shards.FORMATS[kind]) == of_tensorflow(pixels, 7, kind)


@pytest.mark.parametrize("value", [0, 127, 128, 255])
@pytest.mark.parametrize("kind", shards.FORMATS)
def test_pixels_of_one_value(kind, value):
    pixels = np.full(50, value, np.uint8)
    assert examples.serialize(pixels, None, shards.FORMATS[kind]) == of_tensorflow(pixels, None, kind)


@pytest.mark.parametrize("kind", shards.FORMATS)
def test_tensorflow_reads_a_file_of_them(kind, tmp_path, random_pixels):
    import tensorflow as tf

    pixels, labels = random_pixels(9, 48), [0, 5, -3, 2**62, 1, 1, -(2**63), 300, 9]
    file = tmp_path / "some.tfrecords"
    messages = [
        examples.serialize(image, label, shards.FORMATS[kind]) for image, label in zip(pixels, labels, strict=True)
    ]
    file.write_bytes(b"".join(map(tfrecords.frame, messages)))
    read = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    for example, image, label in zip(read, pixels, labels, strict=True):
        feature = example.features.feature["image_raw"]
        if kind == "bytes":
            assert list(feature.bytes_list.value) == [image.tobytes()]
        else:
            assert list(feature.int64_list.value) == image.tolist()
        assert list(example.features.feature["label"].int64_list.value) == [label]


def test_bytes_are_about_half_as_large(random_pixels):
    pixels = random_pixels(1, 2500)[0]
    contest, compact = (len(examples.serialize(pixels, 1, shards.FORMATS[kind])) for kind in shards.FORMATS)
    assert compact < 2550
    assert 1.45 < contest / compact < 1.55


def test_names_sort_as_their_numbers_and_say_how_many():
    names = [shards.shard_name("train", number, 128) for number in range(128)]
    assert names[3] == "train-00003-of-00128.tfrecords"
    assert names == sorted(names)
