"""The peers of the benchmarks do the same work as the preset `dcgan`, with the same results."""

import importlib

import numpy as np
import pytest

from benchmarks import training_speed
from benchmarks.peers.recipe import Recipe
from gan import random_noise_generator, seeds, train, trainer

RECIPE = Recipe(batch_size=16, features=8)
IMAGES = np.random.default_rng(0).random((64, 50, 50, 1), np.float32)


NO_COMPILER = training_speed.missing().get("PyTorch compiled", "")
COMPILES = pytest.mark.skipif(bool(NO_COMPILER), reason=NO_COMPILER)


def own_networks():
    options = train.TrainOptions.of_preset("dcgan", feature_size=RECIPE.features, batch_size=RECIPE.batch_size)
    return trainer.Trainer(options, (50, 50, 1)), options


def trained_arrays(model):
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        ("keras_tape", {}),
        ("keras_fit", {"jit_compile": False}),
        pytest.param("pytorch", {}, marks=pytest.mark.extras),
        pytest.param("pytorch", {"channels_last": True}, marks=pytest.mark.extras),
        pytest.param("pytorch", {"compiled": True}, marks=[pytest.mark.extras, COMPILES]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "plain",
)
def test_a_peer_does_the_same_step(module, settings):
    networks, options = own_networks()
    loop = importlib.import_module(f"benchmarks.peers.{module}").Loop(RECIPE, IMAGES * 2 - 1, **settings)
    weights = trained_arrays(networks.generator), trained_arrays(networks.discriminator)
    assert loop.count_parameters() == tuple(sum(array.size for array in arrays) for arrays in weights)
    loop.set_weights(*weights)

    for step in range(2):  # the second shows that the updates of the first were the same
        images = IMAGES[step * RECIPE.batch_size :][: RECIPE.batch_size]
        noise = random_noise_generator.generate_noise(RECIPE.batch_size, rng=seeds.generator(0, step))
        found = networks.step(step, images.reshape(len(images), -1), noise, options.base_learning_rate)
        d_loss, g_loss = (float(loss) for loss in loop.update(images * 2 - 1, noise))
        assert d_loss == pytest.approx(found["d_loss"], abs=1e-4)
        assert g_loss == pytest.approx(found["g_loss"], abs=1e-4)


def test_the_recipe_is_the_preset():
    options = train.TrainOptions.of_preset("dcgan")
    recipe = Recipe()
    assert recipe.batch_size == options.batch_size
    assert recipe.features == options.feature_size
    assert recipe.latent_size == options.latent_size
    assert recipe.learning_rate == options.base_learning_rate
    assert (recipe.beta_1, recipe.beta_2) == (options.adam_beta1, options.adam_beta2)
