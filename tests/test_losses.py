import math

import keras
import my_models
import numpy as np
import pytest
import tensorflow as tf

from gan import losses

REAL, GENERATED = (2.0, 0.5), (-1.0, 1.5)  # logits


def outputs(*p):
    p = np.array(p, np.float32)[:, None]
    return {"predictions": tf.constant(p), "logits": tf.constant(np.log(p / (1 - p)))}


def of_logits(*logits):
    logits = tf.constant(np.array(logits, np.float32)[:, None])
    return {"predictions": tf.sigmoid(logits), "logits": logits}


def softplus(x):
    return np.log1p(np.exp(x))


def test_cross_entropy_on_labels():
    loss = losses.CrossEntropyLoss().calculate_loss(tf.constant([[0.9], [0.2]]), tf.constant([[1.0], [0.0]]))
    assert float(loss) == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2, rel=1e-5)


REAL_LOGITS, GENERATED_LOGITS = np.array(REAL), np.array(GENERATED)


@pytest.mark.parametrize(
    ("loss", "d_loss", "g_loss"),
    [
        (
            losses.CrossEntropyLoss(),
            softplus(-REAL_LOGITS).mean() + softplus(GENERATED_LOGITS).mean(),
            softplus(-GENERATED_LOGITS).mean(),
        ),
        (losses.LeastSquaresLoss(), (1 + 0.25) / 4 + (0 + 6.25) / 4, (4 + 0.25) / 4),
        (losses.HingeLoss(), (0 + 0.5) / 2 + (0 + 2.5) / 2, -0.25),
        (losses.WassersteinLoss(), 0.25 - 1.25, -0.25),
        (losses.RelativisticLoss(), (softplus(-3) + softplus(1)) / 2, (softplus(3) + softplus(-1)) / 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_losses_have_their_closed_form(loss, d_loss, g_loss):
    real, generated = of_logits(*REAL), of_logits(*GENERATED)
    assert float(loss.discriminator_loss(real, generated)) == pytest.approx(d_loss, rel=1e-5)
    assert float(loss.generator_loss(real, generated)) == pytest.approx(g_loss, rel=1e-5)


@pytest.mark.parametrize("name", ["LeastSquaresLoss", "HingeLoss", "WassersteinLoss", "RelativisticLoss"])
def test_both_players_pull_generated_logits_apart(name):
    """D's gradient on a generated image's logit has the opposite sign of G's."""
    loss = getattr(losses, name)()
    logits = tf.Variable([[0.25]])
    with tf.GradientTape(persistent=True) as tape:
        generated = {"logits": logits.value(), "predictions": tf.sigmoid(logits)}
        values = loss.discriminator_loss(of_logits(0.5), generated), loss.generator_loss(of_logits(0.5), generated)
    for_d, for_g = (float(tape.gradient(value, logits)[0, 0]) for value in values)
    assert for_d > 0 > for_g


def test_only_critics_need_a_fitted_threshold():
    critics = {name for name in dir(losses) if getattr(getattr(losses, name), "is_critic", False)}
    assert critics == {"WassersteinLoss", "RelativisticLoss"}


def test_cross_entropy_keeps_its_gradient_where_p_is_rounded():

    @tf.function
    def gradient(logits):
        loss = losses.CrossEntropyLoss().generator_loss(None, {"predictions": keras.ops.sigmoid(logits)})
        return tf.gradients(loss, logits)[0]

    assert float(gradient(tf.constant([[-200.0]]))[0, 0]) == pytest.approx(-1)


def test_a_loss_on_labels_alone_is_enough():
    loss = my_models.SquaredLoss()
    real, generated = outputs(0.9, 0.7), outputs(0.2)
    assert float(loss.discriminator_loss(real, generated)) == pytest.approx((0.01 + 0.09) / 2 + 0.04, rel=1e-5)
    assert float(loss.generator_loss(real, generated)) == pytest.approx(0.64, rel=1e-5)


def uniform(count):
    """Draws for so many images, as the trainer does."""
    return lambda size: tf.random.stateless_uniform([count, size], [1, 2])


def quadratic(weights):
    """A critic sum_i w_i x_i^2 / 2, whose gradient is w * x."""
    return lambda images: tf.reduce_sum(weights * images**2 / 2, axis=1, keepdims=True)


def test_zero_centred_penalties_are_half_the_mean_squared_gradient():
    real, generated = np.array([[1.0, 2.0], [0.0, 1.0]], np.float32), np.array([[3.0, 0.0], [1.0, 1.0]], np.float32)
    critic = quadratic(tf.constant([1.0, 0.5]))
    arguments = critic, tf.constant(real), tf.constant(generated), uniform(2)
    assert float(losses.R1Penalty().calculate_penalty(*arguments)) == pytest.approx((2 + 0.25) / 4)
    assert float(losses.R2Penalty().calculate_penalty(*arguments)) == pytest.approx((9 + 1.25) / 4)


def test_the_wasserstein_penalty_looks_between_real_and_generated():
    real, generated = np.zeros((40000, 1), np.float32), np.ones((40000, 1), np.float32)
    linear = losses.WassersteinPenalty().calculate_penalty(
        lambda x: 3.0 * x, tf.constant(real), tf.constant(generated), uniform(40000)
    )
    assert float(linear) == pytest.approx(4.0)  # (|3| - 1)^2 everywhere
    # The gradient at u, uniform between 0 and 1, is u: E (u - 1)^2 = 1/3.
    between = losses.WassersteinPenalty().calculate_penalty(
        quadratic(1.0), tf.constant(real), tf.constant(generated), uniform(40000)
    )
    assert float(between) == pytest.approx(1 / 3, rel=0.03)


@pytest.mark.parametrize("name", ["R1Penalty", "R2Penalty", "WassersteinPenalty"])
def test_penalties_have_the_gradient_of_finite_differences(name):
    """By the critic's weights, which is what D learns from; also where the critic is flat."""
    rng = np.random.default_rng(0)
    real, generated = (tf.constant(rng.random((8, 3)), tf.float32) for _ in range(2))

    def value_of(weights):
        penalty = getattr(losses, name)()
        return penalty.calculate_penalty(lambda images: tf.tanh(images @ weights), real, generated, uniform(8))

    weights = tf.Variable(rng.normal(size=(3, 1)).astype(np.float32))
    with tf.GradientTape() as tape:
        value = value_of(weights)
    gradient = tape.gradient(value, weights).numpy()[:, 0]
    step = 1e-2
    for i in range(3):
        shift = np.zeros((3, 1), np.float32)
        shift[i] = step
        difference = float(value_of(weights + shift) - value_of(weights - shift)) / (2 * step)
        assert gradient[i] == pytest.approx(difference, rel=0.02, abs=1e-3)


def test_a_flat_critic_has_a_finite_wasserstein_gradient():
    weights = tf.Variable(tf.zeros((3, 1)))
    images = tf.ones((4, 3))
    with tf.GradientTape() as tape:
        value = losses.WassersteinPenalty().calculate_penalty(lambda x: x @ weights, images, images, uniform(4))
    assert np.all(np.isfinite(tape.gradient(value, weights).numpy()))
    assert float(value) == pytest.approx(1.0, abs=1e-5)
