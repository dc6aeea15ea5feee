"""Our reader and writer of TFRecord files against TensorFlow's."""

import gzip

import pytest
import record_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gan import storage, tfrecords

RECORDS = st.lists(st.binary(max_size=300), max_size=12)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)


def read(file, count=3):
    """Returns the records up to the end or the break, and the break's message."""
    found = []
    try:
        for some in tfrecords.read(storage.path(str(file)), count):
            assert 0 < len(some) <= count
            found.extend(some)
    except tfrecords.Break as error:
        return found, str(error)
    return found, None


@in_one_folder
@given(RECORDS, st.sampled_from(["", "GZIP"]))
def test_what_tensorflow_writes_is_read(tmp_path, records, compression):
    assert read(record_files.write(tmp_path / "f", records, compression)) == (records, None)


@in_one_folder
@given(RECORDS)
def test_what_is_written_tensorflow_reads(tmp_path, records):
    import tensorflow as tf

    file = tmp_path / "f"
    file.write_bytes(b"".join(map(tfrecords.frame, records)))
    assert list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator()) == records


@in_one_folder
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), st.data())
def test_a_break_loses_nothing_before_it(tmp_path, records, data):
    framed = list(map(tfrecords.frame, records))
    whole = b"".join(framed)
    place = data.draw(st.integers(0, len(whole) - 1))
    before = next(i for i in range(len(framed)) if sum(map(len, framed[: i + 1])) > place)
    flipped = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
    for content, words in ((whole[:place], "truncated"), (flipped, "damaged")):
        (tmp_path / "f").write_bytes(content)
        found, reason = read(tmp_path / "f")
        assert found == records[:before]
        if content and len(content) != sum(map(len, framed[:before])):  # else it ends between two records
            assert words in reason


def test_records_larger_than_a_block(tmp_path):
    records = [bytes([i]) * size for i, size in enumerate((9 << 20, 1, 5 << 20))]
    assert read(record_files.write(tmp_path / "f", records)) == (records, None)
    assert read(record_files.write(tmp_path / "g", records, "GZIP")) == (records, None)


@pytest.mark.parametrize("cut", [1, 30])
def test_a_compressed_file_that_is_cut_keeps_its_beginning(cut, tmp_path, random_pixels):
    records = [row.tobytes() for row in random_pixels(500, 400)]
    packed = gzip.compress(b"".join(map(tfrecords.frame, records)))
    (tmp_path / "f").write_bytes(packed[:-cut])
    found, reason = read(tmp_path / "f")
    assert "truncated" in reason
    assert len(found) >= 499 - cut // 400
    assert found == records[: len(found)]
