"""The parser of messages against TensorFlow's own classes."""

import numpy as np
import pytest
import record_files
from hypothesis import given
from hypothesis import strategies as st

from gan import examples

PIXELS = st.lists(st.integers(0, 255), min_size=1, max_size=300)
LABELS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(st.lists(st.tuples(st.lists(st.integers(0, 255), min_size=40, max_size=40), LABELS), min_size=1, max_size=5))
def test_integers_and_labels(rows):
    found, labels = examples.parse([record_files.example(*row) for row in rows], 40, with_labels=True)
    assert found.tolist() == [pixels for pixels, _ in rows]
    assert labels.tolist() == [label for _, label in rows]


@given(PIXELS, LABELS)
def test_bytes_and_labels(pixels, label):
    found, labels = examples.parse([record_files.bytes_example(bytes(pixels), label=label)], len(pixels), True)
    assert found.tolist() == [pixels]
    assert labels.tolist() == [label]


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40), st.integers(1, 40))
def test_what_does_not_fit_is_not_known(values, size):
    found = examples.parse([record_files.example(values)], size, with_labels=False)
    if len(values) == size and min(values) >= 0 and max(values) < 256:
        assert found[0].tolist() == [values]
    else:
        assert found is None


@given(st.binary(max_size=60), st.data())
def test_no_bytes_are_taken_for_what_tensorflow_would_not_find(damage, data):
    import tensorflow as tf

    message = record_files.example(range(120, 140), 3)
    begin = data.draw(st.integers(0, len(message)))
    message = message[:begin] + damage + message[begin + data.draw(st.integers(0, 20)) :]
    found = examples.parse([message], 20, with_labels=True)
    if found is not None:
        features = tf.train.Example.FromString(message).features.feature
        kind = features["image_raw"].WhichOneof("kind")
        values = features["image_raw"].int64_list.value
        assert found[0][0].tolist() == list(
            values if kind == "int64_list" else features["image_raw"].bytes_list.value[0]
        )
        assert found[1].tolist() == list(features["label"].int64_list.value)


@pytest.mark.parametrize("count", [1, 2, 255])
def test_other_features_do_no_harm(count):
    import tensorflow as tf

    features = tf.train.Example.FromString(record_files.example(range(20))).features
    features.feature["name"].bytes_list.value.extend([b"a", b"b"])
    features.feature["where"].float_list.value.append(0.5)
    message = tf.train.Example(features=features).SerializeToString()
    found, labels = examples.parse([message] * count, 20, with_labels=False)
    np.testing.assert_array_equal(found, np.tile(np.arange(20), (count, 1)))
    assert labels is None
    assert examples.parse([message], 20, with_labels=True) is None
