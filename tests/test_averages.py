import types

import keras
import numpy as np
import pytest

from gan import averages


def networks(value):
    network = types.SimpleNamespace(
        variables=[keras.Variable(value, dtype="float32"), keras.Variable(int(value), dtype="int32")]
    )
    return {"generator": network, "discriminator": types.SimpleNamespace(variables=[keras.Variable(value)])}


def options(**settings):
    defaults = {"average_half_life": 1000, "average_discriminator": False, "batch_size": 50}
    return types.SimpleNamespace(**{**defaults, **settings})


def values(found):
    return [float(variable.numpy()) for network in found.values() for variable in network.variables]


def test_after_a_half_life_half_of_the_average_is_new():
    trained, battling = networks(8.0), networks(0.0)
    average = averages.Averages(trained, battling, options())
    late = 10_000
    for step in range(late, late + 20):  # 1,000 images
        average.move(average.memory(step))
    assert values(battling) == [0.0, 0, 0.0]  # what battles stays as it is before it is asked for
    average.catch_up()
    assert values(battling)[0] == pytest.approx(4.0)
    assert values(battling)[1] == 8  # a counter has no average
    assert values(battling)[2] == 8.0  # and D here neither


def test_the_half_life_is_a_twentieth_of_the_images_so_far_at_first():
    average = averages.Averages(networks(8.0), networks(0.0), options())
    assert average.memory(0) == 0.0
    assert average.memory(20) == pytest.approx(0.5)  # 1,000 images so far, half-life 50: one batch
    assert average.memory(400) == average.memory(4000) == pytest.approx(0.5**0.05)


def test_without_a_half_life_all_are_copies():
    trained, battling = networks(8.0), networks(0.0)
    average = averages.Averages(trained, battling, options(average_half_life=0, average_discriminator=True))
    average.move(average.memory(100))
    np.testing.assert_array_equal(values(battling), 0)
    average.catch_up()
    np.testing.assert_array_equal(values(battling), 8)
    assert average.variables() == {}


def test_the_guard_is_averaged_also_where_d_is_not():
    trained, battling = ({**networks(value), "guard": networks(value)["discriminator"]} for value in (8.0, 0.0))
    average = averages.Averages(trained, battling, options())
    for step in range(10_000, 10_020):
        average.move(average.memory(step))
    average.catch_up()
    assert values({"guard": battling["guard"]}) == [pytest.approx(4.0)]
    assert set(average.variables()) == {"generator_average", "guard_average"}


def test_only_averages_have_to_be_saved():
    both = averages.Averages(networks(8.0), networks(0.0), options(average_discriminator=True))
    assert {name: len(variables) for name, variables in both.variables().items()} == {
        "generator_average": 2,
        "discriminator_average": 1,
    }
