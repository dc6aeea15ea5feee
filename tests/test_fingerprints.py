"""What pictures are recognised by."""

import hashlib
import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from gan.data.fingerprints import content_hash, perceptual_key


def photographs(count, side=50, channels=1):
    """Random smooth pictures: uint8 [count, side, side, channels]."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)) + 1 / side
    noise = np.fft.fft2(rng.normal(size=(count, channels, side, side)))
    layers = np.fft.ifft2(noise / frequency**1.3).real
    layers = layers / layers.std(axis=(2, 3), keepdims=True) * 45 + 128
    return np.clip(np.rint(layers), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def saved_again(pixels, quality=90):
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).reshape(pixels.shape)


def test_the_hash_is_that_of_shape_and_pixels():
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    assert content_hash(pixels) == hashlib.sha256(b"(4, 6, 1)" + bytes(range(24))).digest()
    assert content_hash(pixels) == content_hash(pixels.copy())
    assert content_hash(pixels) != content_hash(pixels.reshape(6, 4, 1))
    changed = pixels.copy()
    changed[3, 5] ^= 1
    assert content_hash(pixels) != content_hash(changed)
    flipped = pixels[:, ::-1]  # not contiguous
    assert content_hash(flipped) == content_hash(flipped.copy())


def test_a_key_has_64_bits_half_of_them_set():
    keys = [perceptual_key(pixels) for pixels in photographs(50)]
    assert all(0 <= key < 1 << 64 and key.bit_count() == 32 for key in keys)


def test_a_key_says_which_frequencies_are_strong():
    y, x = np.mgrid[:64, :64] / 64
    for row, column in ((0, 1), (3, 0), (2, 5)):
        wave = np.cos(np.pi * row * (y + 1 / 128)) * np.cos(np.pi * column * (x + 1 / 128))
        key = perceptual_key(np.rint(128 + 100 * wave).astype(np.uint8)[..., None])
        assert key >> (63 - (8 * row + column)) & 1
        assert key >> 63  # the mean brightness


@pytest.mark.parametrize("channels", [1, 3])
def test_small_changes_mostly_keep_the_key(channels):
    pictures = photographs(200, channels=channels)
    keys = [perceptual_key(pixels) for pixels in pictures]
    for change in (saved_again, lambda pixels: np.clip(np.rint(pixels * 1.02), 0, 255).astype(np.uint8)):
        others = [perceptual_key(change(pixels)) for pixels in pictures]
        distances = [(key ^ other).bit_count() for key, other in zip(keys, others, strict=True)]
        assert np.mean(np.array(distances) == 0) > 0.8
        assert max(distances) <= 6


def test_different_pictures_have_different_keys():
    keys = [perceptual_key(pixels) for pixels in photographs(1000)]
    assert len(set(keys)) == 1000
    distances = [(key ^ other).bit_count() for key, other in itertools.pairwise(keys)]
    assert min(distances) >= 8


def test_gray_as_colours_has_the_same_key():
    for pixels in photographs(20):
        assert perceptual_key(pixels) == perceptual_key(np.repeat(pixels, 3, axis=2))


def test_pictures_of_one_colour_share_a_key():
    flat = {perceptual_key(np.full((20, 30, 3), value, np.uint8)) for value in range(1, 256)}
    assert flat == {1 << 63}
    assert perceptual_key(np.zeros((28, 28, 1), np.uint8)) == 0


@pytest.mark.parametrize("threads", ["1", "4"])
def test_processes_agree(threads):
    program = "import test_fingerprints as t; print(*map(t.perceptual_key, t.photographs(40)))"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert list(map(int, ran.stdout.split())) == [perceptual_key(pixels) for pixels in photographs(40)]
