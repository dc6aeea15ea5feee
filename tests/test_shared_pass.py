"""One pass through D for both updates: the gradients are those of two passes, and what it cannot do is refused."""

import keras
import many_devices
import numpy as np
import pytest
import tensorflow as tf
from conftest import sample_options
from keras import layers

from gan import augmentation, digits, losses, models, shared_pass, trainer
from gan.errors import InputError

SHAPE = (8, 8, 1)
BATCH = 8
RATE = 1024.0  # so that rounding the new weights does not hide the gradient
DESCENT = {
    "optimizer": "SGD",
    "batch_size": BATCH,
    "generator_model": "many_devices.SmoothGenerator",
    "discriminator_model": "PlainDiscriminator",
    "feature_size": 4,
    "horizontal_flip": False,
    "clip_gradient_norm": 0.0,
}
LOSSES = ("CrossEntropyLoss", "LeastSquaresLoss", "HingeLoss", "WassersteinLoss", "RelativisticLoss")


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((BATCH, 64), np.float32), rng.uniform(-1, 1, (BATCH, 100)).astype(np.float32)


def networks(**settings):
    options = sample_options(**{**DESCENT, "shared_pass": True, **settings})
    return options, trainer.Trainer(options, SHAPE, num_classes=2)


def descents(made, before):
    """Returns what plain descent took away from each weight, over its rate: the gradient."""
    return [(old - v.numpy()) / RATE for v, old in zip(made.trainable_variables, before, strict=True)]


def learned(made, images, noise, labels=None):
    """Returns the gradients (G's, D's) of a step, with the weights as they were before it."""
    before = [[v.numpy() for v in network.trainable_variables] for network in (made.generator, made.discriminator)]
    metrics = made.step(0, images, noise, RATE, labels)
    found = [descents(n, b) for n, b in zip((made.generator, made.discriminator), before, strict=True)]
    for network, values in zip((made.generator, made.discriminator), before, strict=True):
        for variable, value in zip(network.trainable_variables, values, strict=True):
            variable.assign(value)
    return *found, metrics


@tf.function
def two_passes(made, images, noise, labels=None, change=tf.identity):
    """Returns (G's gradients, D's, its loss, G's loss), each network's by a pass of its own through the same D."""
    g, d, loss = made.generator, made.discriminator, made.loss
    with tf.GradientTape() as g_tape:
        drawn = g(noise, training=True)
        on_generated = d(change(drawn["output"]), training=True, labels=drawn.get("labels"))
        on_real = d(change(images), training=True, labels=labels)
        g_loss = loss.generator_loss(*(shared_pass.outputs(each["logits"]) for each in (on_real, on_generated)))
    with tf.GradientTape() as d_tape:
        on_generated = d(change(tf.stop_gradient(drawn["output"])), training=True, labels=drawn.get("labels"))
        on_real = d(change(images), training=True, labels=labels)
        d_loss = loss.discriminator_loss(on_real, on_generated) + tf.add_n([tf.zeros([]), *d.losses])
    of_g, of_d = g.trainable_variables, d.trainable_variables
    return g_tape.gradient(g_loss, of_g), d_tape.gradient(d_loss, of_d), d_loss, g_loss


def assert_close(found, expected):
    """Within 1e-5 of the largest gradient of each variable."""
    for one, other in zip(found, expected, strict=True):
        scale = np.abs(other.numpy()).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale + 1e-9)


def assert_like_two_passes(made, images, noise, labels=None, **others):
    for_g, for_d, metrics = learned(made, images, noise, labels)
    of_g, of_d, d_loss, g_loss = two_passes(made, images, noise, labels, **others)
    assert_close(for_g, of_g)
    assert_close(for_d, of_d)
    assert metrics["d_loss"] == pytest.approx(float(d_loss), rel=1e-5, abs=1e-5)
    assert metrics["g_loss"] == pytest.approx(float(g_loss), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("loss", [*LOSSES, "my_models.SquaredLoss"])
def test_gradients_are_those_of_two_passes(loss):
    """Also where D has nothing more to learn of an image: below -1 with the hinge loss, at -1 with least squares."""
    _, made = networks(label_loss=loss)
    images, noise = batch()
    assert_like_two_passes(made, images, noise)
    kernel, bias = made.discriminator.trainable_variables[-2:]
    kernel.assign(kernel * 0.1)
    for logit in (-50.0, -1.0, 10.0):  # about which all logits are now
        bias.assign([logit])
        (of_g, _, _, _), (for_g, _, _) = two_passes(made, images, noise), learned(made, images, noise)
        assert_close(for_g, of_g)
        assert loss not in LOSSES or max(np.abs(each).max() for each in for_g) > 1e-7  # a loss of p saturates


def test_labels_reach_both_halves():
    _, made = networks(
        generator_model="test_shared_pass.ClassGenerator", discriminator_model="test_shared_pass.ClassDiscriminator"
    )
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int32)
    assert_like_two_passes(made, *batch(), labels)


class ClassGenerator(many_devices.SmoothGenerator):
    uses_labels = True

    def run_model(self, model_input, is_training=True):
        labels = models.class_of(model_input[:, -1], self.num_classes)
        return {**super().run_model(model_input, is_training), "labels": labels}


class ClassDiscriminator(many_devices.PlainSmoothDiscriminator):
    uses_labels = True

    def create_model(self, image_shape, latent_size, feature_size):
        self.hidden = layers.Dense(16, activation="tanh")
        self.projection = layers.Dense(2)

    def run_model(self, model_input, is_training=True, labels=None):
        each = self.projection(self.hidden(model_input))
        own = each if labels is None else keras.ops.one_hot(labels, 2) * each
        logits = keras.ops.sum(own, axis=1, keepdims=True)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


def test_weight_regularisers_count():
    _, made = networks(discriminator_model="my_models.RegularisedDiscriminator")
    assert_like_two_passes(made, *batch())


def test_gradient_penalties_teach_d_alone():
    """G's gradient is the same with and without them, D's is not."""
    images, noise = batch()
    found = []
    for penalties in ("", "R1Penalty,R2Penalty,WassersteinPenalty"):
        _, made = networks(label_loss="WassersteinLoss", gradient_penalties=penalties)
        found.append(learned(made, images, noise))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)
    assert max(np.abs(one - other).max() for one, other in zip(found[0][1], found[1][1], strict=True)) > 1e-3


def test_g_learns_through_what_d_is_shown():
    _, made = networks(augmentations="test_shared_pass.Fading")
    assert_like_two_passes(made, *batch(), change=fade)


def fade(images):
    return 0.3 * images + 0.5 * tf.reverse(images, [1])


class Fading(augmentation.BaseAugmentation):
    def augment(self, images, seed):
        flat = tf.reshape(images, [-1, images.shape[1] * images.shape[2]])
        return tf.reshape(fade(flat), tf.shape(images))


@pytest.mark.parametrize(
    "name", ["PlainDiscriminator", "SNGANDiscriminator", "R3GANDiscriminator", "SampleDiscriminator"]
)
def test_what_looks_at_each_image_by_itself_is_taken_and_left_as_it_is(name):
    options = {**DESCENT, "discriminator_model": name}
    plain, shared = (trainer.Trainer(sample_options(**options, shared_pass=s), SHAPE) for s in (False, True))
    one, other = plain.variables(), shared.variables()
    assert list(one) == list(other)
    for variable, value in one.items():
        np.testing.assert_array_equal(value.numpy(), other[variable].numpy(), err_msg=variable)


class StandardDeviation(models.SampleDiscriminator):
    """Tells each image how much the batch varies, as minibatch discrimination does."""

    def run_model(self, model_input, is_training=True):
        spread = keras.ops.std(model_input, axis=0, keepdims=True)
        return super().run_model(model_input + spread if is_training else model_input)


class HiddenNorm(models.SampleDiscriminator):
    """Has a batch normalisation that begins with a weight of 0."""

    def create_model(self, image_shape, latent_size, feature_size):
        super().create_model(image_shape, latent_size, feature_size)
        self.norm = layers.BatchNormalization(gamma_initializer="zeros")

    def run_model(self, model_input, is_training=True):
        return super().run_model(model_input + self.norm(model_input, training=is_training))


class OtherPredictions(models.SampleDiscriminator):
    def run_model(self, model_input, is_training=True):
        outputs = super().run_model(model_input)
        return {**outputs, "predictions": 0.5 * outputs["predictions"]}


class Sparse(models.SampleDiscriminator):
    def create_model(self, image_shape, latent_size, feature_size):
        self.hidden = layers.Dense(8, activity_regularizer=keras.regularizers.L2(0.1))
        self.logit = layers.Dense(1)


class Indifferent(losses.CrossEntropyLoss):
    def generator_loss(self, real, generated):
        return super().generator_loss(real, real)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"discriminator_model": "DCGAN4Discriminator"}, "DCGAN4Discriminator does not look at each image by itself"),
        (
            {"discriminator_model": "test_shared_pass.StandardDeviation"},
            "others of the batch have a part in its answer",
        ),
        ({"discriminator_model": "test_shared_pass.HiddenNorm"}, "HiddenNorm does not look at each image by itself"),
        ({"discriminator_model": "test_shared_pass.OtherPredictions"}, "predictions that are not the sigmoid of its"),
        ({"discriminator_model": "test_shared_pass.Sparse"}, "has a regulariser that looks at activations"),
        (
            {"label_loss": "test_shared_pass.Indifferent"},
            "Indifferent: one of its losses does not depend on D's answers",
        ),
        ({"label_loss": "my_models.VectorLoss"}, "VectorLoss returned a loss of shape"),
        ({"mixed_precision": "float16"}, "--mixed_precision=float16 has; bfloat16 has them"),
    ],
)
def test_what_one_pass_cannot_do_is_refused(settings, words):
    with pytest.raises(InputError, match=words):
        networks(**settings)


def test_bfloat16_learns_the_same_direction():
    (_, whole), (_, half) = (
        networks(generator_model="SampleGenerator", mixed_precision=precision) for precision in ("none", "bfloat16")
    )
    for one, other in zip(learned(whole, *batch())[:2], learned(half, *batch())[:2], strict=True):
        exact, rounded = (np.concatenate([each.ravel() for each in gradients]) for gradients in (one, other))
        assert exact @ rounded / np.linalg.norm(exact) / np.linalg.norm(rounded) > 0.99
        assert np.linalg.norm(rounded) == pytest.approx(np.linalg.norm(exact), rel=0.05)


@pytest.mark.slow
def test_training_learns():
    """The mean of the generated digits comes near that of the real ones, from which it starts far away."""
    options = sample_options(shared_pass=True, batch_size=64, base_learning_rate=0.002)
    made = trainer.Trainer(options, digits.SHAPE)
    pixels = digits.load("train").pixels
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, (64, 100)).astype(np.float32)
    target, first = pixels.take(np.arange(1000)).mean(), made.current_pair().generate_8bit(noise).mean()
    for number in range(150):
        images = pixels.take(rng.integers(0, 1000, 64)).astype(np.float32) / 255
        draws = rng.uniform(-1, 1, (64, 100)).astype(np.float32)
        made.step(number, images.reshape(64, -1), draws, options.base_learning_rate)
    assert abs(first - target) > 40
    assert abs(made.current_pair().generate_8bit(noise).mean() - target) < 20
