import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import sample_options

from gan import optimizers
from gan.errors import InputError


def trained(optimizer, variables, gradients):
    """Returns the weights and all state after steps that follow gradients, each at another rate."""

    @tf.function
    def step(gradients):
        optimizer.apply(gradients, variables)

    for number, each in enumerate(gradients):
        optimizer.learning_rate = 0.01 / (1 + number)
        step([tf.constant(gradient) for gradient in each])
    return [variable.numpy() for variable in [*variables, *optimizer.variables]]


def three_variables():
    return [keras.Variable(np.full(shape, 0.5, np.float32)) for shape in ((3, 4), (5,), ())]


@pytest.mark.parametrize("beta_1", [0.0, 0.5])
def test_adam_computes_what_keras_does(beta_1):
    rng = np.random.default_rng(0)
    gradients = [[rng.normal(size=shape).astype(np.float32) for shape in ((3, 4), (5,), ())] for _ in range(20)]
    gradients[7] = [np.zeros_like(gradient) for gradient in gradients[7]]
    variables, others = three_variables(), three_variables()
    options = sample_options(adam_beta1=beta_1, adam_beta2=0.95)
    own = trained(optimizers.make(options, variables), variables, gradients)
    theirs = keras.optimizers.Adam(beta_1=beta_1, beta_2=0.95)
    theirs.build(others)
    for one, other in zip(own, trained(theirs, others, gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert np.abs(own[0] - 0.5).max() > 0.005


def test_adams_variables_keep_their_names():
    """A save names them."""
    variables = three_variables()
    other = keras.optimizers.Adam()
    other.build(variables)
    made = optimizers.make(sample_options(), variables)
    assert [variable.name for variable in made.variables] == [variable.name for variable in other.variables]


@pytest.mark.parametrize(
    "name, made",
    [("AdamOptimizer", "Adam"), ("RMSPropOptimizer", "RMSprop"), ("GradientDescent", "SGD"), ("AdamW", "AdamW")],
)
def test_names_of_tf1_and_of_keras_are_known(name, made):
    assert type(optimizers.make(sample_options(optimizer=name), three_variables())).__name__ == made


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(InputError, match=r"--optimizer=Adamm: no such optimizer; there are: Adadelta, .*Adam, .*SGD"):
        optimizers.make(sample_options(optimizer="Adamm"), three_variables())
