"""Moving averages of the trained weights: G's images shift from step to step, their average is better than each."""

import keras

# An average reaches back over this share of the images so far at most: the first steps taught the networks little.
_WARM_UP = 0.05


class Averages:
    """Keeps moving averages of the trained networks, and brings the networks that battle up to them or to a copy.

    The half-life grows with the images so far (Karras et al. 2020, StyleGAN2-ADA's `ema_rampup`).

    Args:
      trained, battling: {"generator", "discriminator" and maybe "guard"}: networks of the same class, with the same
        weights.
      options: `TrainOptions`.
    """

    def __init__(self, trained, battling, options):
        self._half_life = options.average_half_life
        self._batch_size = options.batch_size
        wanted = {"generator": True, "discriminator": options.average_discriminator, "guard": True}
        self._averages, self._trained, self._shown = {}, [], []
        for name, network in trained.items():
            sources = network.variables
            if self._half_life and wanted[name]:
                sources = self._averages[name] = [_like(variable) for variable in battling[name].variables]
                self._trained += network.variables
            self._shown += zip(battling[name].variables, sources, strict=True)

    def memory(self, step):
        """Returns the share of an average that stays in training step `step` (from 0), in [0, 1)."""
        half_life = min(self._half_life, _WARM_UP * step * self._batch_size)
        return 0.5 ** (self._batch_size / half_life) if half_life else 0.0

    def move(self, memory):
        """Moves the averages towards the trained weights; a part of the traced training step."""
        averages = [average for averages in self._averages.values() for average in averages]
        for average, trained in zip(averages, self._trained, strict=True):
            now = trained.value
            average.assign(now + memory * (average.value - now) if now.dtype.is_floating else now)

    def catch_up(self):
        """Brings what battles up to the newest step; between two such moments it stays as it is."""
        for shown, source in self._shown:
            shown.assign(source.value)

    def variables(self):
        """Returns {"generator_average": variables, ...}: what only a save can bring back."""
        return {f"{name}_average": averages for name, averages in self._averages.items()}


def _like(variable):
    return keras.Variable(variable.numpy(), trainable=False, dtype=variable.dtype, name=variable.name)
