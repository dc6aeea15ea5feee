"""Networks that some formats cannot express, and some that one would think they cannot."""

import keras
import tensorflow as tf
from keras import layers

from gan.models import BaseModel, SampleGenerator


class FourierGenerator(SampleGenerator):
    """Uses an operation that only TensorFlow has."""

    def run_model(self, model_input, is_training=True):
        waves = tf.math.real(tf.signal.fft2d(tf.cast(model_input[:, None, :], tf.complex64)))[:, 0]
        return {"output": self.image(self.hidden(waves))}


class Gate(layers.Layer):
    """A layer of a team's own, with a weight, a part that only training has, and no way for Keras to describe it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.drop = layers.Dropout(0.5)

    def build(self, input_shape):
        self.strength = self.add_weight(name="strength", shape=(1,), initializer="ones")

    def call(self, x, training=False):
        return self.drop(self.inner(x), training=training) * self.strength + x


class GatedGenerator(BaseModel):
    """Upsamples twice, which LiteRT's converter loses sight of, with a layer of its own between."""

    def create_model(self, image_shape, latent_size, feature_size):
        height, width, channels = image_shape
        self.stack = [
            layers.Dense(height // 2 * (width // 2) * 4),
            layers.Reshape((height // 2, width // 2, 4)),
            layers.BatchNormalization(),
            layers.UpSampling2D(),
            Gate(layers.Conv2D(4, 3, padding="same", activation="relu")),
            layers.Conv2D(channels, 3, padding="same", activation="sigmoid"),
            layers.Flatten(),
        ]

    def run_model(self, model_input, is_training=True):
        x = model_input
        for layer in self.stack:
            x = layer(x, training=is_training)
        return {"output": keras.ops.clip(x, 0.0, 1.0)}
