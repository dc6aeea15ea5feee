"""Follows how good and how varied a run's generated images are, while it trains.

A generator that collapses makes few images again and again. Its losses look well all the while, so the images are
compared with each other: their mean distance in features, divided by that of real images.
"""

import dataclasses
import functools

from etils import epy

from gan import random_noise_generator, seeds, storage

with epy.lazy_imports():
    from gan import feature_networks, metrics

NUM_VARIETY = 64  # generated images that are compared with each other at each picture
NUM_MEASURED = 1000  # real and generated images at each export
COLLAPSED = 0.4  # of the variety of real images; trained generators that have not collapsed reach over 0.8
_LOOKS = 3  # in a row that are below it before a run is warned
_WARM_UP = 20_000  # training images before which nothing is said: the first generated images of every run are alike


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen at one step.

    Attributes:
      step: the training step.
      variety: mean pairwise feature distance of generated images over that of real ones; 1 is as it should be.
      collapsed: whether it has been too small for some time.
      kid, frechet: distances to real images, see `gan.metrics`; None between exports.
    """

    step: int
    variety: float
    collapsed: bool
    kid: float | None = None
    frechet: float | None = None


class SampleQuality:
    """Looks at the generated images of a run and keeps what it saw in `train_dir/quality.json`.

    Args:
      data: the training `Records`.
      options: `TrainOptions`.
      file: where the looks are kept; those of steps after `first_step` are dropped.
      first_step: where this session begins.
    """

    def __init__(self, data, options, file, first_step):
        self._batch_size = options.batch_size
        self._shape = data.shape
        self._network = feature_networks.load(feature_networks.choose(data.shape))
        rows = seeds.generator(options.seed, "quality").permutation(len(data))[:NUM_MEASURED]
        self._real_pixels = data.pixels.take(rows)
        rng = seeds.generator(options.seed, "quality noise")
        self._noise = random_noise_generator.generate_noise(NUM_MEASURED, options.latent_size, rng)
        self._file = file
        kept = storage.read_json(file)["looks"] if file.exists() else []
        self._looks = {look["step"]: Look(**look) for look in kept if look["step"] <= first_step}

    @functools.cached_property
    def _real(self):
        """Features of real images: a second's work, which is left to the first look."""
        return self._network.features(self._real_pixels, self._shape)

    @functools.cached_property
    def _usual_distance(self):
        return max(metrics.mean_distance(self._real), metrics.LEAST_DISTANCE)

    def look(self, step, generate, closely=False):
        """Looks at the images of a step.

        Args:
          step: the step.
          generate: turns noise into images, uint8 [N, height * width * channels].
          closely: measure `kid` and `frechet` as well.

        Returns:
          The `Look`.
        """
        noise = self._noise if closely else self._noise[:NUM_VARIETY]
        features = self._network.features(generate(noise), self._shape)
        variety = metrics.mean_distance(features) / self._usual_distance
        steps = [earlier for earlier in self._looks if earlier * self._batch_size >= _WARM_UP and earlier < step]
        before = [self._looks[earlier].variety for earlier in steps]
        newest = [*before, variety][-_LOOKS:]
        collapsed = len(newest) == _LOOKS and max(newest) < COLLAPSED
        found = Look(step, variety, collapsed)
        if closely:
            kid, frechet = metrics.kid(self._real, features), metrics.frechet_distance(self._real, features)
            found = dataclasses.replace(found, kid=kid, frechet=frechet)
        self._looks[step] = found
        return found

    def write(self):
        """Writes the file anew."""
        facts = {"network": self._network.name, "looks": [dataclasses.asdict(look) for look in self._looks.values()]}
        storage.write_json(self._file, facts)
