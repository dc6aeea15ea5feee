"""What a training step cannot be faster than: its convolutions and products, as arithmetic and as kernels alone."""

import dataclasses
import functools
import math
import typing

from etils import epy

from benchmarks import turns

with epy.lazy_imports():
    import tensorflow as tf
    import torch
    from keras import layers

_SIDE = 2048  # of the large matrices
_REPEATS = 3


class Passes(typing.NamedTuple):
    """How often a training step goes through a network: forward, and back to its layers' weights and inputs."""

    forward: int
    to_weights: int
    to_inputs: int


# D sees real images, generated ones, and these again after its update, when only the way to G counts. Nothing goes back
# to latent vectors, and to images on the way to G alone.
_OF_GENERATOR, _OF_DISCRIMINATOR = Passes(1, 1, 1), Passes(3, 2, 3)
_OF_FIRST_LAYER = {_OF_GENERATOR: Passes(1, 1, 0), _OF_DISCRIMINATOR: Passes(3, 2, 1)}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A convolution or a matrix product of a training step.

    Attributes:
      name: the operation and its layer.
      run: does it once and returns a tensor.
      multiply_adds: of one run, from the shapes; those that fall on a convolution's padding count as well.
      times: runs in a step.
    """

    name: str
    run: typing.Callable
    multiply_adds: int
    times: int


def kernels_of_step(generator, discriminator, noise, images):
    """Returns the `Kernel`s of a training step of the preset `dcgan`, with its shapes.

    Args:
      generator, discriminator: networks that are a `stack` of layers.
      noise: [batch_size, latent_size].
      images: [batch_size, height * width * channels].
    """
    of_generator = _kernels(generator.stack, noise, _OF_GENERATOR)
    return of_generator + _kernels(discriminator.stack, images, _OF_DISCRIMINATOR)


def _kernels(stack, x, passes):
    found, here = [], _OF_FIRST_LAYER[passes]
    for layer in stack:
        y = layer(x)
        if isinstance(layer, (layers.Dense, layers.Conv2D, layers.Conv2DTranspose)):
            kind = _products if isinstance(layer, layers.Dense) else _convolutions
            ways, places = kind(layer, x, y, here)
            where = f"{_text(x)} to {_text(y)}"
            found += [
                Kernel(
                    f"{name}, {where}",
                    _traced(run, *inputs),
                    places * math.prod(layer.kernel.shape),
                    times,
                )
                for name, run, inputs, times in ways
                if times
            ]
            here = passes
        x = y
    return found


def _traced(run, *inputs):
    """Returns a function without arguments that does `run(*inputs)` as a part of a graph does."""
    inputs = [tf.convert_to_tensor(value) for value in inputs]
    return functools.partial(tf.function(run, autograph=False).get_concrete_function(*inputs), *inputs)


def _text(tensor):
    return "x".join(map(str, tensor.shape[1:]))


def _products(layer, x, y, passes):
    """Returns [(name, function, its inputs, times)] of a dense layer, and how often its kernel is applied."""
    weights = layer.kernel.value
    to_weights, to_inputs = (functools.partial(tf.matmul, **{f"transpose_{side}": True}) for side in "ab")
    ways = [
        ("product", tf.matmul, (x, weights), passes.forward),
        ("product for weights", to_weights, (x, y), passes.to_weights),
        ("product for inputs", to_inputs, (y, weights), passes.to_inputs),
    ]
    return ways, len(x)


def _convolutions(layer, x, y, passes):
    """As `_products`; a transposed convolution is the way back of a convolution, whose own way back is that."""
    weights, settings = layer.kernel.value, {"strides": [1, *layer.strides, 1], "padding": layer.padding.upper()}
    large, small, along, back = x, y, passes.forward, passes.to_inputs
    if isinstance(layer, layers.Conv2DTranspose):
        large, small, along, back = y, x, passes.to_inputs, passes.forward

    def to_inputs(kernel, small):
        return tf.raw_ops.Conv2DBackpropInput(input_sizes=large.shape, filter=kernel, out_backprop=small, **settings)

    def to_weights(large, small):
        return tf.raw_ops.Conv2DBackpropFilter(input=large, filter_sizes=weights.shape, out_backprop=small, **settings)

    ways = [
        ("Conv2D", functools.partial(tf.nn.conv2d, **settings), (large, weights), along),
        ("Conv2DBackpropInput", to_inputs, (weights, small), back),
        ("Conv2DBackpropFilter", to_weights, (large, small), passes.to_weights),
    ]
    return ways, math.prod(small.shape[:3])


def multiply_adds(kernels):
    """Returns those of a step."""
    return sum(kernel.multiply_adds * kernel.times for kernel in kernels)


def seconds_alone(kernel):
    """Returns the seconds of one run of a kernel that has the machine for itself."""
    return turns.seconds_of(lambda: [kernel.run() for _ in range(_REPEATS)]) / _REPEATS


def product_in_tensorflow():
    """Returns a piece of work: a large matrix product in TensorFlow; it returns multiply-adds per second."""
    a, b = (tf.random.normal([_SIDE, _SIDE]) for _ in range(2))
    product = tf.function(lambda: tf.matmul(a, b), autograph=False)
    return lambda: _SIDE**3 * _REPEATS / turns.seconds_of(lambda: [product() for _ in range(_REPEATS)])


def product_in_pytorch():
    """Returns the same in PyTorch."""
    a, b = (torch.randn(_SIDE, _SIDE) for _ in range(2))
    return lambda: _SIDE**3 * _REPEATS / turns.seconds_of(lambda: [a @ b for _ in range(_REPEATS)])
