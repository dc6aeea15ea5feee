"""Layers on one kernel of TensorFlow give the numbers of Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan import fused_layers


def run(layer, x, weights):
    """Returns what one training pass gives: the output, the gradients, and the variables after it."""
    layer.build(x.shape)
    layer.set_weights(weights)
    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.sin(y))
        gradient = tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])
        size = tf.reduce_sum(gradient[0] ** 2)
    of_penalty = outer.gradient(size, x)  # as a gradient penalty needs it
    return [y, *gradient, of_penalty, *(v.value for v in layer.variables)]


def assert_same(ours, theirs, tolerance=2e-5):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (1, 2, 1, 3), (8, 3)], ids=str)
def test_batch_normalisation_is_that_of_keras(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, shape).astype(np.float32)
    weights = [rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4)]
    settings = {"momentum": 0.9, "epsilon": 1e-3}
    ours = run(fused_layers.BatchNormalization(**settings), x, weights)
    assert_same(ours, run(layers.BatchNormalization(**settings), x, weights))


def test_batch_normalisation_infers_by_its_averages():
    x = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    ours, theirs = fused_layers.BatchNormalization(), layers.BatchNormalization()
    ours.build(x.shape)
    theirs.build(x.shape)
    ours(x, training=True)
    theirs(x, training=True)
    assert_same([ours(x, training=False)], [theirs(x, training=False)])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_batch_normalisation_works_in_half_precision(policy):
    x = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    ours, theirs = (kind(dtype=policy) for kind in (fused_layers.BatchNormalization, layers.BatchNormalization))
    assert ours(x, training=True).dtype == keras.DTypePolicy(policy).compute_dtype
    assert_same([tf.cast(ours(x, training=True), tf.float32)], [tf.cast(theirs(x, training=True), tf.float32)])


@pytest.mark.parametrize("kernel_size", [3, 4, 5])
@pytest.mark.parametrize("size", [(14, 10), (13, 10), (13, 9)], ids=str)
def test_a_transposed_convolution_undoes_a_convolution_of_any_size(kernel_size, size):
    """<y, C x> = <T y, x> for each x and y: T with C's kernel is the transpose of C."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((2, *size, 3), (2, 7, 5, 4)))
    convolution = layers.Conv2D(4, kernel_size, 2, "same", use_bias=False)
    transposed = fused_layers.Conv2DTranspose(3, kernel_size, size, use_bias=False)
    convolved = convolution(x)
    transposed.build(y.shape)
    transposed.set_weights(convolution.get_weights())
    np.testing.assert_allclose(tf.reduce_sum(y * convolved), tf.reduce_sum(transposed(y) * x), rtol=1e-4)


def test_a_transposed_convolution_of_even_size_is_that_of_keras():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    theirs = layers.Conv2DTranspose(2, 4, 2, "same", bias_initializer="ones", activation="relu")
    expected = theirs(x)
    ours = fused_layers.Conv2DTranspose(2, 4, (10, 8), activation="relu")
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    assert_same([ours(x)], [expected])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(14, 10), (13, 9)], ids=str)
def test_convolutions_of_few_channels_are_those_of_keras(size, channels):
    rng = np.random.default_rng(0)
    x, kernel, bias = (
        rng.normal(0, 0.3, s).astype(np.float32) for s in ((2, *size, channels), (4, 4, channels, 8), (8,))
    )
    settings = {"filters": 8, "kernel_size": 4, "strides": 2, "padding": "same", "activation": "tanh"}
    ours, theirs = fused_layers.Conv2D(**settings), layers.Conv2D(**settings)
    assert_same(run(ours, x, [kernel, bias]), run(theirs, x, [kernel, bias]))
    assert_same([ours(x, training=False)], [theirs(x)])


@pytest.mark.parametrize("settings", [{"kernel_size": 5, "strides": 2}, {"kernel_size": 4, "strides": 1}])
def test_other_convolutions_are_those_of_keras(settings):
    rng = np.random.default_rng(0)
    size = settings["kernel_size"]
    x, kernel, bias = (rng.normal(0, 0.3, s).astype(np.float32) for s in ((2, 9, 8, 1), (size, size, 1, 4), (4,)))
    ours, theirs = (kind(4, padding="same", **settings) for kind in (fused_layers.Conv2D, layers.Conv2D))
    assert_same(run(ours, x, [kernel, bias]), run(theirs, x, [kernel, bias]))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_few_channels_is_in_training_what_it_is_in_inference(channels):
    rng = np.random.default_rng(0)
    x, kernel, bias = (
        rng.normal(0, 0.3, s).astype(np.float32) for s in ((2, 7, 5, 6), (4, 4, channels, 6), (channels,))
    )
    ours = fused_layers.Conv2DTranspose(channels, 4, (14, 10))
    theirs = layers.Conv2DTranspose(channels, 4, 2, "same")
    assert_same(run(ours, x, [kernel, bias]), run(theirs, x, [kernel, bias]))
    odd = fused_layers.Conv2DTranspose(channels, 4, (13, 9))
    odd.build(x.shape)
    odd.set_weights([kernel, bias])
    assert_same([odd(x, training=True)], [odd(x, training=False)])


def test_a_leaky_relu_is_that_of_keras():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    x[0, 0] = 0.0
    assert_same(run(fused_layers.LeakyReLU(0.2), x, []), run(layers.LeakyReLU(0.2), x, []))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_thin_layers_work_in_half_precision(policy):
    x = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype(np.float32)
    stack = [fused_layers.Conv2D(8, 4, 2, "same", dtype=policy), fused_layers.LeakyReLU(0.2, dtype=policy)]
    stack.append(fused_layers.Conv2DTranspose(1, 4, (8, 8), dtype=policy))
    in_training, in_inference = x, x
    for layer in stack:
        in_training, in_inference = layer(in_training, training=True), layer(in_inference, training=False)
    assert in_training.dtype == keras.DTypePolicy(policy).compute_dtype
    np.testing.assert_allclose(tf.cast(in_training, tf.float32), tf.cast(in_inference, tf.float32), atol=0.02)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("size", [(10, 8), (9, 8), (9, 7)], ids=str)
def test_layers_of_keras_make_the_same_of_a_transposed_convolution(kernel_size, size):
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    ours = fused_layers.Conv2DTranspose(2, kernel_size, size, bias_initializer="ones", activation="tanh")
    y, expected = x, ours(x)
    for layer in fused_layers.in_keras(ours, x.shape):
        assert type(layer).__module__.startswith("keras.")
        y = layer(y)
    assert_same([y], [expected])
