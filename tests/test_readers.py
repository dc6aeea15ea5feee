import numpy as np
import pytest
import record_files
from hypothesis import given, settings
from hypothesis import strategies as st

from gan import digits, readers, records
from gan.errors import InputError
from gan.readers import Batches, ReaderOptions


class ThreeByTwoReader(readers.BaseReader):
    """A team's own reader, named by dotted path below."""

    def get_image_size(self):
        return (3, 2)


def numbered(count):
    """`count` images of one pixel, each its own value."""
    return records.from_arrays(np.arange(count, dtype=np.uint8)[:, None], (1, 1, 1))


def values(batches, steps):
    return np.concatenate([np.rint(batches[step][:, 0] * 255).astype(int) for step in steps])


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 50), batch=st.integers(1, 60), seed=st.integers(0, 9))
def test_every_image_comes_once_per_epoch(count, batch, seed):
    batches = Batches(numbered(count), batch, seed)
    seen = values(batches, range(-(-3 * count // batch)))
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_a_batch_is_a_function_of_seed_and_step():
    batches = Batches(numbered(100), 8, seed=3)
    later_first = values(batches, [40, 2])
    assert later_first.tolist() == values(Batches(numbered(100), 8, seed=3), [40, 2]).tolist()
    assert later_first.tolist() != values(Batches(numbered(100), 8, seed=4), [40, 2]).tolist()
    first, second = values(batches, range(12)), values(batches, range(13, 25))
    assert first.tolist() != second.tolist()


def test_batches_are_floats_from_0_to_1():
    batch = Batches(records.from_arrays(np.array([[0, 51, 255]], np.uint8), (1, 1, 3)), 2, seed=0)[0]
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, np.float32([[0, 0.2, 1]] * 2))


def test_the_embedded_digits():
    train, validation = digits.load("train"), digits.load("validation")
    assert (len(train), len(validation), train.shape) == (1437, 360, (28, 28, 1))
    assert set(train.labels) == set(range(10))
    pixels = train.pixels.take(np.arange(len(train)))
    assert (pixels.min(), pixels.max()) == (0, 255)
    held_out = {bytes(row) for row in validation.pixels.take(np.arange(360))}
    assert not held_out & {bytes(row) for row in pixels}


@pytest.mark.parametrize(
    "size, flags",
    [
        (2500, {}),
        (784, {"use_mnist": True}),
        (18, {"image_height": 2, "image_width": 3, "image_channels": 3}),
        (6, {"image_height": 2, "image_width": 3}),
        (6, {"reader": "ImageReader", "image_height": 2, "image_width": 3}),
        (6, {"reader": "test_readers.ThreeByTwoReader"}),
        (784, {"reader": "MnistReader"}),
    ],
)
def test_the_flags_choose_the_reader(size, flags, tmp_path, random_pixels):
    file = record_files.write_images(tmp_path / "f", random_pixels(2, size), labels=[0, 1])
    data = readers.read(ReaderOptions(**flags), file, "train")
    assert np.prod(data.shape) == size
    assert (data.labels is not None) == (size == 784)


@pytest.mark.parametrize(
    "pattern, flags, words",
    [
        ("", {"reader": "FaceReader"}, "no file pattern means the embedded 28x28 digits"),
        ("", {"image_height": 50, "image_width": 50}, "no file pattern means the embedded 28x28 digits"),
        ("x", {"reader": "FaceReader", "use_mnist": True}, "fixes the image size"),
        ("x", {"reader": "ImageReader"}, "needs --image_height"),
        ("x", {"reader": "NoReader"}, "no such class; gan.readers has: FaceReader, ImageReader"),
    ],
)
def test_flags_that_contradict_are_refused(pattern, flags, words):
    with pytest.raises(InputError, match=words):
        readers.read(ReaderOptions(**flags), pattern, "train")


def test_skipped_records_are_told(tmp_path, random_pixels, capsys):
    good = record_files.example(random_pixels(1, 2500)[0])
    file = record_files.write(tmp_path / "f", [good, record_files.example([1])])
    assert len(readers.read(ReaderOptions(max_bad_records=1), file, "train")) == 1
    assert "skipped 1 bad record(s); the first" in capsys.readouterr().err
