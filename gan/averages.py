"""Moving averages of the trained weights: G's images shift from step to step, their average is better than each."""

# An average reaches back over this share of the images so far at most: the first steps taught the networks little.
_WARM_UP = 0.05


class Averages:
    """Keeps the networks that battle at the average of the trained ones, or at a copy.

    The half-life grows with the images so far (Karras et al. 2020, StyleGAN2-ADA's `ema_rampup`).

    Args:
      trained, battling: {"generator", "discriminator"}: networks of the same class.
      options: `TrainOptions`.
    """

    def __init__(self, trained, battling, options):
        self._half_life = options.average_half_life
        self._batch_size = options.batch_size
        wanted = {"generator": True, "discriminator": options.average_discriminator}
        self._averaged, self._copied = {}, {}
        for name, is_wanted in wanted.items():
            kept = self._averaged if self._half_life and is_wanted else self._copied
            kept[name] = list(zip(battling[name].variables, trained[name].variables, strict=True))

    def memory(self, step):
        """Returns the share of an average that stays in training step `step` (from 0), in [0, 1)."""
        half_life = min(self._half_life, _WARM_UP * step * self._batch_size)
        return 0.5 ** (self._batch_size / half_life) if half_life else 0.0

    def move(self, memory):
        """Moves the averages towards the trained weights; a part of the traced training step."""
        for average, trained in _pairs(self._averaged):
            now = trained.value
            average.assign(now + memory * (average.value - now) if now.dtype.is_floating else now)

    def catch_up(self):
        """Copies what is not averaged."""
        for copy, trained in _pairs(self._copied):
            copy.assign(trained.value)

    def variables(self):
        """Returns {"generator_average": variables, ...}: what only a save can bring back."""
        return {f"{name}_average": [average for average, _ in pairs] for name, pairs in self._averaged.items()}


def _pairs(by_network):
    return [pair for pairs in by_network.values() for pair in pairs]
