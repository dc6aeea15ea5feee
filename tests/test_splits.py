"""Which split an image goes to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gan.data import splits
from gan.errors import InputError

SHARES = {"train": 0.9, "validation": 0.05, "test": 0.05}
IMAGES = st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 6)), max_size=40)  # (key, group) of each


def arrays(images):
    """Returns (keys uint64 [N], groups int [N]); keys far apart, as real ones are."""
    keys = np.array([key * 0x1999_9999_9999_9999 for key, _ in images], np.uint64)
    return keys, np.array([group for _, group in images], np.int32)


def random_keys(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


def split_of(keys, groups=None, shares=SHARES, seed=0):
    groups = np.full(len(keys), -1) if groups is None else groups
    return splits.assign(splits.families(keys, groups), shares, seed)


@pytest.mark.parametrize(
    "text, shares",
    [
        ("train:0.9,validation:0.05,test:0.05", SHARES),
        (" train : 0.5 , test : 5e-1 ", {"train": 0.5, "test": 0.5}),
        ("all:1", {"all": 1.0}),
        ("a:0.3333333,b:0.3333333,c:0.3333333", {"a": 0.3333333, "b": 0.3333333, "c": 0.3333333}),
    ],
)
def test_shares_are_read(text, shares):
    assert splits.parse(text) == shares
    assert list(splits.parse(text)) == list(shares)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "'' is not NAME:SHARE, as in train:0.9"),
        ("train", "'train' is not NAME:SHARE"),
        ("train:", "'train:' is not NAME:SHARE"),
        ("train:most", "'train:most' is not NAME:SHARE"),
        ("train:0.9,", "'' is not NAME:SHARE"),
        ("train:0.9;test:0.1", "'train:0.9;test:0.1' is not NAME:SHARE"),
        (":1", "':1' is not NAME:SHARE"),
        ("../train:1", "is not NAME:SHARE"),
        ("train-a:1", "is not NAME:SHARE"),
        ("1st:1", "is not NAME:SHARE"),
        ("trän:1", "is not NAME:SHARE"),
        ("train:1.1,test:-0.1", "'train:1.1' is not"),
        ("train:1,test:0", "'test:0' is not"),
        ("train:nan,test:1", "'train:nan' is not"),
        ("train:inf", "'train:inf' is not"),
        ("train:90%,test:10%", "'train:90%' is not"),
        ("train:0.5,train:0.5", "train is there twice"),
        ("train:0.5,Train:0.5", "Train is there twice"),
        ("train:0.9,test:0.05", "the shares add up to 0.95, not to 1"),
        ("train:0.9,test:0.2", "the shares add up to 1.1, not to 1"),
    ],
)
def test_shares_that_make_no_sense_are_refused(text, words):
    with pytest.raises(InputError) as refusal:
        splits.parse(text)
    assert str(refusal.value).startswith(f"--splits={text}: ")
    assert words in str(refusal.value)


def connected(images):
    """Returns the families of images as a set of sets of numbers: what equal keys and equal groups link, directly."""
    found = [{number} for number in range(len(images))]
    for one, (key, group) in enumerate(images):
        for other, (other_key, other_group) in enumerate(images[:one]):
            if key == other_key or group == other_group >= 0:
                joined = found[one] | found[other]
                for number in joined:
                    found[number] = joined
    return set(map(frozenset, found))


@settings(deadline=None)  # the first call imports scipy
@given(IMAGES)
def test_families_are_what_equal_keys_and_groups_connect(images):
    keys, groups = arrays(images)
    found = splits.families(keys, groups)
    members = {family: np.flatnonzero(found.of_image == family) for family in set(found.of_image.tolist())}
    assert {frozenset(images.tolist()) for images in members.values()} == connected(images)
    for family, images_of_it in members.items():
        assert found.representative[family] == keys[images_of_it].min()


@settings(deadline=None)
@given(IMAGES, st.integers(0, 3))
def test_a_family_is_in_one_split(images, seed):
    keys, groups = arrays(images)
    found = split_of(keys, groups, {"a": 0.5, "b": 0.3, "c": 0.2}, seed)
    for family in connected(images):
        assert len(set(found[list(family)].tolist())) == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30), st.data())
def test_without_groups_no_other_image_decides(keys, data):
    keys = np.array(keys, np.uint64)
    some = np.array(data.draw(st.lists(st.integers(0, len(keys) - 1), min_size=1)))  # in another order, some often
    np.testing.assert_array_equal(split_of(keys)[some], split_of(keys[some]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_shares_are_about_right(seed):
    count = 4000
    found = np.bincount(split_of(random_keys(count, seed), seed=seed), minlength=3) / count
    for share, wanted in zip(found, SHARES.values(), strict=True):
        assert abs(share - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / count)


def test_another_seed_is_another_split():
    keys = random_keys(2000)
    shares = {"a": 0.5, "b": 0.5}
    agreement = np.mean(split_of(keys, shares=shares, seed=1) == split_of(keys, shares=shares, seed=2))
    assert 0.45 < agreement < 0.55


def test_a_split_that_shrinks_gives_to_the_next_only():
    """What is in the first split with a share of 0.5 is there with 0.9, too: the draws stay the same."""
    keys = random_keys(2000)
    small, large = (split_of(keys, shares={"train": share, "test": 1 - share}) for share in (0.5, 0.9))
    assert not np.any((small == 0) & (large != 0))


def test_one_split_takes_all():
    assert split_of(random_keys(50), shares={"all": 1.0}).tolist() == [0] * 50


def test_the_split_of_a_key_is_as_documented():
    """SHA-256 of "seed/split/key", its first eight bytes as a fraction."""
    import hashlib

    keys = random_keys(100)
    for key, split in zip(keys.tolist(), split_of(keys, seed=7).tolist(), strict=True):
        drawn = int.from_bytes(hashlib.sha256(f"7/split/{key}".encode()).digest()[:8], "big") / 2**64
        assert split == (drawn >= 0.9) + (drawn >= 0.95)
