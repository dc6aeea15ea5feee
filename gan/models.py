"""The networks. Add a class here, or in a module of your own, and name it in `--generator_model`.

A generator turns latent vectors z [N, latent] into images x [N, height * width * channels] in [0, 1]; a discriminator
turns images into p [N, 1], its belief that each is real. A model reshapes and rescales inside itself. Images, logits
and beliefs are float32, also where `--mixed_precision` lets the layers before them work in half precision.

| pair | what it is |
| --- | --- |
| Sample | one hidden layer: where every team of the first contest started |
| DCGAN, DCGAN4 | strided convolutions and batch normalisation; 5x5 kernels, as published, and 4x4 ones |
| Plain (D alone) | DCGAN4's D without normalisation, for gradient penalties; the guard beside D is a small one |
| SNGAN | residual blocks, spectral normalisation in D |
| R3GAN | residual blocks without any normalisation, for losses with zero-centred gradient penalties |
| ConditionalDCGAN | DCGAN that is told each image's class |
"""

import itertools
import math

import keras
from keras import layers

from gan import fused_layers


class BaseModel(keras.Model):
    """Base of all models: `create_model` makes the layers, `run_model` applies them.

    Every layer that `create_model` stores in an attribute (also in a list or a dict) is trained and saved; there is no
    list of variables to keep.
    """

    uses_labels = False  # True: trains on (image, label) pairs, and `num_classes` is set before `create_model`
    num_classes = 0

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

        A model with `uses_labels` differs in this: the generator returns also "labels", int32 [N], the class of each
        image; the discriminator takes `labels=None`, which is None where the classes are not known, as in a battle.
        """
        raise NotImplementedError

    def call(self, model_input, training=False, labels=None):
        known = {} if labels is None else {"labels": labels}
        return self.run_model(model_input, is_training=training, **known)


class SampleGenerator(BaseModel):
    """One hidden layer: the generator that every team of the first contest started from."""

    def create_model(self, image_shape, latent_size, feature_size):
        self.hidden = layers.Dense(128, activation="relu")
        self.image = layers.Dense(math.prod(image_shape), activation="sigmoid", dtype="float32")

    def run_model(self, model_input, is_training=True):
        return {"output": self.image(self.hidden(model_input))}


class SampleDiscriminator(BaseModel):
    """One hidden layer: the discriminator that every team of the first contest started from."""

    def create_model(self, image_shape, latent_size, feature_size):
        self.hidden = layers.Dense(128, activation="relu")
        self.logit = layers.Dense(1, dtype="float32")

    def run_model(self, model_input, is_training=True):
        logits = self.logit(self.hidden(model_input))
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


def dcgan_normal(mean=0.0):
    """N(mean, 0.02), the initial weights of Radford et al. (a new object each: an initializer repeats its numbers)."""
    return keras.initializers.RandomNormal(mean, 0.02)


def dcgan_batch_norm():
    return fused_layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=dcgan_normal(1.0))


def halvings(height, width, times):
    """Returns [(height, width), (height / 2, width / 2), ...], rounded up: the sizes between strided convolutions."""
    return [(math.ceil(height / 2**i), math.ceil(width / 2**i)) for i in range(times + 1)]


def crop(size, target):
    """Cuts what doubling `size` has too much, where `target` is odd."""
    return layers.Cropping2D([(0, 2 * before - after) for before, after in zip(size, target, strict=True)])


def image_layers(image_shape):
    """The end of a generator: tanh's [-1, 1] to the contest's [0, 1], flattened."""
    return [
        layers.Activation("tanh", dtype="float32"),
        layers.Rescaling(0.5, offset=0.5, dtype="float32"),
        layers.Reshape((math.prod(image_shape),), dtype="float32"),
    ]


def apply_stack(stack, x, is_training):
    """Applies layers in order; Keras drops `training` for a layer that works alike in both modes."""
    for layer in stack:
        x = layer(x, training=is_training)
    return x


class DCGANGenerator(BaseModel):
    """Radford, Metz & Chintala, "Unsupervised representation learning with deep convolutional GANs" (2015), section 3.

    50x50 goes 7x7x4f -> 13x13x2f -> 25x25xf -> 50x50 (f is `feature_size`): transposed convolutions double each side.
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
        for size, features in zip(sizes[1:3], (2 * feature_size, feature_size), strict=True):
            self.stack += [self.upsample(features, size, use_bias=False), dcgan_batch_norm(), layers.ReLU()]
        self.stack += [self.upsample(channels, sizes[3]), *image_layers(image_shape)]

    def upsample(self, features, size, **settings):
        return fused_layers.Conv2DTranspose(
            features, self.kernel_size, size, kernel_initializer=dcgan_normal(), **settings
        )

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
            fused_layers.LeakyReLU(0.2),
        ]
        for features in (2 * feature_size, 4 * feature_size):
            self.stack += [self.downsample(features, use_bias=False), dcgan_batch_norm(), fused_layers.LeakyReLU(0.2)]
        self.stack += [layers.Flatten(), layers.Dense(1, kernel_initializer=dcgan_normal(), dtype="float32")]

    def downsample(self, features, **settings):
        return fused_layers.Conv2D(features, self.kernel_size, 2, "same", kernel_initializer=dcgan_normal(), **settings)

    def run_model(self, model_input, is_training=True):
        logits = apply_stack(self.stack, model_input, is_training)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


class DCGAN4Generator(DCGANGenerator):
    """`DCGANGenerator` with 4x4 kernels: 2x2 places of a kernel make each pixel, so that no checkerboard appears.

    Odena, Dumoulin & Olah, "Deconvolution and checkerboard artifacts" (2016).
    """

    kernel_size = 4


class DCGAN4Discriminator(DCGANDiscriminator):
    """The discriminator beside `DCGAN4Generator`."""

    kernel_size = 4


class PlainDiscriminator(DCGAN4Discriminator):
    """`DCGAN4Discriminator` without batch normalisation, for losses and penalties that look at each image by itself."""

    def create_model(self, image_shape, latent_size, feature_size):
        self.stack = [layers.Reshape(image_shape), layers.Rescaling(2.0, offset=-1.0)]
        for features in (feature_size, 2 * feature_size, 4 * feature_size):
            self.stack += [self.downsample(features), fused_layers.LeakyReLU(0.2)]
        self.stack += [layers.Flatten(), layers.Dense(1, dtype="float32")]

    def downsample(self, features):
        return fused_layers.Conv2D(
            features, self.kernel_size, 2, "same", kernel_initializer=keras.initializers.HeNormal()
        )


class SpectralNormalization(layers.Layer):
    """Wraps a Dense or Conv2D layer, whose kernel W works as W / sigma(W); sigma is the largest singular value of W.

    Miyato, Kataoka, Koyama & Yoshida, "Spectral normalization for generative adversarial networks" (2018), section 2.1
    and appendix A. A convolution's W is the matrix [height * width * inputs, outputs]. A training pass improves u by
    one power iteration; the gradient takes u and v as constants. Inference reads u and changes nothing.
    """

    # `keras.layers.SpectralNormalization` assigns W / sigma to W as it goes, so its gradient misses the way through
    # sigma, and each pass in a step finds another W.

    def __init__(self, layer):
        super().__init__(autocast=False)  # sigma is a float32 number, also where the layer works in half precision
        self.layer = layer

    def build(self, input_shape):
        self.layer.build(input_shape)
        shape, normal = (self.layer.kernel.shape[-1], 1), keras.initializers.RandomNormal(0.0, 1.0)
        self.u = self.add_weight(name="u", shape=shape, initializer=normal, trainable=False)

    def call(self, x, training=False):
        kernel, sigma = self.layer.kernel, self.sigma(training)
        with keras.StatelessScope([(kernel, kernel / sigma)]):  # in here the kernel reads as W / sigma
            return self.layer(x)

    def sigma(self, training=False):
        kernel = self.layer.kernel
        w = keras.ops.reshape(kernel, (-1, kernel.shape[-1]))
        constant_w = keras.ops.stop_gradient(w)
        if training:
            v = unit(constant_w @ self.u)
            self.u.assign(unit(keras.ops.transpose(constant_w) @ v))
        u = unit(keras.ops.stop_gradient(self.u))  # the first u has another length, and so has an average of several
        v = unit(constant_w @ u)
        return keras.ops.transpose(v) @ w @ u + 1e-12  # a kernel of zeros stays one

    def fold(self):
        """Makes W / sigma the kernel for good and returns the wrapped layer, which infers the same by itself."""
        self.layer.kernel.assign(self.layer.kernel / self.sigma())
        return self.layer


def unit(vector):
    return vector / (keras.ops.norm(vector) + 1e-12)


class Residual(layers.Layer):
    """F(x) + S(x), two stacks of layers side by side; a shortcut S without layers is the identity.

    He, Zhang, Ren & Sun, "Deep residual learning for image recognition" (2015).
    """

    def __init__(self, stack, shortcut=()):
        super().__init__()
        self.stack = list(stack)
        self.shortcut = list(shortcut)

    def build(self, input_shape):
        """Each layer makes its variables in its first call; without this method Keras would try a call beforehand."""

    def call(self, x, training=False):
        return apply_stack(self.stack, x, training) + apply_stack(self.shortcut, x, training)


def sngan_conv(features, size=3):
    """Glorot's uniform initial weights, sqrt(2) times as large before a ReLU, as in Miyato et al.'s code."""
    gain = 2.0 if size == 3 else 1.0
    glorot = keras.initializers.VarianceScaling(gain, "fan_avg", "uniform")
    return layers.Conv2D(features, size, padding="same", kernel_initializer=glorot)


def sngan_batch_norm():
    return fused_layers.BatchNormalization(momentum=0.9)


class SNGANGenerator(BaseModel):
    """Miyato et al. (2018), appendix B.4, for the 48x48 images of STL-10: residual blocks that double each side.

    50x50 goes 7x7x8f -> 13x13x4f -> 25x25x2f -> 50x50xf (f is `feature_size`, there 64).
    """

    def create_model(self, image_shape, latent_size, feature_size):
        height, width, channels = image_shape
        sizes = halvings(height, width, 3)[::-1]
        first = (*sizes[0], 8 * feature_size)
        self.stack = [layers.Dense(math.prod(first)), layers.Reshape(first)]
        for i, step in enumerate(itertools.pairwise(sizes)):
            self.stack.append(self.up_block(4 * feature_size // 2**i, *step))
        self.stack += [
            sngan_batch_norm(),
            layers.ReLU(),
            layers.Conv2D(channels, 3, padding="same"),
        ]
        self.stack += image_layers(image_shape)

    def up_block(self, features, size, target):
        stack = [sngan_batch_norm(), layers.ReLU(), layers.UpSampling2D(), crop(size, target)]
        stack += [sngan_conv(features), sngan_batch_norm(), layers.ReLU(), sngan_conv(features)]
        # A 1x1 convolution and copying pixels commute; this order costs a quarter.
        return Residual(stack, shortcut=[sngan_conv(features, 1), layers.UpSampling2D(), crop(size, target)])

    def run_model(self, model_input, is_training=True):
        return {"output": apply_stack(self.stack, model_input, is_training)}


class SNGANDiscriminator(BaseModel):
    """The discriminator beside `SNGANGenerator`: every kernel has spectral norm 1, and there is no batch normalisation.

    50x50 goes 25x25xf -> 13x13x2f -> 7x7x4f; one more block to 8f, and a sum over the places.
    """

    def create_model(self, image_shape, latent_size, feature_size):
        f = feature_size
        self.stack = [
            layers.Reshape(image_shape),
            layers.Rescaling(2.0, offset=-1.0),
            self.down_block(self.convolutions(f, f)[1:], f),  # no ReLU of the image itself
            self.down_block(self.convolutions(f, 2 * f), 2 * f),
            self.down_block(self.convolutions(2 * f, 4 * f), 4 * f),
            Residual(self.convolutions(4 * f, 8 * f), shortcut=[self.conv(8 * f, 1)]),
            layers.ReLU(dtype="float32"),
        ]
        self.logit = SpectralNormalization(layers.Dense(1, dtype="float32"))

    def conv(self, features, size=3):
        return SpectralNormalization(sngan_conv(features, size))

    def convolutions(self, inner, features):
        return [layers.ReLU(), self.conv(inner), layers.ReLU(), self.conv(features)]

    def down_block(self, stack, features):
        def halve():
            return layers.AveragePooling2D(2, padding="same")

        return Residual([*stack, halve()], shortcut=[halve(), self.conv(features, 1)])

    def run_model(self, model_input, is_training=True):
        features = apply_stack(self.stack, model_input, is_training)
        logits = self.logit(keras.ops.sum(features, axis=(1, 2)), training=is_training)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


class BaseR3GAN(BaseModel):
    """What both networks of R3GAN are made of.

    Huang, Gokaslan, Kuleshov & Tompkin, "The GAN is dead; long live the GAN! A modern GAN baseline" (2024), section 4.
    No normalisation: the initial weights alone keep the activations from growing or fading, as in Zhang, Dauphin & Ma,
    "Fixup initialization" (2019).
    """

    stages = 4
    blocks_per_stage = 1

    def widths(self, feature_size):
        """50x50 is f / 2 wide, 25x25 f, 13x13 2f, 7x7 4f: a quarter of the places, twice the width."""
        return [feature_size * 2**i // 2 for i in range(self.stages)]

    def conv1x1(self, inputs, outputs, gain=1.0, use_bias=False):
        return layers.Conv2D(outputs, 1, use_bias=use_bias, kernel_initializer=variance_preserving(inputs, gain))

    def blocks(self, features):
        return [self.block(features) for _ in range(self.blocks_per_stage)]

    def block(self, features):
        """1x1 to twice the width -> 3x3 -> 1x1 back. The last begins with zeros, and so the block as the identity.

        The paper's 3x3 convolution works on groups of channels; here each channel is its own group. On a CPU,
        TensorFlow's gradient of a grouped convolution takes 20 to 100 times as long as that of an ordinary one.
        """
        inner, m = 2 * features, 3  # m: convolutions in a block
        gain = math.sqrt(2 / (1 + 0.2**2)) * (self.stages * self.blocks_per_stage) ** (-1 / (2 * m - 2))
        stack = [
            self.conv1x1(features, inner, gain, use_bias=True),
            layers.LeakyReLU(0.2),
            layers.DepthwiseConv2D(3, padding="same", depthwise_initializer=variance_preserving(3 * 3, gain)),
            layers.LeakyReLU(0.2),
            self.conv1x1(inner, features, gain=0.0),
        ]
        return Residual(stack)


def variance_preserving(fan_in, gain=1.0):
    """N(0, gain^2 / fan_in): of inputs with variance 1 it makes outputs with variance gain^2."""
    return keras.initializers.RandomNormal(0.0, gain / math.sqrt(fan_in))


class R3GANGenerator(BaseR3GAN):
    """A learned 7x7 image whose channels z makes stronger or weaker, then residual blocks and bilinear doubling."""

    def create_model(self, image_shape, latent_size, feature_size):
        height, width, channels = image_shape
        sizes, widths = halvings(height, width, self.stages - 1)[::-1], self.widths(feature_size)[::-1]
        normal = keras.initializers.RandomNormal(0.0, 1.0)
        self.basis = self.add_weight(name="basis", shape=(*sizes[0], widths[0]), initializer=normal)
        weights = variance_preserving(latent_size, math.sqrt(3))  # a uniform number in [-1, 1] has variance 1/3
        self.modulation = [
            layers.Dense(widths[0], use_bias=False, kernel_initializer=weights),
            layers.Reshape((1, 1, widths[0])),
        ]
        self.stack = self.blocks(widths[0])
        for i in range(self.stages - 1):
            self.stack += [self.conv1x1(*widths[i : i + 2]), layers.UpSampling2D(interpolation="bilinear")]
            self.stack += [crop(*sizes[i : i + 2]), *self.blocks(widths[i + 1])]
        self.stack += [self.conv1x1(widths[-1], channels), *image_layers(image_shape)]

    def run_model(self, model_input, is_training=True):
        x = apply_stack(self.modulation, model_input, is_training) * self.basis
        return {"output": apply_stack(self.stack, x, is_training)}


class R3GANDiscriminator(BaseR3GAN):
    """`R3GANGenerator` mirrored: blocks and bilinear halving, then a weighted sum over each channel's 7x7 places."""

    def create_model(self, image_shape, latent_size, feature_size):
        height, width, channels = image_shape
        last_size, widths = halvings(height, width, self.stages - 1)[-1], self.widths(feature_size)
        self.stack = [
            layers.Reshape(image_shape),
            layers.Rescaling(2.0, offset=-1.0),
            self.conv1x1(channels, widths[0]),
            *self.blocks(widths[0]),
        ]
        for i in range(self.stages - 1):  # the mean of 2x2 pixels is bilinear interpolation at half the size
            self.stack += [layers.AveragePooling2D(2, padding="same"), self.conv1x1(*widths[i : i + 2])]
            self.stack += self.blocks(widths[i + 1])
        sum_weights, logit_weights = variance_preserving(math.prod(last_size)), variance_preserving(widths[-1])
        self.stack += [
            layers.DepthwiseConv2D(last_size, use_bias=False, depthwise_initializer=sum_weights),
            layers.Flatten(),
            layers.Dense(1, use_bias=False, kernel_initializer=logit_weights, dtype="float32"),
        ]

    def run_model(self, model_input, is_training=True):
        logits = apply_stack(self.stack, model_input, is_training)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


class ConditionalDCGANGenerator(DCGAN4Generator):
    """`DCGAN4Generator` of (z, e_y). The class y follows from the last number of z, so a contest needs no labels."""

    uses_labels = True

    def create_model(self, image_shape, latent_size, feature_size):
        super().create_model(image_shape, latent_size, feature_size)
        self.autocast = False  # y comes from z as given, not from z rounded to half precision
        like_z = keras.initializers.RandomUniform(-1.0, 1.0)
        self.embedding = layers.Dense(latent_size, use_bias=False, kernel_initializer=like_z)

    def run_model(self, model_input, is_training=True):
        labels = class_of(model_input[:, -1], self.num_classes)
        embedded = self.embedding(keras.ops.one_hot(labels, self.num_classes))  # e_y, row y of the kernel
        outputs = super().run_model(keras.ops.concatenate([model_input, embedded], axis=1), is_training)
        return {**outputs, "labels": labels}


def class_of(u, num_classes):
    """Cuts [-1, 1] into equal parts, one per class, and returns the int32 number of the part in which each u lies."""
    part = keras.ops.floor((u + 1) / 2 * num_classes)
    return keras.ops.cast(keras.ops.clip(part, 0, num_classes - 1), "int32")


class ConditionalDCGANDiscriminator(DCGAN4Discriminator):
    """Miyato & Koyama, "cGANs with projection discriminator" (2018): logit(x, y) = f(phi(x)) + <e_y, phi(x)>.

    phi is what `DCGAN4Discriminator` makes its logit of, and f that logit. Without labels it answers
    log mean_y exp(logit(x, y)): where every class is as likely, the mean over the classes of the odds of being real.
    """

    uses_labels = True

    def create_model(self, image_shape, latent_size, feature_size):
        super().create_model(image_shape, latent_size, feature_size)
        self.projection = layers.Dense(  # column y of its kernel is e_y
            self.num_classes, use_bias=False, kernel_initializer=dcgan_normal(), dtype="float32"
        )

    def run_model(self, model_input, is_training=True, labels=None):
        phi = apply_stack(self.stack[:-1], model_input, is_training)
        of_each_class = self.stack[-1](phi) + self.projection(phi)
        if labels is None:
            logits = keras.ops.logsumexp(of_each_class, axis=1, keepdims=True) - math.log(self.num_classes)
        else:
            own_class = keras.ops.one_hot(labels, self.num_classes)
            logits = keras.ops.sum(own_class * of_each_class, axis=1, keepdims=True)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}
