import numpy as np
import pytest

from gan import random_noise_generator, seeds, spec
from gan.errors import InputError

CONTEST = spec.ContestSpec(2, 3, 1, latent_size=4)


def test_the_contest_of_old_is_the_default():
    assert (spec.ContestSpec().image_size, spec.ContestSpec().latent_size, str(spec.ContestSpec())) == (
        2500,
        100,
        "50x50x1",
    )


@pytest.mark.parametrize("size, shape", [(2500, (50, 50, 1)), (784, (28, 28, 1)), (3072, (32, 32, 3))])
def test_square_images_are_recognised(size, shape):
    assert spec.spec_for_image_size(size).image_shape == shape


def test_other_sizes_need_flags():
    with pytest.raises(InputError, match="set --image_height"):
        spec.spec_for_image_size(6)


@pytest.mark.parametrize(
    "images, words",
    [
        (np.full((5, 6), 0.5), None),
        (np.full((5, 6), 1.0009), None),
        (np.full((5, 6), 1.002), "end the generator in a sigmoid|tanh|divide"),
        (np.linspace(-1, 1, 30).reshape(5, 6), r"in \[-1, 1\], not in \[0, 1\]: it looks like tanh: map it"),
        (np.linspace(0, 255, 30).reshape(5, 6), "divide by 255"),
        (np.linspace(-9, 9, 30).reshape(5, 6), "end the generator in a sigmoid"),
        (np.zeros((5, 2, 3, 1)), r"shape \[5, 2, 3, 1\], not \[5, 6\]: flatten"),
        (np.zeros((8, 6)), "the batch size seems to be fixed"),
        (np.zeros((5, 7)), r"shape \[5, 7\], not \[5, 6\]$"),
        (np.full((5, 6), np.nan), "30 pixel values are not finite"),
    ],
)
def test_faults_of_images_say_what_to_change(images, words):
    fault = spec.image_fault(images, 5, CONTEST)
    if words is None:
        assert fault is None
    else:
        with pytest.raises(InputError, match=words):
            raise InputError(fault)


@pytest.mark.parametrize(
    "p, words",
    [
        (np.array([[0.0], [1.0]]), None),
        (np.array([0.0, 1.0]), r"shape \[2\], not \[2, 1\]"),
        (np.array([[0.0]]), "the batch size seems to be fixed"),
        (np.array([[-3.0], [7.0]]), r"p lies in \[-3, 7\], not in \[0, 1\]: these look like logits; apply a sigmoid"),
        (np.array([[0.5], [np.inf]]), "1 values of p are not finite"),
    ],
)
def test_faults_of_predictions_say_what_to_change(p, words):
    fault = spec.prediction_fault(p, 2)
    if words is None:
        assert fault is None
    else:
        with pytest.raises(InputError, match=words):
            raise InputError(fault)


def test_a_repeated_image_is_a_fault():
    assert spec.variety_fault(np.array([[1, 2], [2, 1]], np.uint8)) is None
    assert "only 2 of 3 images" in spec.variety_fault(np.array([[1, 2], [2, 1], [1, 2]], np.uint8))


def test_8bit_clips_and_rounds():
    np.testing.assert_array_equal(spec.to_8bit(np.array([-0.1, 0.0, 0.499 / 255, 0.501 / 255, 1.2])), [0, 0, 0, 1, 255])
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(spec.to_8bit(spec.from_8bit(every)), every)


def test_noise_is_uniform_and_repeatable():
    noise = random_noise_generator.generate_noise(500, rng=seeds.generator(1, "x"))
    assert (noise.shape, noise.dtype) == ((500, random_noise_generator.get_dim()), np.float32)
    assert -1 <= noise.min() < -0.99
    assert 0.99 < noise.max() <= 1
    assert abs(noise.mean()) < 0.01
    np.testing.assert_array_equal(noise, random_noise_generator.generate_noise(500, rng=seeds.generator(1, "x")))
    assert not np.array_equal(noise, random_noise_generator.generate_noise(500, rng=seeds.generator(2, "x")))


def test_derived_seeds_follow_the_documented_hash():
    # printf '7/noise/3' | sha256sum | cut -c1-16
    assert seeds.derive(7, "noise", 3) == int("011acf7f7ce30dc1", 16)
