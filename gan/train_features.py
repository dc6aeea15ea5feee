"""Trains a small network whose features the metrics compare images by.

python -m gan.train_features --kind=digits --train_data_pattern=mnist/train.tfrecords --output_file=digits.npz
python -m gan.train_features --kind=faces --train_data_pattern=faces/train.tfrecords --output_file=faces.npz

The networks that are shipped were made so and are frozen: numbers of another network cannot be compared with theirs.
"""

if not __package__:  # `python gan/train_features.py` works like `python -m gan.train_features`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import io
import time

import numpy as np
from etils import epy

from gan import feature_networks, flags, records, seeds, spec, storage
from gan.errors import InputError
from gan.flags import flag

with epy.lazy_imports():
    import keras
    import tensorflow as tf

_DAMAGES = ("blur", "pixelation", "noise", "contrast", "warp")
_DAMAGE_WEIGHT = 50.0
_PROJECTION = 64
_TEMPERATURE = 0.2
_CLASSES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainFeaturesOptions(flags.SeedOptions):
    """Flags of `gan.train_features`."""

    kind: str = flag(
        "faces", "digits: 28x28 with labels; faces: 50x50 without", choices=tuple(feature_networks.NETWORKS)
    )
    train_data_pattern: str = flag("", "record files to train on, comma-separated patterns")
    output_file: str = flag("", "where the weights go: a .npz file")
    num_epochs: int = flag(20, "passes over the data", lower=1)
    batch_size: int = flag(128, "images per training step; each is seen in two views", lower=2)
    base_learning_rate: float = flag(0.001, "learning rate of Adam's first step; it falls to 0 along a cosine", above=0)


def train_features(options):
    """Trains a network of `gan.feature_networks` and writes its weights.

    It learns two tasks at once, on two views of each picture, each moved a little and damaged at random. What it shows:
    the label where there is one, else which view belongs to which (NT-Xent: Chen et al. 2020, A Simple Framework for
    Contrastive Learning, section 2.1). And how much of each damage it took, so that the features keep what a label has
    no use for and a person sees at once. At last the features are made white over views of all training images: mean
    0, variance 1, no correlations.

    Args:
      options: `TrainFeaturesOptions`.

    Raises:
      InputError: the records cannot be used, or there are fewer than one batch of them.
    """
    tf.config.experimental.enable_op_determinism()
    target = storage.path(options.output_file)
    network = feature_networks.NETWORKS[options.kind]
    data = records.read(
        options.train_data_pattern, (network.side, network.side, 1), with_labels=options.kind == "digits"
    )
    if len(data) < options.batch_size:
        raise InputError(f"--batch_size={options.batch_size}: there are only {len(data)} images")
    trainer = _Trainer(options, network, data)
    for epoch in range(options.num_epochs):
        begin = time.monotonic()
        content, *errors = trainer.epoch(epoch)
        damages = ", ".join(f"{name} {error:.4f}" for name, error in zip(_DAMAGES, errors, strict=True))
        print(f"epoch {epoch + 1} | content loss: {content:.4f} | squared error of {damages} | ", end="")
        print(f"{time.monotonic() - begin:.1f} s", flush=True)
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array.astype(np.float16) for name, array in trainer.whitened_weights().items()})
    storage.write_bytes(target, buffer.getvalue())
    print(f"written: {target}, SHA-256 {storage.sha256(target)}")


class _Trainer:
    def __init__(self, options, network, data):
        self._options = options
        self._network = network
        self._data = data
        with_labels = data.labels is not None
        shapes = feature_networks.weight_shapes(network) | {
            "damage/kernel": (network.size, len(_DAMAGES)),
            "damage/bias": (len(_DAMAGES),),
            "content_0/kernel": (network.size, network.size),
            "content_1/kernel": (network.size, _CLASSES if with_labels else _PROJECTION),
        }
        self._weights = {name: keras.Variable(_initial(options.seed, name, shape)) for name, shape in shapes.items()}
        steps = options.num_epochs * (len(data) // options.batch_size)
        schedule = keras.optimizers.schedules.CosineDecay(options.base_learning_rate, steps)
        self._optimizer = keras.optimizers.Adam(schedule)
        self._optimizer.build(list(self._weights.values()))
        self._random = tf.random.Generator.from_seed(seeds.derive(options.seed, "views") % 2**63, alg="philox")
        self._step = tf.function(self._train_step, autograph=False)

    def epoch(self, number):
        """Passes once over the data; returns the mean content loss and squared error of each damage."""
        size = self._options.batch_size
        order = seeds.generator(self._options.seed, "epoch", number).permutation(len(self._data))
        batches = order[: len(order) // size * size].reshape(-1, size)
        return np.mean([self._step(self._images(batch), self._labels(batch)) for batch in batches], axis=0)

    def _images(self, indices):
        side = self._network.side
        return tf.constant(spec.from_8bit(self._data.pixels.take(indices)).reshape(-1, side, side))

    def _labels(self, indices):
        return None if self._data.labels is None else tf.constant(np.tile(self._data.labels[indices], 2))

    def _train_step(self, images, labels):
        views, damages = self._views(tf.concat([images, images], axis=0))
        variables = list(self._weights.values())
        with tf.GradientTape() as tape:
            weights = {name: variable.value for name, variable in self._weights.items()}
            # A processor that knows bfloat16 halves the time of a step; the weights themselves stay float32.
            features = feature_networks.apply(self._network, weights, tf.cast(views[..., None], tf.bfloat16))
            features = tf.cast(features, tf.float32)
            kernel, bias = _whitening(features)
            features = features @ kernel + bias
            outputs = tf.nn.relu(features @ weights["content_0/kernel"]) @ weights["content_1/kernel"]
            content = _nt_xent(outputs) if labels is None else _cross_entropy(outputs, labels)
            guesses = features @ weights["damage/kernel"] + weights["damage/bias"]
            errors = tf.reduce_mean((guesses - damages) ** 2, axis=0)
            loss = content + _DAMAGE_WEIGHT * tf.reduce_mean(errors)
        self._optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
        return tf.concat([[content], errors], axis=0)

    def _views(self, images):
        """Moves and damages images [N, side, side]; returns them and how much each took of each damage, [N, 5]."""
        count, side = images.shape[:2]
        amounts = tf.nn.relu(self._random.uniform([count, len(_DAMAGES)], -2.0, 1.0))  # two of three take nothing
        blur, pixelation, noise, contrast, warp = (amounts[:, i, None, None] for i in range(len(_DAMAGES)))
        images = _sample(images, *self._places(count, side, warp))
        contrast *= tf.sign(self._random.uniform([count, 1, 1], -1.0, 1.0))
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
        images = mean + (images - mean) * 2.0**contrast
        mixing = _pixelate(pixelation, side) @ _blur(blur, side)
        images = mixing @ images @ tf.linalg.matrix_transpose(mixing)
        images += 0.15 * noise * self._random.normal(images.shape)
        amounts = tf.concat([amounts[:, :3], contrast[:, 0], amounts[:, 4:]], axis=1)
        return tf.clip_by_value(images, 0.0, 1.0), amounts

    def _places(self, count, side, warp):
        """Where each pixel of the moved images comes from: rows and columns, float [N, side, side]."""

        def uniform(limit):
            return self._random.uniform([count, 1, 1], -limit, limit)

        grid = tf.range(side, dtype=tf.float32) - (side - 1) / 2
        rows, columns = grid[:, None], grid[None, :]
        if self._data.labels is None:  # a mirrored face is a face, a mirrored digit is none
            columns = columns * tf.sign(uniform(1.0))
        # Every second image is shifted by whole pixels alone: the others lose sharpness as they are turned.
        turned = tf.nn.relu(tf.sign(uniform(1.0)))
        angle, zoom = turned * uniform(0.15), tf.exp(turned * uniform(0.1))
        rows, columns = (
            zoom * (tf.cos(angle) * rows - tf.sin(angle) * columns) + tf.round(uniform(0.08 * side)),
            zoom * (tf.sin(angle) * rows + tf.cos(angle) * columns) + tf.round(uniform(0.08 * side)),
        )
        field = tf.image.resize(self._random.normal([count, 5, 5, 2]), (side, side), "bicubic")
        field *= 0.08 * side * warp[..., None]
        return rows + field[..., 0] + (side - 1) / 2, columns + field[..., 1] + (side - 1) / 2

    def whitened_weights(self):
        """Returns the network's weights such that the features of the training images' views are white.

        Of the views, not of the images themselves: those have next to no damage, and the least of it would count for
        more than all that a picture shows.
        """
        weights = {name: self._weights[name].numpy() for name in feature_networks.weight_shapes(self._network)}
        chunks = np.array_split(np.arange(len(self._data)), -(-len(self._data) // self._options.batch_size))
        views = [self._views(self._images(chunk))[0][..., None] for chunk in chunks]
        features = tf.concat([feature_networks.apply(self._network, weights, view) for view in views], axis=0)
        kernel, bias = (array.numpy() for array in _whitening(features))
        weights["features/bias"] = weights["features/bias"] @ kernel + bias
        weights["features/kernel"] = weights["features/kernel"] @ kernel
        return weights


def _initial(seed, name, shape):
    """Zeros for biases and guesses; for the other kernels He's normal numbers, which keep the variance."""
    if name.endswith("bias") or name.startswith("damage"):
        return np.zeros(shape, np.float32)
    scale = np.sqrt(2.0 / np.prod(shape[:-1]))
    return (scale * seeds.generator(seed, name).standard_normal(shape)).astype(np.float32)


def _whitening(features):
    """Returns (kernel [F, F], bias [F]): features @ kernel + bias has mean 0, variances 1 and no correlations."""
    mean = tf.reduce_mean(features, axis=0)
    centred = features - mean
    covariance = tf.transpose(centred) @ centred / tf.cast(tf.shape(features)[0], tf.float32)
    root = tf.linalg.cholesky(covariance + 1e-6 * tf.eye(features.shape[1]))
    kernel = tf.transpose(tf.linalg.triangular_solve(root, tf.eye(features.shape[1])))
    return kernel, -tf.linalg.matvec(kernel, mean, transpose_a=True)


def _cross_entropy(logits, labels):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _nt_xent(outputs):
    """The loss of finding, for each of 2N views, the other one of the same picture: view i belongs to view i +- N."""
    count = outputs.shape[0] // 2
    directions = tf.math.l2_normalize(outputs, axis=1)
    likeness = directions @ tf.transpose(directions) / _TEMPERATURE
    likeness -= 1e9 * tf.eye(2 * count)  # a view is not compared with itself
    return _cross_entropy(likeness, tf.roll(tf.range(2 * count), count, axis=0))


def _sample(images, rows, columns):
    """Returns the images' bilinear values at rows and columns; beyond the edge they are mirrored."""
    last = images.shape[1] - 1
    rows, columns = (last - tf.abs(last - tf.abs(places)) for places in (rows, columns))
    rows, columns = (tf.clip_by_value(places, 0.0, float(last)) for places in (rows, columns))
    top, left = (tf.minimum(tf.floor(places), last - 1.0) for places in (rows, columns))
    down, right = rows - top, columns - left
    flat, corner = tf.reshape(images, [images.shape[0], -1]), tf.cast(top * (last + 1) + left, tf.int32)

    def at(offset):
        return tf.gather(flat, corner + offset, batch_dims=1)

    upper = at(0) * (1 - right) + at(1) * right
    lower = at(last + 1) * (1 - right) + at(last + 2) * right
    return upper * (1 - down) + lower * down


def _blur(amounts, side):
    """Returns matrices [N, side, side] that blur columns with a Gaussian of up to 5 % of the side."""
    distances = tf.range(side, dtype=tf.float32)[:, None] - tf.range(side, dtype=tf.float32)[None, :]
    return tf.nn.softmax(-(distances**2) / (2 * (0.05 * side * amounts + 1e-3) ** 2), axis=-1)


def _pixelate(amounts, side):
    """Returns matrices [N, side, side] that average columns over blocks of up to 10 % of the side."""
    blocks = [np.arange(side) // size for size in range(1, side // 10 + 1)]
    averages = [(block[:, None] == block) / np.bincount(block)[block][:, None] for block in blocks]
    choice = tf.cast(amounts[:, 0, 0] * (len(blocks) - 1e-3), tf.int32)
    return tf.gather(tf.constant(np.stack(averages), tf.float32), choice)


if __name__ == "__main__":
    flags.run(train_features, TrainFeaturesOptions)
