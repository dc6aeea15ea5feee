"""Follows how good and how varied a run's generated images are, while it trains.

A generator that collapses makes few images again and again. Its losses look well all the while, so the images are
compared with each other, by their distances in features. Where all are alike the mean distance is small (`variety`);
where a few different ones come again and again, that to the one most like it (`distinctness`). Both are divided by what
they are for as many real images.
"""

import dataclasses
import functools
import itertools

import numpy as np
from etils import epy

from gan import random_noise_generator, seeds, storage

with epy.lazy_imports():
    from gan import feature_networks, metrics

NUM_VARIETY = 64  # generated images that are compared with each other at each picture
NUM_MEASURED = 1000  # real and generated images at each export
# Of variety or distinctness. Generators that have not collapsed reach over 0.9, dense layers 0.6; a G that makes 20
# different images with a little noise has a distinctness of 0.1.
COLLAPSED = 0.4
_LASTING = 15_000  # training images for which it is below that, in every look, before a run is warned
_WARM_UP = 20_000  # training images before which nothing is said: the first generated images of every run are alike


@dataclasses.dataclass(frozen=True)
class Look:
    """What was seen at one step.

    Attributes:
      step: the training step.
      variety: mean pairwise feature distance of generated images over that of real ones; 1 is as it should be.
      collapsed: whether this or `distinctness` has been too small for some time.
      kid, frechet: distances to real images, see `gan.metrics`; None between exports.
      distinctness: mean feature distance of a generated image to the one most like it, over that of real ones; None in
        looks of earlier versions.
    """

    step: int
    variety: float
    collapsed: bool
    kid: float | None = None
    frechet: float | None = None
    distinctness: float | None = None

    @property
    def is_low(self):
        """Whether G would have collapsed, if it stays so."""
        return min(self.variety, 1.0 if self.distinctness is None else self.distinctness) < COLLAPSED


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
    def _usual_distances(self):
        """Mean distance between real images, and that to the nearest among as many as are generated for a look."""
        count = min(NUM_VARIETY, len(self._real))
        blocks = [self._real[i : i + count] for i in range(0, len(self._real) - count + 1, count)]
        usual = metrics.mean_distance(self._real), np.mean([metrics.nearest_distance(block) for block in blocks])
        return [max(float(distance), metrics.LEAST_DISTANCE) for distance in usual]

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
        usual_distance, usual_nearest = self._usual_distances
        found = Look(
            step,
            variety=metrics.mean_distance(features) / usual_distance,
            collapsed=False,
            distinctness=metrics.nearest_distance(features[: min(NUM_VARIETY, len(self._real))]) / usual_nearest,
        )
        if closely:
            kid, frechet = metrics.kid(self._real, features), metrics.frechet_distance(self._real, features)
            found = dataclasses.replace(found, kid=kid, frechet=frechet)
        self._looks[step] = dataclasses.replace(found, collapsed=self._is_lasting(found))
        return self._looks[step]

    def _is_lasting(self, newest):
        """Whether the images have been too much alike in every look for some time."""
        images = {look.step * self._batch_size: look for look in self._looks.values() if look.step < newest.step}
        looks = [(count, look) for count, look in images.items() if count >= _WARM_UP]
        low = list(itertools.takewhile(lambda counted: counted[1].is_low, reversed(looks)))
        return newest.is_low and bool(low) and newest.step * self._batch_size - low[-1][0] >= _LASTING

    def write(self):
        """Writes the file anew."""
        facts = {"network": self._network.name, "looks": [dataclasses.asdict(look) for look in self._looks.values()]}
        storage.write_json(self._file, facts)
