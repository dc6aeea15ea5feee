"""Chunks of finished pixels, what is known of all images, and which record each becomes."""

import dataclasses
import hashlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan import storage
from gan.data import catalogue, decoding, fingerprints, preparation, sources

SIZE = 6
TRANSFORM = decoding.Transform(SIZE, SIZE, 1)


def picture(number):
    """Returns the number-th of many unlike pictures: uint8 [SIZE, SIZE]."""
    return np.random.default_rng(number).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def reference(number, label=None, group=None, fault=None, data=None):
    return sources.Reference(f"{number}.png", label, group, fault, data or png(picture(number)))


def prepared(folder, references, per_chunk=3):
    """Prepares references in chunks and returns the `Catalogue`."""
    work = storage.path(str(folder))
    chunks = [references[begin : begin + per_chunk] for begin in range(0, len(references), per_chunk)]
    for number, some in enumerate(chunks):
        chunk = preparation.Chunk(number, tuple(some))
        assert preparation.prepare(chunk, sources.Reader(), TRANSFORM, str(work)) == len(some)
    return catalogue.load(work, len(chunks))


def labelled(folder, *labels):
    return prepared(folder, [reference(number, label) for number, label in enumerate(labels)])


@pytest.mark.parametrize("kind", ["", "ram://chunks-of-"])
def test_what_is_known_of_images_is_their_own(kind, tmp_path):
    folder = kind + str(tmp_path)[1:] if kind else tmp_path
    bad = reference(2, data=b"no image"), reference(5, fault="is a symbolic link")
    groups = reference(0, group="x"), reference(1), bad[0], reference(3, group="y"), reference(4, group="x"), bad[1]
    known = prepared(folder, groups)
    assert (known.chunk.tolist(), known.row.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])
    assert known.group.tolist() == [0, -1, 1, 0]
    assert (known.label, known.label_names, len(known)) == (None, {}, 4)
    for place, number in enumerate((0, 1, 3, 4)):
        pixels = picture(number)[..., None]
        assert known.content[place] == fingerprints.content_hash(pixels).rstrip(b"\0")
        assert known.key[place] == fingerprints.perceptual_key(pixels)
    reason = "is no image of a known kind (JPEG, PNG, BMP, GIF, WebP, PGM, TIFF)"
    assert known.refused == [["2.png", reason], ["5.png", "is a symbolic link"]]
    assert known.num_chunks == 2


@pytest.mark.parametrize(
    "labels, names, numbers",
    [
        (("cat", "dog", "ant", "cat"), {"ant": 0, "cat": 1, "dog": 2}, [1, 2, 0, 1]),
        (("10", "9", "3", "9"), {"3": 3, "9": 9, "10": 10}, [10, 9, 3, 9]),
        (("0", "-1", "40"), {"-1": -1, "0": 0, "40": 40}, [0, -1, 40]),
        (("007", "7", "1"), {"007": 0, "1": 1, "7": 2}, [0, 2, 1]),  # two spellings of a number are two labels
        (("1", "one"), {"1": 0, "one": 1}, [0, 1]),
        (("1.5", "2"), {"1.5": 0, "2": 1}, [0, 1]),
        (("-0", "0"), {"-0": 0, "0": 1}, [0, 1]),
        (("٣", "4"), {"4": 0, "٣": 1}, [1, 0]),
        ((str(10**17), "-5"), {"-5": -5, str(10**17): 10**17}, [10**17, -5]),
        (("9" * 30, "1"), {"1": 0, "9" * 30: 1}, [1, 0]),  # it has no place in 64 bits
    ],
)
def test_labels_keep_their_value_or_are_numbered_by_name(labels, names, numbers, tmp_path):
    known = labelled(tmp_path, *labels)
    assert known.label_names == names
    assert list(known.label_names) == list(names)
    assert known.label.tolist() == numbers


def test_labels_do_not_depend_on_where_the_chunks_begin(tmp_path):
    labels = ["b", "a", "c", "a", "b", "c", "c"]
    references = [reference(number, label) for number, label in enumerate(labels)]
    found = [prepared(tmp_path / str(size), references, size) for size in (1, 2, 7)]
    assert [known.label.tolist() for known in found] == [[1, 0, 2, 0, 1, 2, 2]] * 3


@pytest.mark.parametrize("labels", [(None, None), ("a", None, "b")])
def test_without_a_label_for_each_there_are_none(labels, tmp_path):
    known = labelled(tmp_path, *labels)
    assert (known.label, known.label_names) == (None, {})


def test_a_chunk_that_is_nothing_but_refused_is_no_harm(tmp_path):
    references = [reference(0), *(reference(number, data=b"x") for number in (1, 2, 3)), reference(4)]
    known = prepared(tmp_path, references, 1)
    assert (known.chunk.tolist(), len(known.refused)) == ([0, 4], 3)
    pixels = preparation.gather(storage.path(str(tmp_path)), known.chunk, known.row, SIZE**2)
    np.testing.assert_array_equal(pixels, [picture(0).ravel(), picture(4).ravel()])


@pytest.mark.parametrize("scheme", ["", "ram://gathered-from-"])
def test_pixels_are_gathered_in_any_order(scheme, tmp_path):
    folder = storage.path(scheme + str(tmp_path)[1:] if scheme else str(tmp_path))
    known = prepared(folder, [reference(number) for number in range(10)], 4)
    for seed in range(20):
        chosen = np.random.default_rng(seed).integers(0, 10, seed)  # some often, some never
        pixels = preparation.gather(folder, known.chunk[chosen], known.row[chosen], SIZE**2)
        np.testing.assert_array_equal(pixels, np.array([picture(n).ravel() for n in chosen]).reshape(-1, SIZE**2))


@pytest.mark.parametrize(
    "transform, size",
    [((28, 28, 1), 512), ((50, 50, 1), 512), ((224, 224, 3), 55), ((4096, 4096, 3), 1)],
)
def test_a_chunk_takes_little_memory(transform, size):
    assert preparation.chunk_size(decoding.Transform(*transform)) == size
    assert size == 1 or size * np.prod(transform) <= 8 << 20


def test_chunks_hold_every_reference_once_and_in_order():
    references = [sources.Reference(str(number), None, None, None, number) for number in range(1200)]
    chunks = list(preparation.chunks(iter(references), TRANSFORM))
    assert [len(chunk.references) for chunk in chunks] == [512, 512, 176]
    assert [chunk.number for chunk in chunks] == [0, 1, 2]
    assert [each for chunk in chunks for each in chunk.references] == references


def test_chunks_of_files_in_memory_end_early():
    references = [sources.Reference(str(number), None, None, None, bytes(3 << 20)) for number in range(7)]
    assert [len(chunk.references) for chunk in preparation.chunks(references, TRANSFORM)] == [3, 3, 1]


def test_a_chunk_is_there_when_all_of_it_is(tmp_path, monkeypatch):
    """A kill between the pixels and what is known of them leaves no chunk."""
    folder, chunk = storage.path(str(tmp_path)), preparation.Chunk(7, (reference(1),))

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(storage, "write_json", kill)
        preparation.prepare(chunk, sources.Reader(), TRANSFORM, str(folder))
    assert preparation.chunks_there(folder) == set()
    preparation.prepare(chunk, sources.Reader(), TRANSFORM, str(folder))
    assert preparation.chunks_there(folder) == {7}


def test_an_error_names_the_files_of_a_chunk():
    chunk = preparation.Chunk(0, tuple(reference(number) for number in range(3)))
    assert str(chunk) == "3 files, 0.png to 2.png"
    assert str(preparation.Chunk(0, (dataclasses.replace(reference(0), place="a\x1b[2J.png"),))) == r"a\x1b[2J.png"


def known_images(count, keys=2**64, seed=0):
    """Returns a `Catalogue` of images that were never there."""
    rng = np.random.default_rng(seed)
    key = rng.integers(0, keys, count, np.uint64)
    content = np.array([hashlib.sha256(rng.bytes(8)).digest() for _ in range(count)], "S32")
    columns = {"label": None, "label_names": {}, "group": np.full(count, -1), "refused": [], "num_chunks": 1}
    return catalogue.Catalogue(np.zeros(count, np.int32), np.arange(count), key, content, **columns)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 1000), st.integers(0, 5))
def test_every_image_becomes_one_record(count, shards, keys, seed):
    plan = catalogue.plan(known_images(count, keys, seed), {"a": 0.5, "b": 0.3, "c": 0.2}, shards, seed)
    seen = []
    for number, (split, there) in enumerate(plan.shards.items()):
        of_shards = [plan.images_of(split, shard) for shard in range(there)]
        sizes = [len(images) for images in of_shards]
        assert there == min(shards, np.sum(plan.split == number))
        assert not sizes or (min(sizes) >= 1 and max(sizes) - min(sizes) <= 1)
        for shard, images in enumerate(of_shards):
            assert set(plan.split[images]) <= {number}
            assert set(plan.shard[images]) <= {shard}
            assert plan.position[images].tolist() == list(range(len(images)))
            seen.extend(images.tolist())
    assert sorted(seen) == list(range(count))
    assert list(plan.shards) == ["a", "b", "c"]


def sequence(known, plan):
    """Returns {split: contents of its records, in order}."""
    return {
        split: [known.content[plan.images_of(split, shard)].tolist() for shard in range(count)]
        for split, count in plan.shards.items()
    }


def shuffled(known, seed=1):
    """The same images under other names and in another order."""
    order = np.random.default_rng(seed).permutation(len(known))
    return dataclasses.replace(known, key=known.key[order], content=known.content[order])


def test_neither_names_nor_order_of_the_source_matter():
    known, shares = known_images(200), {"train": 0.8, "test": 0.2}
    other = shuffled(known)
    assert not np.array_equal(known.content, other.content)
    plans = [catalogue.plan(images, shares, 3, 0) for images in (known, other)]
    assert sequence(known, plans[0]) == sequence(other, plans[1])


def test_records_are_shuffled_by_the_seed():
    known = known_images(300)
    orders = [catalogue.plan(known, {"all": 1.0}, 1, seed).images_of("all", 0) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    for order in orders:
        assert abs(np.corrcoef(order, np.arange(300))[0, 1]) < 0.2
        assert abs(np.corrcoef(np.argsort(known.content[order]), np.arange(300))[0, 1]) < 0.2


@given(st.lists(st.sampled_from([b"", b"a", b"b", b"ab", b"\xff"]), max_size=30))
def test_the_first_of_equal_ones_is_found(values):
    found = catalogue.first_equal(np.array(values, "S32"))
    assert found.tolist() == [values.index(value) for value in values]
