import numpy as np
import pytest
import tensorflow as tf

from gan import augmentation

SEED = tf.constant([3, 4])


def random_images(count=64, height=16, width=24, channels=3):
    rng = np.random.default_rng(0)
    return rng.uniform(0.2, 0.4, (count, height, width, channels)).astype(np.float32)


def test_translation_moves_whole_pixels_and_brings_in_black():
    images = random_images()
    moved = augmentation.Translation().augment(tf.constant(images), SEED).numpy()
    shifts = set()
    for before, after in zip(images, moved, strict=True):
        rows, columns = np.nonzero(after[..., 0])
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        down, right = (16 - height) * (1 if rows.min() else -1), (24 - width) * (1 if columns.min() else -1)
        top, left = max(0, -down), max(0, -right)
        np.testing.assert_array_equal(
            after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1],
            before[top : top + height, left : left + width],
        )
        shifts.add((down, right))
    assert {down for down, _ in shifts} == set(range(-2, 3))
    assert {right for _, right in shifts} == set(range(-3, 4))


def test_cutout_covers_half_of_each_side_at_most():
    images = random_images()
    cut = augmentation.Cutout().augment(tf.constant(images), SEED).numpy()
    covered = np.all(cut == 0.5, axis=3)
    np.testing.assert_array_equal(cut[~covered], images[~covered])
    heights, widths = covered.any(axis=2).sum(axis=1), covered.any(axis=1).sum(axis=1)
    assert 4 <= heights.min() < heights.max() <= 8
    assert 6 <= widths.min() < widths.max() <= 12
    np.testing.assert_array_equal(covered.sum(axis=(1, 2)), heights * widths)


def test_brightness_and_contrast_stay_in_their_range():
    images = random_images()
    changed = augmentation.BrightnessContrast().augment(tf.constant(images), SEED).numpy()
    shift = changed.mean(axis=(1, 2, 3)) - images.mean(axis=(1, 2, 3))
    factor = changed.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert -0.25 <= shift.min() < -0.1
    assert 0.1 < shift.max() <= 0.25
    assert 0.499 <= factor.min() < 0.7
    assert 1.3 < factor.max() <= 1.501


@pytest.mark.parametrize("name", ["Translation", "Cutout", "BrightnessContrast"])
def test_generators_learn_through_every_augmentation(name):
    """The change is affine in the image, so the gradient is the difference of two images' changes."""
    change = getattr(augmentation, name)()
    images, direction = (tf.constant(random_images(4) * factor) for factor in (1.0, 0.1))
    weight = tf.constant(np.random.default_rng(1).normal(size=images.shape), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = tf.reduce_sum(weight * change.augment(images, SEED))
    slope = tf.reduce_sum(tape.gradient(value, images) * direction)
    difference = tf.reduce_sum(weight * (change.augment(images + direction, SEED) - change.augment(images, SEED)))
    assert float(slope) == pytest.approx(float(difference), rel=1e-3)


def test_a_pipeline_changes_the_chosen_share_and_repeats_itself():
    flat = tf.constant(random_images(1000).reshape(1000, -1))
    pipeline = augmentation.Pipeline([augmentation.Cutout()], (16, 24, 3))
    shares = []
    for probability in (0.0, 0.3, 1.0):
        changed = pipeline(flat, probability, SEED).numpy()
        np.testing.assert_array_equal(changed, pipeline(flat, probability, SEED).numpy())
        shares.append(np.any(changed != flat.numpy(), axis=1).mean())
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.3, abs=0.05)
    assert shares[2] == 1
    assert np.any(pipeline(flat, 1.0, SEED).numpy() != pipeline(flat, 1.0, SEED + 1).numpy())


def test_without_augmentations_d_sees_the_images_themselves():
    flat = tf.constant(random_images().reshape(64, -1))
    np.testing.assert_array_equal(augmentation.Pipeline([], (16, 24, 3))(flat, 1.0, SEED), flat)


def test_half_of_the_images_are_mirrored():
    images = random_images(1000)
    flipped = augmentation.flip_half(tf.constant(images.reshape(1000, -1)), (16, 24, 3), SEED).numpy()
    flipped = flipped.reshape(images.shape)
    same, mirrored = np.all(flipped == images, axis=(1, 2, 3)), np.all(flipped == images[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(same ^ mirrored)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.06)
