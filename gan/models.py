"""The networks. Add a class here, or in a module of your own, and name it in `--generator_model`.

A generator turns latent vectors z [N, latent] into images x [N, height * width * channels] in [0, 1]; a discriminator
turns images into p [N, 1], its belief that each is real. A model reshapes and rescales inside itself.
"""

import math

import keras
from keras import layers


class BaseModel(keras.Model):
    """Base of all models: `create_model` makes the layers, `run_model` applies them.

    Every layer that `create_model` stores in an attribute (also in a list or a dict) is trained and saved; there is no
    list of variables to keep.
    """

    def create_model(self, image_shape, latent_size, feature_size):
        """Makes the layers.

        Args:
          image_shape: (height, width, channels).
          latent_size: numbers in a latent vector.
          feature_size: width of the network, from `--feature_size`.
        """
        raise NotImplementedError

    def run_model(self, model_input, is_training=True):
        """Applies the layers.

        Args:
          model_input: float32 [N, latent_size] for a generator, [N, height * width * channels] for a discriminator.
          is_training: pass it on to layers that behave differently in training (batch normalisation, dropout).

        Returns:
          A generator: {"output": images in [0, 1], [N, height * width * channels]}.
          A discriminator: {"logits": [N, 1], "predictions": sigmoid(logits)}.
        """
        raise NotImplementedError

    def call(self, model_input, training=False):
        return self.run_model(model_input, is_training=training)


class SampleGenerator(BaseModel):
    """One hidden layer: the generator that every team of the first contest started from."""

    def create_model(self, image_shape, latent_size, feature_size):
        self.hidden = layers.Dense(128, activation="relu")
        self.image = layers.Dense(math.prod(image_shape), activation="sigmoid")

    def run_model(self, model_input, is_training=True):
        return {"output": self.image(self.hidden(model_input))}


class SampleDiscriminator(BaseModel):
    """One hidden layer: the discriminator that every team of the first contest started from."""

    def create_model(self, image_shape, latent_size, feature_size):
        self.hidden = layers.Dense(128, activation="relu")
        self.logit = layers.Dense(1)

    def run_model(self, model_input, is_training=True):
        logits = self.logit(self.hidden(model_input))
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


def dcgan_normal(mean=0.0):
    """N(mean, 0.02), the initial weights of Radford et al. (a new object each: an initializer repeats its numbers)."""
    return keras.initializers.RandomNormal(mean, 0.02)


def dcgan_batch_norm():
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=dcgan_normal(1.0))


def halvings(height, width, times):
    """Returns [(height, width), (height / 2, width / 2), ...], rounded up: the sizes between strided convolutions."""
    return [(math.ceil(height / 2**i), math.ceil(width / 2**i)) for i in range(times + 1)]


class DCGANGenerator(BaseModel):
    """Radford, Metz & Chintala, "Unsupervised representation learning with deep convolutional GANs" (2015), section 3.

    50x50 goes 7x7x4f -> 13x13x2f -> 25x25xf -> 50x50 (f is `feature_size`): transposed convolutions double each side,
    and one row and column is cropped where the exact size is odd.
    """

    kernel_size = 5

    def create_model(self, image_shape, latent_size, feature_size):
        height, width, channels = image_shape
        sizes = halvings(height, width, 3)[::-1]
        first = (*sizes[0], 4 * feature_size)
        self.stack = [
            layers.Dense(math.prod(first), use_bias=False, kernel_initializer=dcgan_normal()),
            layers.Reshape(first),
            dcgan_batch_norm(),
            layers.ReLU(),
        ]
        for size, target, features in zip(sizes[:2], sizes[1:], (2 * feature_size, feature_size), strict=False):
            self.stack += [*self.upsample(size, target, features, use_bias=False), dcgan_batch_norm(), layers.ReLU()]
        self.stack += [
            *self.upsample(*sizes[2:], channels, activation="tanh"),
            layers.Rescaling(0.5, offset=0.5),  # tanh's [-1, 1] to the contest's [0, 1]
            layers.Reshape((math.prod(image_shape),)),
        ]

    def upsample(self, size, target, features, **settings):
        crop = [(0, 2 * before - after) for before, after in zip(size, target, strict=True)]
        return [
            layers.Conv2DTranspose(
                features, self.kernel_size, 2, "same", kernel_initializer=dcgan_normal(), **settings
            ),
            layers.Cropping2D(crop),
        ]

    def run_model(self, model_input, is_training=True):
        return {"output": apply_stack(self.stack, model_input, is_training)}


class DCGANDiscriminator(BaseModel):
    """The discriminator beside `DCGANGenerator`: strided convolutions f -> 2f -> 4f, then one logit."""

    kernel_size = 5

    def create_model(self, image_shape, latent_size, feature_size):
        self.stack = [
            layers.Reshape(image_shape),
            layers.Rescaling(2.0, offset=-1.0),
            self.downsample(feature_size),
            layers.LeakyReLU(0.2),
        ]
        for features in (2 * feature_size, 4 * feature_size):
            self.stack += [self.downsample(features, use_bias=False), dcgan_batch_norm(), layers.LeakyReLU(0.2)]
        self.stack += [layers.Flatten(), layers.Dense(1, kernel_initializer=dcgan_normal())]

    def downsample(self, features, **settings):
        return layers.Conv2D(features, self.kernel_size, 2, "same", kernel_initializer=dcgan_normal(), **settings)

    def run_model(self, model_input, is_training=True):
        logits = apply_stack(self.stack, model_input, is_training)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


def apply_stack(stack, x, is_training):
    """Applies layers in order, telling batch normalisation whether this is training."""
    for layer in stack:
        x = layer(x, training=is_training) if isinstance(layer, layers.BatchNormalization) else layer(x)
    return x
