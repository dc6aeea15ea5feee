"""One direction of a battle, played by plain functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan import pictures, random_noise_generator, seeds, spec
from gan.arena import match, rules
from gan.arena.subgraph import SubmissionError

CONTEST = spec.ContestSpec(4, 5, 1, latent_size=3)
REALS = np.random.default_rng(0).integers(200, 256, (15, 20)).astype(np.uint8)


def dark(noise):
    """A generator of images under 0.5, all different."""
    return np.abs(noise)[:, np.arange(20) % 3] * 0.45


def bright(images):
    """A discriminator that believes in bright images."""
    return images.mean(axis=1, keepdims=True)


def play(generator=dark, discriminator=bright, seed=0, num_generate=15, reals=REALS):
    return match.play(generator, discriminator, reals, CONTEST, num_generate, seed)


def test_verdicts_follow_the_threshold():
    assert [rules.verdict(p) for p in (0.0, 0.5, np.nextafter(0.5, 1), 1.0)] == [0, 0, 1, 1]


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1))))
def test_the_score_counts_right_verdicts(images):
    p, truth = [belief for belief, _ in images], [real for _, real in images]
    assert rules.score(p, truth) == sum((belief > 0.5) == (real == 1) for belief, real in images)
    assert rules.score(p, truth) + rules.score(p, [1 - real for real in truth]) == len(images)


def test_a_discriminator_that_sees_the_difference_gets_everything():
    direction = play()
    assert (direction.score, direction.score_on(0), direction.score_on(1)) == (30, 15, 15)
    assert sorted(direction.truth) == [0] * 15 + [1] * 15


def test_a_constant_discriminator_gets_half():
    assert play(discriminator=lambda images: np.full((len(images), 1), 0.5)).score == 15


def test_both_sides_see_8bit_images_alone():
    """Real pixels are multiples of 1/255; raw floats of a generator would give it away."""
    seen = []

    def nosy(images):
        seen.append(images)
        return bright(images)

    direction = play(discriminator=nosy)
    levels = seen[0] * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    for png, image in zip(direction.pngs, seen[0], strict=True):
        np.testing.assert_array_equal(pictures.decode(png).ravel(), np.rint(image * 255))


def test_the_images_are_those_of_generator_and_data_in_a_hidden_order():
    direction = play(seed=4)
    shown = [pictures.decode(png).tobytes() for png in direction.pngs]
    assert {png for png, real in zip(shown, direction.truth, strict=True) if real} == {row.tobytes() for row in REALS}
    noise = random_noise_generator.generate_noise(15, 3, seeds.generator(4, "noise"))
    made = {row.tobytes() for row in spec.to_8bit(dark(noise))}
    assert {png for png, real in zip(shown, direction.truth, strict=True) if not real} == made
    assert play(seed=4).pngs == direction.pngs
    assert play(seed=5).truth != direction.truth


def test_rgb_images_survive_the_png():
    contest = spec.ContestSpec(2, 2, 3, latent_size=3)
    reals = np.arange(24, dtype=np.uint8).reshape(2, 12)
    direction = match.play(lambda z: np.abs(np.tile(z, 4)), bright, reals, contest, 3, 0)
    shown = [pictures.decode(png) for png, real in zip(direction.pngs, direction.truth, strict=True) if real]
    assert {image.tobytes() for image in shown} == {row.tobytes() for row in reals}


def test_the_running_time_is_a_median_of_five_turns():
    turns = []
    direction = play(lambda z: (turns.append("G"), dark(z))[1], lambda x: (turns.append("D"), bright(x))[1])
    assert "".join(turns) == "GD" + "GD" * 5, "a warm-up each, then both sides in turn"
    for timing in direction.timing().values():
        assert sorted(timing["calls"])[2] == timing["median"]
        assert timing["spread"] == max(timing["calls"]) - min(timing["calls"])


def random_images(noise):
    return np.random.default_rng().random((len(noise), 20))


def one_image(noise):
    return np.full((len(noise), 20), 0.3)


@pytest.mark.parametrize(
    "generator, words",
    [
        (lambda z: dark(z) * 2 - 1, r"generator: images lie in .*not in \[0, 1\]"),
        (lambda z: dark(z)[:7], "generator: images have shape .*batch size seems to be fixed"),
        (lambda z: dark(z) * np.nan, "generator: 300 pixel values are not finite"),
        (one_image, "generator: only 1 of 15 images are different"),
        (random_images, "generator: the same input gave outputs that differ by .*training off"),
    ],
)
def test_a_fault_of_the_generator_is_named(generator, words):
    with pytest.raises(SubmissionError, match=words):
        play(generator=generator)


@pytest.mark.parametrize(
    "discriminator, words",
    [
        (lambda x: bright(x) * 3, r"discriminator: p lies in .*these look like logits"),
        (lambda x: bright(x)[:, 0], r"discriminator: p has shape \[30\], not \[30, 1\]"),
        (lambda x: bright(x) / 0, "discriminator: 30 values of p are not finite"),
        (
            lambda x: np.random.default_rng().random((len(x), 1)),
            "discriminator: the same input gave outputs that differ",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_fault_of_the_discriminator_is_named(discriminator, words):
    with pytest.raises(SubmissionError, match=words):
        play(discriminator=discriminator)
