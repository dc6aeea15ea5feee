import numpy as np
import pytest
import tensorflow as tf

from gan import negatives
from gan.errors import InputError

SEED = tf.constant([3, 4])
SHAPE = (6, 5, 1)


def gray(count=64):
    """Images of one gray each, by which they can be told apart."""
    return tf.constant(
        np.linspace(0.1, 0.9, count, dtype=np.float32)[:, None, None, None] * np.ones((1, *SHAPE)), tf.float32
    )


def test_grain_is_from_faint_to_noise_alone():
    spoiled = negatives.Grain().spoil(gray(), SEED).numpy()
    strength = spoiled.std(axis=(1, 2, 3)) / np.sqrt(1 / 12)  # of uniform noise
    assert 0.05 < strength.min() < 0.2
    assert 0.7 < strength.max() < 1.2
    assert spoiled.min() >= 0
    assert spoiled.max() <= 1


def test_a_ghost_is_several_images_in_one():
    images = gray().numpy()
    spoiled = negatives.Ghost().spoil(tf.constant(images), SEED).numpy()
    others = 4 * spoiled[:, 0, 0, 0] - images[:, 0, 0, 0]  # the sum of three
    assert spoiled.std(axis=(1, 2, 3)).max() < 1e-6
    np.testing.assert_allclose(spoiled.mean(), images.mean(), atol=1e-6)  # each image is in as many ghosts
    assert np.abs(others - 3 * images[:, 0, 0, 0]).mean() > 0.2


@pytest.mark.parametrize("kind", [negatives.Grain, negatives.Ghost])
def test_the_seed_decides(kind):
    first, again, other = (kind().spoil(gray(), tf.constant(seed)).numpy() for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


class Glaring(negatives.BaseNegative):
    def spoil(self, images, seed):
        return 9 * images - 4


def test_what_leaves_the_range_of_a_battle_is_cut_off():
    spoiled = negatives.Negatives([Glaring()], SHAPE).of(tf.reshape(gray(), [64, 30]), SEED).numpy()
    assert (spoiled.min(), spoiled.max()) == (0.0, 1.0)


class White(negatives.BaseNegative):
    def spoil(self, images, seed):
        return tf.ones_like(images)


class Black(negatives.BaseNegative):
    def spoil(self, images, seed):
        return tf.zeros_like(images)


@pytest.mark.parametrize("count, white", [(16, 8), (5, 3), (1, 1)])
def test_each_kind_has_its_share(count, white):
    made = negatives.Negatives([White(), Black()], SHAPE)
    spoiled = made.of(tf.fill([count, 30], 0.5), SEED)
    np.testing.assert_array_equal(spoiled, np.repeat([1.0] * white + [0.0] * (count - white), 30).reshape(count, 30))


class Cropping(negatives.BaseNegative):
    def spoil(self, images, seed):
        return images[:, 1:]


class Numpy(negatives.BaseNegative):
    def spoil(self, images, seed):
        return images.numpy()


class Dividing(negatives.BaseNegative):
    def spoil(self, images, seed):
        return images / tf.zeros_like(images)


class Failing(negatives.BaseNegative):
    def spoil(self, images, seed):
        raise ValueError("no idea")


@pytest.mark.parametrize(
    "kind, words",
    [
        (Cropping, r"Cropping.spoil returned float32 \[4, 5, 5, 1\]; expected float32 \[4, 6, 5, 1\]"),
        (Numpy, r"Numpy.spoil returned array"),
        (Dividing, "Dividing.spoil returned values that are not finite numbers"),
        (Failing, "Failing.spoil failed: ValueError: no idea"),
    ],
)
def test_what_cannot_be_shown_is_refused(kind, words):
    with pytest.raises(InputError, match=words):
        negatives.Negatives([kind()], SHAPE)
