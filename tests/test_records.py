import numpy as np
import pytest
import record_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gan import records
from gan.errors import InputError

SHAPE = (4, 5, 1)


def images_of(data):
    return data.pixels.take(np.arange(len(data)))


def test_pixels_come_back_in_file_order(tmp_path, random_pixels):
    pixels = random_pixels(700, 20)
    record_files.write_images(tmp_path / "a0", pixels[:600])
    record_files.write_images(tmp_path / "a1", pixels[600:])
    data = records.read(f"{tmp_path}/a*", SHAPE)
    np.testing.assert_array_equal(images_of(data), pixels)
    assert (data.shape, data.labels, data.bad) == (SHAPE, None, ())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=1, max_size=9))
def test_any_pixels_survive(tmp_path, rows):
    pixels = np.array(rows, np.uint8)
    file = record_files.write_images(tmp_path / "f", pixels)
    np.testing.assert_array_equal(images_of(records.read(file, (1, 1, 3))), pixels)


def test_gzip_is_recognised_by_content(tmp_path, random_pixels):
    pixels = random_pixels(30, 20)
    plain = record_files.write_images(tmp_path / "plain", pixels)
    packed = record_files.write_images(tmp_path / "packed", pixels, compression="GZIP")
    assert records.read(plain, SHAPE).fingerprint == records.read(packed, SHAPE).fingerprint


def test_files_need_not_be_local(random_pixels):
    pixels = random_pixels(3, 20)
    record_files.write_images("ram://records/one", pixels)
    np.testing.assert_array_equal(images_of(records.read("ram://records/*", SHAPE)), pixels)


def test_neither_threads_nor_cache_change_what_is_read(tmp_path, random_pixels):
    file = record_files.write_images(tmp_path / "f", random_pixels(900, 20))
    base = records.read(file, SHAPE, num_readers=1)
    for other in (records.read(file, SHAPE, num_readers=7), records.read(file, SHAPE, cache_mb=0)):
        assert other.fingerprint == base.fingerprint
        order = np.random.default_rng(1).permutation(900)
        np.testing.assert_array_equal(other.pixels.take(order), base.pixels.take(order))


def test_beyond_the_cache_images_leave_memory(random_pixels):
    pixels = random_pixels(9, 20)
    store = records.PixelStore(20, cache_bytes=100)
    for row in pixels:
        store.append(row[None])
    assert store._file is not None
    assert store._chunks == []
    np.testing.assert_array_equal(store.take([8, 0, 5, 4]), pixels[[8, 0, 5, 4]])


def test_labels_are_read_where_asked_for(tmp_path, random_pixels):
    file = record_files.write_images(tmp_path / "f", random_pixels(4, 20), labels=[3, 1, 4, 1])
    assert records.read(file, SHAPE, with_labels=True).labels.tolist() == [3, 1, 4, 1]
    assert records.read(file, SHAPE).labels is None


BROKEN = {
    "wrong length": (lambda: record_files.example(range(19)), r"has 19 pixel values, expected 20 \(4x5x1\)"),
    "empty": (lambda: record_files.example([]), "has 0 pixel values, expected 20"),
    "value over 255": (lambda: record_files.example([256] * 20), "has the pixel value 256, expected 0 to 255"),
    "negative value": (lambda: record_files.example([0] * 19 + [-1]), "has the pixel value -1"),
    "other feature": (
        lambda: record_files.example(range(20), name="image"),
        r"has no feature 'image_raw' \(it has: image\)",
    ),
    "too few bytes": (lambda: record_files.bytes_example(bytes(19)), "has 19 pixel values, expected 20"),
    "two strings": (
        lambda: record_files.bytes_example(bytes(20), bytes(20)),
        "holds 'image_raw' as bytes_list, expected",
    ),
    "no example": (lambda: b"\xff\xfe garbage", "is not a tf.train.Example"),
}


def test_pixels_may_be_bytes(tmp_path, random_pixels):
    pixels = random_pixels(300, 20)
    strings = [record_files.bytes_example(row.tobytes(), label=i) for i, row in enumerate(pixels)]
    mixed = [record_files.example(row, label=i) if i % 3 else strings[i] for i, row in enumerate(pixels)]
    for records_of_file in (strings, mixed):
        data = records.read(record_files.write(tmp_path / "f", records_of_file), SHAPE, with_labels=True)
        np.testing.assert_array_equal(data.pixels.take(np.arange(300)), pixels)
        np.testing.assert_array_equal(data.labels, np.arange(300))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_record_is_named(kind, tmp_path, random_pixels):
    record, words = BROKEN[kind]
    good = [record_files.example(row) for row in random_pixels(300, 20)]
    file = record_files.write(tmp_path / "f", [*good[:290], record(), *good[290:]])
    with pytest.raises(InputError, match=f"{file}: record 290 {words}"):
        records.read(file, SHAPE)
    data = records.read(file, SHAPE, max_bad_records=1)
    assert len(data) == 300
    assert len(data.bad) == 1


@pytest.mark.parametrize("labels", [None, [1, 2]])
def test_a_missing_label_is_named(labels, tmp_path, random_pixels):
    record = record_files.example(random_pixels(1, 20)[0])
    file = record_files.write(tmp_path / "f", [record])
    with pytest.raises(InputError, match="record 0 has no feature 'label'"):
        records.read(file, SHAPE, with_labels=True)


@pytest.mark.parametrize("compression, cut", [("", 7), ("GZIP", 30)])
def test_a_truncated_file_is_named_and_its_start_can_be_kept(compression, cut, tmp_path, random_pixels):
    pixels = random_pixels(300, 20)
    file = tmp_path / "f"
    record_files.write_images(file, pixels, compression=compression)
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"record 299 (is cut short|cannot be read).*truncated"):
        records.read(str(file), SHAPE)
    data = records.read(str(file), SHAPE, max_bad_records=1)
    np.testing.assert_array_equal(images_of(data), pixels[:299])


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "f.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match=r"f\.png: record 0 cannot be read"):
        records.read(f"{tmp_path}/f.png", SHAPE)


def test_more_bad_records_than_allowed_are_counted(tmp_path):
    file = record_files.write(tmp_path / "f", [record_files.example(range(3))] * 3)
    with pytest.raises(InputError, match=r"record 0 .*and 2 more; --max_bad_records=2"):
        records.read(file, SHAPE, max_bad_records=2)


def test_no_record_at_all_is_an_error(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(InputError, match="no usable record"):
        records.read(f"{tmp_path}/empty", SHAPE)


def test_fingerprints_tell_data_apart(random_pixels):
    pixels = random_pixels(6, 20)
    prints = {
        records.from_arrays(pixels, SHAPE).fingerprint,
        records.from_arrays(pixels, (5, 4, 1)).fingerprint,
        records.from_arrays(pixels[::-1], SHAPE).fingerprint,
        records.from_arrays(pixels, SHAPE, np.zeros(6)).fingerprint,
    }
    assert len(prints) == 4


@pytest.mark.parametrize("rest", [5, 9, 11])
def test_a_file_cut_inside_a_header_is_truncated_too(rest, tmp_path, random_pixels):
    file = tmp_path / "f"
    record_files.write_images(file, random_pixels(4, 20))
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:rest])
    with pytest.raises(InputError, match=r"record 4 (is cut short|cannot be read).*truncated"):
        records.read(str(file), SHAPE)
    assert len(records.read(str(file), SHAPE, max_bad_records=1)) == 4


def test_where_nothing_is_left_the_first_fault_is_told(tmp_path):
    file = record_files.write(tmp_path / "f", [record_files.example(range(3))] * 3)
    with pytest.raises(InputError, match=r"no usable record; the first bad record: .*record 0 has 3 pixel values"):
        records.read(file, SHAPE, max_bad_records=9)
