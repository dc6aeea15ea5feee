"""The two networks as `keras.Sequential`s, as tutorials write them; images are [N, 50, 50, 1] in [-1, 1]."""

import math

import keras
from keras import layers


def make_generator(recipe):
    f = recipe.features
    return keras.Sequential(
        [
            layers.Input((recipe.latent_size,)),
            layers.Dense(7 * 7 * 4 * f, use_bias=False, kernel_initializer=_normal(recipe)),
            layers.Reshape((7, 7, 4 * f)),
            _batch_norm(recipe),
            layers.ReLU(),
            _upsampling(recipe, 2 * f, use_bias=False),
            layers.Cropping2D(((0, 1), (0, 1))),  # 14 to 13
            _batch_norm(recipe),
            layers.ReLU(),
            _upsampling(recipe, f, use_bias=False),
            layers.Cropping2D(((0, 1), (0, 1))),  # 26 to 25
            _batch_norm(recipe),
            layers.ReLU(),
            _upsampling(recipe, 1, activation="tanh"),
        ]
    )


def make_discriminator(recipe):
    f = recipe.features
    return keras.Sequential(
        [
            layers.Input((50, 50, 1)),
            _downsampling(recipe, f),
            layers.LeakyReLU(recipe.slope),
            _downsampling(recipe, 2 * f, use_bias=False),
            _batch_norm(recipe),
            layers.LeakyReLU(recipe.slope),
            _downsampling(recipe, 4 * f, use_bias=False),
            _batch_norm(recipe),
            layers.LeakyReLU(recipe.slope),
            layers.Flatten(),
            layers.Dense(1, kernel_initializer=_normal(recipe)),
        ]
    )


def make_optimizer(recipe):
    return keras.optimizers.Adam(recipe.learning_rate, recipe.beta_1, recipe.beta_2, recipe.epsilon)


class BaseLoop:
    """A training with both networks in `generator` and `discriminator`."""

    def set_weights(self, generator, discriminator):
        """Takes trained variables, in the order and the layout of Keras."""
        for model, arrays in ((self.generator, generator), (self.discriminator, discriminator)):
            for variable, array in zip(model.trainable_variables, arrays, strict=True):
                variable.assign(array)

    def count_parameters(self):
        """Returns the numbers of trained parameters of (G, D)."""
        models = (self.generator, self.discriminator)
        return tuple(sum(math.prod(variable.shape) for variable in model.trainable_variables) for model in models)


def _upsampling(recipe, features, **settings):
    return layers.Conv2DTranspose(features, 4, 2, "same", kernel_initializer=_normal(recipe), **settings)


def _downsampling(recipe, features, **settings):
    return layers.Conv2D(features, 4, 2, "same", kernel_initializer=_normal(recipe), **settings)


def _batch_norm(recipe):
    return layers.BatchNormalization(
        momentum=1 - recipe.momentum, epsilon=recipe.norm_epsilon, gamma_initializer=_normal(recipe, 1.0)
    )


def _normal(recipe, mean=0.0):
    return keras.initializers.RandomNormal(mean, recipe.deviation)
