"""Keras layers that hand their work to one kernel of TensorFlow: the same weights and numbers, in less time."""

import keras
import tensorflow as tf
from keras import layers


def in_keras(layer, shape):
    """Returns layers of Keras's own, one to be applied after the other, that answer in inference as `layer` does.

    Args:
      layer: a built layer of this module.
      shape: of its input.
    """
    plain = type(layer).__bases__[0].from_config(layer.get_config())
    plain.build(shape)
    plain.set_weights(layer.get_weights())
    return [plain, layer.crop(shape)] if isinstance(layer, Conv2DTranspose) else [plain]


class BatchNormalization(layers.BatchNormalization):
    """Keras's layer. In training on one device it takes mean, variance and the result from one kernel, not from ten."""

    def call(self, x, training=None, mask=None):
        fits = len(x.shape) == 4 and self.compute_dtype == "float32" and self.axis in (-1, 3)
        if not training or mask is not None or self.synchronized or not fits:
            return super().call(x, training=training, mask=mask)
        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=keras.ops.convert_to_tensor(self.gamma),
            offset=keras.ops.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(x) // tf.shape(x)[-1], tf.float32)
        # The kernel's variance is that of a sample, for which it divides by n - 1; Keras remembers the one by n.
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return normalised


class LeakyReLU(layers.LeakyReLU):
    """Keras's layer. In training its gradient looks at the result, whose sign is the input's.

    So nothing but this layer wants the input, and a convolution in front of it makes the result at once.
    """

    def call(self, x, training=None):
        return _leaky_relu(x, self.negative_slope) if training else super().call(x)


def _leaky_relu(x, slope):
    @tf.custom_gradient
    def function(x):
        y = tf.nn.leaky_relu(x, slope)
        return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=slope)

    return function(x)


class Conv2D(layers.Conv2D):
    """Keras's layer. In training, images of few channels get their gradient by `_doubled`, where that fits."""

    def call(self, x, training=None):
        fits = self.strides == (2, 2) and self.padding == "same" and _is_thin(self.kernel)
        if not training or not fits:
            return super().call(x)
        y = _halved(x, tf.convert_to_tensor(self.kernel))
        return self.activation(y if self.bias is None else tf.nn.bias_add(y, keras.ops.convert_to_tensor(self.bias)))


class Conv2DTranspose(layers.Conv2DTranspose):
    """A transposed convolution of stride 2 to the size it is told: one that halving rounds up to the input's size.

    Keras's layer knows the even size alone, of which a row and a column would have to be cut. In training, images of
    few channels are made by `_doubled`, where that fits.

    Args:
      filters, kernel_size: as of Keras's.
      size: (height, width) of the output.
      settings: as of Keras's.
    """

    def __init__(self, filters, kernel_size, size, **settings):
        super().__init__(filters, kernel_size, 2, "same", **settings)
        self.size = size

    def call(self, x, training=None):
        kernel = tf.convert_to_tensor(self.kernel)
        if training and _is_thin(kernel):
            y = _doubled_with_gradient(x, kernel, self.size)
        else:
            shape = (tf.shape(x)[0], *self.size, self.filters)
            y = tf.nn.conv2d_transpose(x, kernel, shape, strides=2, padding="SAME")
        return self.activation(y if self.bias is None else y + self.bias)

    def crop(self, shape):
        """Returns the layer that makes `size` of the even size, which Keras's layer has of an input of this shape."""
        cuts = []
        for before, after, kernel in zip(shape[1:3], self.size, self.kernel_size, strict=True):
            # TensorFlow pads the smaller side of an odd sum in front.
            front = max(2 * before - 2 + kernel - after, 0) // 2 - max(kernel - 2, 0) // 2
            cuts.append((front, 2 * before - after - front))
        return layers.Cropping2D(cuts)


def _is_thin(kernel):
    """Whether `_doubled` is faster than TensorFlow's kernel: 4x4, and few channels on the side of the image."""
    return tuple(kernel.shape[:2]) == (4, 4) and kernel.shape[2] <= 4


@tf.custom_gradient
def _halved(x, kernel):
    """A convolution of stride 2."""
    return _convolution(x, kernel), lambda dy: (_doubled(dy, kernel, x.shape[1:3]), _kernel_gradient(x, kernel, dy))


def _doubled_with_gradient(x, kernel, size):
    @tf.custom_gradient
    def function(x, kernel):
        return _doubled(x, kernel, size), lambda dy: (_convolution(dy, kernel), _kernel_gradient(dy, kernel, x))

    return function(x, kernel)


def _convolution(x, kernel):
    return tf.nn.conv2d(x, kernel, 2, "SAME")


def _kernel_gradient(x, kernel, dy):
    return tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=kernel.shape, out_backprop=dy, strides=[1, 2, 2, 1], padding="SAME"
    )


def _doubled(x, kernel, size):
    """A transposed convolution of stride 2 with a 4x4 kernel, by one of stride 1 with 2x2.

    The four pixels around the corner of four places of x are made of these four. So a convolution at the corners has
    them as channels, and they take their places.

    Args:
      x: [N, h, w, inputs].
      kernel: [4, 4, channels, inputs].
      size: (height, width) of the result, at most (2h, 2w).
    """
    inputs, channels = kernel.shape[3], kernel.shape[2]
    # A row of the kernel is 2 * (before or after the corner, for the place) + (before or after it, for the pixel).
    split = tf.reverse(tf.reshape(kernel, [2, 2, 2, 2, channels, inputs]), [0, 2])
    small = tf.reshape(tf.transpose(split, [0, 2, 5, 1, 3, 4]), [2, 2, inputs, 4 * channels])
    pixels = tf.nn.depth_to_space(tf.nn.conv2d(x, small, 1, [[0, 0], [1, 1], [1, 1], [0, 0]]), 2)
    return pixels[:, 1 : 1 + size[0], 1 : 1 + size[1]]
