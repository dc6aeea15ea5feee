"""Rounds between models that are plain functions."""

import re

import numpy as np
import pytest

from gan import pictures, random_noise_generator, seeds, spec
from gan.arena import rounds

CONTEST = spec.ContestSpec(4, 5, 1, latent_size=3)
REALS = np.random.default_rng(0).integers(200, 256, (15, 20)).astype(np.uint8)


def dark(noise):
    """A generator of images under 0.5, all different."""
    return np.abs(noise)[:, np.arange(20) % 3] * 0.45


def bright(images):
    """A discriminator that believes in bright images."""
    return images.mean(axis=1, keepdims=True)


class Player:
    """A team whose models are plain functions."""

    has_generator = has_discriminator = True
    exempt_from_variety = False

    def __init__(self, generate=dark, discriminate=bright):
        self.generate = generate
        self.discriminate = discriminate

    def start_part(self):
        pass


def play(generator=dark, discriminator=bright, seed=0, reals=REALS, contest=CONTEST, **terms):
    terms = rounds.Terms(contest, **{"num_generate": 15, "num_reals": len(reals), **terms})
    (direction,) = rounds.play(
        {"a": Player(generator), "b": Player(discriminate=discriminator)}, [("a", "b")], reals, terms, seed
    )
    return direction


def test_a_discriminator_that_sees_the_difference_gets_everything():
    direction = play()
    assert (direction.points, direction.right_on(0), direction.right_on(1)) == (30, 15, 15)
    assert sorted(direction.truth) == [0] * 15 + [1] * 15


def test_a_constant_discriminator_gets_half():
    assert play(discriminator=lambda images: np.full((len(images), 1), 0.5)).points == 15


def test_both_sides_see_8bit_images_alone():
    """Real pixels are multiples of 1/255; raw floats of a generator would give it away."""
    seen = []

    def nosy(images):
        seen.append(images)
        return bright(images)

    direction = play(discriminator=nosy)
    levels = seen[0] * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    sheet = pictures.cells(pictures.decode(direction.sheet), CONTEST.image_shape, rounds.COLUMNS, 30)
    np.testing.assert_array_equal(sheet, np.rint(seen[0] * 255))


def test_the_images_are_those_of_generator_and_data_in_a_hidden_order():
    direction = play(seed=4)
    shown = [pixels.tobytes() for pixels in direction.shown]
    assert {png for png, real in zip(shown, direction.truth, strict=True) if real} == {row.tobytes() for row in REALS}
    noise = random_noise_generator.generate_noise(15, 3, seeds.generator(4, "noise"))
    made = {row.tobytes() for row in spec.to_8bit(dark(noise))}
    assert {png for png, real in zip(shown, direction.truth, strict=True) if not real} == made
    assert play(seed=4).sheet == direction.sheet
    assert play(seed=5).truth != direction.truth


def test_rgb_images_survive_the_png():
    contest = spec.ContestSpec(2, 2, 3, latent_size=3)
    reals = np.arange(24, dtype=np.uint8).reshape(2, 12)
    direction = play(lambda z: np.abs(np.tile(z, 4)), reals=reals, contest=contest, num_generate=3)
    shown = [pixels for pixels, real in zip(direction.shown, direction.truth, strict=True) if real]
    assert {pixels.tobytes() for pixels in shown} == {row.tobytes() for row in reals}


def test_the_running_time_is_a_median_of_five_turns():
    turns = []
    direction = play(lambda z: (turns.append("G"), dark(z))[1], lambda x: (turns.append("D"), bright(x))[1])
    assert "".join(turns) == "GD" + "D" + "GD" * 5, "a warm-up each, D's probe, then both sides in turn"
    assert {side: len(calls) for side, calls in direction.seconds.items()} == {"generator": 5, "discriminator": 5}
    assert rounds.median_and_spread([5, 1, 4, 2, 3]) == (3, 4)


def test_a_model_that_fails_before_its_first_timed_call_has_no_times():
    calls = []

    def restless(noise):
        calls.append(None)
        return dark(noise) / len(calls)

    direction = play(restless)
    assert "the same input gave outputs that differ" in str(direction.failure)
    assert direction.failure.side == "generator"
    assert direction.seconds == {}, "a median of no times would end the contest"


def test_both_teams_take_turns_and_share_latents_and_reals():
    seen = {"a": [], "b": []}

    def spy(team):
        return Player(lambda z: (seen[team].append(z), dark(z))[1], lambda x: (seen[team].append(x), bright(x))[1])

    terms = rounds.Terms(CONTEST)
    first, second = rounds.play({"a": spy("a"), "b": spy("b")}, [("a", "b"), ("b", "a")], REALS, terms, 0)
    np.testing.assert_array_equal(seen["a"][0], seen["b"][2])  # b's D was asked twice before its G
    assert first.truth != second.truth, "the orders differ"
    assert len(seen["a"]) == len(seen["b"]) == 2 + 1 + 2 * 5


def test_the_disguise_is_the_same_for_all_images_and_changes_them():
    plain, disguised = play(seed=1), play(seed=1, disguise=True)
    assert disguised.truth == plain.truth
    assert {row.tobytes() for row in disguised.shown}.isdisjoint({row.tobytes() for row in REALS})
    assert play(seed=1, disguise=True).sheet == disguised.sheet
    one = np.tile(REALS[:1], (15, 1))
    shown = play(seed=1, reals=one, disguise=True)
    assert len({row.tobytes() for row, real in zip(shown.shown, shown.truth, strict=True) if real}) == 1


def test_a_discriminator_that_knows_that_half_are_real_is_found_out():
    def ranks(images):
        brightness = bright(images)
        return (brightness > np.median(brightness)).astype(np.float32)

    failure = play(discriminator=ranks, reals=np.concatenate([REALS[:8] // 4, REALS[8:]])).failure
    assert failure.side == "discriminator"
    assert "p depends on the other images of the batch" in str(failure)


def test_one_failure_is_forgiven():
    models = iter([one_image, dark, *[dark] * 5])

    def once_broken(noise):
        model = next(models)
        return model(noise)

    assert play(once_broken).failure is None
    failing = play(one_image)
    assert (failing.failure.side, failing.points, failing.sheet) == ("generator", 30, None)
    failing = play(discriminator=lambda x: bright(x) * 9)
    assert (failing.failure.side, failing.points, failing.p) == ("discriminator", 0, [])
    assert failing.sheet


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
    side, _, words = words.partition(": ")
    failure = play(generator=generator).failure
    assert failure.side == side
    assert re.search(words, str(failure))


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
    side, _, words = words.partition(": ")
    failure = play(discriminator=discriminator).failure
    assert failure.side == side
    assert re.search(words, str(failure))
