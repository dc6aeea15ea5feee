import math

import keras
import my_models
import numpy as np
import pytest
import tensorflow as tf

from gan import losses


def outputs(*p):
    p = np.array(p, np.float32)[:, None]
    return {"predictions": tf.constant(p), "logits": tf.constant(np.log(p / (1 - p)))}


def test_cross_entropy_on_labels():
    loss = losses.CrossEntropyLoss().calculate_loss(tf.constant([[0.9], [0.2]]), tf.constant([[1.0], [0.0]]))
    assert float(loss) == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2, rel=1e-5)


@pytest.mark.parametrize("loss", [losses.CrossEntropyLoss()])
def test_both_sides_of_cross_entropy(loss):
    real, generated = outputs(0.9, 0.6), outputs(0.3, 0.2)
    d_loss, g_loss = loss.discriminator_loss(real, generated), loss.generator_loss(real, generated)
    assert float(d_loss) == pytest.approx(-np.log([0.9, 0.6]).mean() - np.log([0.7, 0.8]).mean(), rel=1e-5)
    assert float(g_loss) == pytest.approx(-np.log([0.3, 0.2]).mean(), rel=1e-5)


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
