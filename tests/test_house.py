"""The house opponents."""

import numpy as np
import pytest

from gan import digits, random_noise_generator, spec
from gan.arena import house, player, rounds

CONTEST = spec.ContestSpec(28, 28, 1)


@pytest.fixture(scope="module")
def generators():
    return house.generators(CONTEST, digits.load("train"))


def latents(seed=0):
    return random_noise_generator.generate_noise(15, rng=np.random.default_rng(seed))


def test_their_images_follow_from_the_latents(generators):
    for name, generator in generators.items():
        images = generator.generate(latents())
        assert spec.image_fault(images, 15, CONTEST) is None
        np.testing.assert_array_equal(images, generator.generate(latents()))
        assert np.array_equal(images, generator.generate(latents(1))) == (name == "Mean")


def test_replay_shows_training_images_and_mean_their_mean(generators):
    training = digits.load("train").pixels.take(np.arange(1437))
    known = {row.tobytes() for row in training}
    assert all(row.tobytes() in known for row in spec.to_8bit(generators["Replay"].generate(latents())))
    mean = generators["Mean"].generate(latents())[3]
    np.testing.assert_allclose(mean * 255, training.mean(axis=0), atol=1e-2)


def test_without_training_images_only_noise_plays():
    assert set(house.generators(CONTEST, None)) == {"Noise"}


@pytest.mark.parametrize("side", [28, 50])
def test_the_sample_models_are_submissions_that_work(side, sandbox_mode):
    contest = spec.ContestSpec(side, side, 1)
    with player.visiting(house.sample_model(contest.image_shape), sandbox_mode == "require", 60) as sample:
        images = sample.generate(latents())
        assert spec.image_fault(images, 15, contest) is None
        assert spec.prediction_fault(sample.discriminate(images), 15) is None


def test_other_sizes_have_no_sample_model():
    assert house.sample_model((32, 32, 3)) is None


def test_the_rules_of_a_round_do_not_bind_them(generators):
    reals = digits.load("validation").pixels.take(np.arange(15))

    class Judge:
        has_generator = has_discriminator = True
        exempt_from_variety = False

        def start_part(self):
            pass

        def discriminate(self, images):
            return np.full((len(images), 1), 0.25)

    players = {"a": generators["Mean"], "b": Judge()}
    (direction,) = rounds.play(players, [("a", "b")], reals, rounds.Terms(CONTEST), 0)
    assert direction.failure is None and direction.points == 15
