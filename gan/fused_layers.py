"""Keras layers that hand their work to one kernel of TensorFlow: the same weights and numbers, in less time."""

import keras
import tensorflow as tf
from keras import layers


class BatchNormalization(layers.BatchNormalization):
    """Keras's layer. In training on one device it takes mean, variance and the result from one kernel, not from ten."""

    def call(self, x, training=None, mask=None):
        fits = x.shape.rank == 4 and self.compute_dtype == "float32" and self.axis in (-1, 3)
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


class Conv2DTranspose(layers.Conv2DTranspose):
    """A transposed convolution of stride 2 to the size it is told: one that halving rounds up to the input's size.

    Keras's layer knows the even size alone, of which a row and a column would have to be cut.

    Args:
      filters, kernel_size: as of Keras's.
      size: (height, width) of the output.
      settings: as of Keras's.
    """

    def __init__(self, filters, kernel_size, size, **settings):
        super().__init__(filters, kernel_size, 2, "same", **settings)
        self.size = size

    def call(self, x):
        shape = (tf.shape(x)[0], *self.size, self.filters)
        y = tf.nn.conv2d_transpose(x, keras.ops.convert_to_tensor(self.kernel), shape, strides=2, padding="SAME")
        return self.activation(y if self.bias is None else y + self.bias)
