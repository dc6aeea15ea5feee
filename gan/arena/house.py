"""House opponents: generators that nobody trained against, for scale in a league.

    noise   every pixel uniform: the least that a D must see through
    mean    the mean training image, always the same: what a D that knows only "roughly a face" falls for
    replay  real training images: the most that a G can reach; a D that knows its training set by heart falls for it

They have no D, and the variety rule does not bind them: `mean` repeats its image, and `replay` may have few.
The fourth house opponent, the sample model, is a submission like any other (`SAMPLE_MODELS`): frozen weights that
`gan.train` made, see `house_models/README.md`.
"""

import pathlib
import zlib

import numpy as np

from gan import spec, storage

SAMPLE_MODELS = {
    (28, 28, 1): "sample_28x28",
    (50, 50, 1): "sample_50x50",
}
GENERATORS = ("Noise", "Mean", "Replay")
LATENT_SIZE = 100
_MAX_TRAINING_IMAGES = 20_000
_FOLDER = pathlib.Path(__file__).parent / "house_models"


def title(name):
    """Returns the name under which a house opponent plays."""
    return f"House: {name}"


def slug(name):
    """Returns its name for files; a team's slug never looks like it, because that ends in a hash."""
    return f"house-{name.lower()}"


class _HouseGenerator:
    """Looks like a `player.Player` and cannot fail; what it makes follows from the latents alone."""

    has_discriminator = False
    exempt_from_variety = True

    def start_part(self):
        """Time is not limited here."""

    def generate(self, noise):
        rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(noise).tobytes()))
        return self._images(len(noise), rng)


class Noise(_HouseGenerator):
    """Uniform noise of `image_size` pixels."""

    def __init__(self, image_size):
        self._image_size = image_size

    def _images(self, count, rng):
        return rng.random((count, self._image_size), np.float32)


class Mean(_HouseGenerator):
    """The mean of the training images, uint8 [N, image_size]."""

    def __init__(self, training_images):
        self._mean = spec.from_8bit(training_images).mean(axis=0)

    def _images(self, count, rng):
        return np.tile(self._mean, (count, 1))


class Replay(_HouseGenerator):
    """Training images, uint8 [N, image_size], as they are."""

    def __init__(self, training_images):
        self._images_8bit = training_images

    def _images(self, count, rng):
        return spec.from_8bit(self._images_8bit[rng.permutation(len(self._images_8bit))[:count]])


def generators(contest, training):
    """Returns {name: generator} of those that need no weights.

    Args:
      contest: the `spec.ContestSpec`.
      training: `records.Records`, or None: then Mean and Replay stay away.
    """
    found = {"Noise": Noise(contest.image_size)}
    if training is not None:
        pixels = training.pixels.take(np.arange(min(len(training), _MAX_TRAINING_IMAGES)))
        found |= {"Mean": Mean(pixels), "Replay": Replay(pixels)}
    return found


def sample_model(image_shape):
    """Returns the folder of the frozen sample model for images of this shape, or None where there is none."""
    name = SAMPLE_MODELS.get(tuple(image_shape))
    folder = _FOLDER / (name or "")
    return storage.path(str(folder)) if name and folder.exists() else None
