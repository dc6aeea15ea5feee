"""The guard beside D: what it learns, when, and what it does to p."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import sample_options

from gan import battle_pair, guard, model_builder, negatives, spec, trainer
from gan.errors import InputError

CONTEST = spec.ContestSpec(12, 10, 1, latent_size=4)


def slopes(count, seed=0):
    """Images that get brighter evenly, each in a direction of its own: float32 [count, 120] in [0, 1]."""
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, (count, 1, 1))
    y, x = np.mgrid[-1:1:12j, -1:1:10j]
    return (0.5 + 0.3 * (np.cos(angles) * x + np.sin(angles) * y)).reshape(count, -1).astype(np.float32)


def logits(network, images):
    return np.asarray(network(images, training=False)["logits"])


def test_it_tells_real_images_from_those_that_nobody_has_shown_it():
    kinds = [negatives.Grain(), negatives.Ghost()]
    made = guard.Guard(kinds, CONTEST, sample_options(batch_size=64))
    for number in range(150):
        made.learn(slopes(64, number), [0, number])
    assert np.mean(logits(made.network, slopes(200, 1000)) > 0) > 0.9
    checks = np.indices((12, 10)).sum(axis=0).reshape(1, -1) % 2
    for strange in (checks, np.full((1, 120), 0.5), np.random.default_rng(0).random((1, 120))):
        assert logits(made.network, strange.astype(np.float32)) < 0


def test_it_learns_every_fourth_step_and_neither_g_nor_d_notices():
    def trained(kinds, first):
        options = sample_options(negatives=kinds, batch_size=8)
        networks = trainer.Trainer(options, (28, 28, 1))
        before = {name: value.numpy() for name, value in networks.variables().items() if name.startswith("guard/")}
        rng = np.random.default_rng(0)
        for number in range(first, first + 2):
            noise = rng.uniform(-1, 1, (8, 100)).astype(np.float32)
            networks.step(number, rng.random((8, 784), np.float32), noise, 1e-3)
        now = {name: value.numpy() for name, value in networks.variables().items()}
        return {name: now[name] for name in now if not name.startswith("guard")}, [
            name for name in before if not np.array_equal(before[name], now[name])
        ]

    alone, _ = trained("", 3)
    beside, learned = trained("Grain", 3)  # steps 3 and 4
    assert len(learned) == 8  # kernels and biases of three convolutions and a dense layer
    assert alone.keys() == beside.keys()
    for name, value in alone.items():
        np.testing.assert_array_equal(value, beside[name], err_msg=name)
    assert trained("Grain", 1)[1] == []  # steps 1 and 2


def test_the_less_convinced_of_the_two_decides():
    generator, discriminator = model_builder.build_pair("SampleGenerator", "SampleDiscriminator", CONTEST, 8, 0)
    network = guard.build_network(CONTEST, 0)
    for each in (discriminator, network):
        each.trainable_variables[-2].assign(20 * each.trainable_variables[-2])  # as sure as trained ones
    pair = battle_pair.BattlePair(generator, discriminator, True, network)
    images = np.random.default_rng(0).random((300, 120), np.float32)
    noise = np.random.default_rng(1).uniform(-1, 1, (300, 4)).astype(np.float32)
    pair.calibrate(images, noise)
    scale, bias, guard_bias = (float(variable) for variable in pair.calibration.values())
    assert guard_bias == pytest.approx(-np.quantile(logits(network, images), 0.02))
    of_d = keras.ops.sigmoid(scale * logits(discriminator, images) + bias)
    of_guard = keras.ops.sigmoid(logits(network, images) + guard_bias)
    assert 0.97 < np.mean(np.asarray(of_guard) >= 0.5) < 1
    np.testing.assert_allclose(pair.discriminate(images)["p"], np.minimum(of_d, of_guard), atol=1e-6)


class Untraceable(negatives.BaseNegative):
    def spoil(self, images, seed):
        return tf.constant(images.numpy())


def test_a_negative_that_cannot_be_traced_is_named_in_one_line():
    with pytest.raises(InputError, match=r"the guard's step with --negatives failed: .*test_guard\.py, line"):
        guard.Guard([Untraceable()], CONTEST, sample_options(batch_size=4))


def test_it_takes_as_few_images_as_there_are():
    made = guard.Guard([negatives.Grain()], CONTEST, sample_options(batch_size=3))
    before = [tf.identity(value) for value in made.network.trainable_variables]
    made.learn(slopes(3), [0, 0])
    assert not np.array_equal(before[0], made.network.trainable_variables[0])
