"""The search for copies of training images."""

import numpy as np
import pytest

from gan import digits, memorisation, records

SHAPE = digits.SHAPE


@pytest.fixture(scope="module")
def data():
    """(training pixels, `TrainingSet`, other real images, their `Neighbours`)."""
    training = digits.load("train").pixels.take(np.arange(1437))
    others = digits.load("validation").pixels.take(np.arange(360))
    prepared = memorisation.TrainingSet(training, SHAPE)
    return training, prepared, others, prepared.nearest(others[:256])


def some(training):
    return training[np.random.default_rng(0).permutation(len(training))[:64]].reshape(-1, *SHAPE)


def flagged(data, images):
    return memorisation.memorisation(data[1], images.reshape(len(images), -1).astype(np.uint8), data[3])


def test_copies_are_found_whatever_was_done_to_them(data):
    copies = some(data[0])
    for changed in (
        copies,
        copies[:, :, ::-1],
        np.roll(copies, (1, -2), (1, 2)),
        copies * 0.5 + 60,
        np.clip(copies + np.random.default_rng(0).normal(0, 10, copies.shape), 0, 255),
    ):
        found = flagged(data, changed)
        assert found.flagged
        assert found.close.mean() > 0.3


def test_the_nearest_image_is_the_one_that_was_copied(data):
    training, prepared = data[:2]
    found = prepared.nearest(training[100:110])
    np.testing.assert_array_equal(found.index, np.arange(100, 110))
    np.testing.assert_allclose(found.distance, 0, atol=2e-3)


def test_fresh_images_noise_and_one_smooth_image_are_not_copies(data):
    mean = np.tile(data[0].mean(axis=0), (64, 1))
    noise = np.random.default_rng(0).integers(0, 256, (64, 784))
    for images in (data[2][256:320], mean, noise):
        assert not flagged(data, images).flagged


@pytest.mark.parametrize("shape", [(4, 3, 1), (7, 9, 3), (1, 1, 1), (64, 48, 3)])
def test_any_size_of_image(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (30, np.prod(shape))).astype(np.uint8)
    prepared = memorisation.TrainingSet(records.from_arrays(pixels, shape).pixels.take(np.arange(30)), shape)
    found = prepared.nearest(pixels[:5])
    assert found.distance.shape == found.isolation.shape == (5,)
    assert np.all(np.isfinite(found.distance)) and np.all(found.isolation <= 1 + 1e-6)
