"""Plays one direction of a battle: one team's generator against the other team's discriminator."""

import dataclasses
import math
import statistics
import time

import numpy as np

from gan import pictures, random_noise_generator, seeds, spec
from gan.arena import rules
from gan.arena.subgraph import SubmissionError

_TIMED_CALLS = 5


@dataclasses.dataclass(frozen=True)
class Direction:
    """What happened.

    Attributes:
      pngs: the images as PNG files, in the order in which D saw them.
      truth: 1 for each real image, 0 for each generated one, in that order.
      p: D's belief in each, as floats.
      seconds: {"generator": [...], "discriminator": [...]}, the timed calls.
    """

    pngs: list
    truth: list
    p: list
    seconds: dict

    @property
    def score(self):
        return rules.score(self.p, self.truth)

    def score_on(self, real):
        """Returns the right verdicts on the real (1) or on the generated (0) images."""
        pairs = [(p, truth) for p, truth in zip(self.p, self.truth, strict=True) if truth == real]
        return rules.score(*zip(*pairs, strict=True)) if pairs else 0

    def timing(self):
        """Returns {"generator", "discriminator"}: the median of the timed calls in seconds, and their spread."""
        return {
            side: {"median": statistics.median(calls), "spread": max(calls) - min(calls), "calls": calls}
            for side, calls in self.seconds.items()
        }


def play(generator, discriminator, reals, contest, num_generate, seed):
    """Lets D judge G's images among real ones.

    Both see 8-bit PNG files and nothing else, so neither can tell the kinds apart by their rounding.

    Args:
      generator: function of latent vectors [N, latent_size]; returns images [N, image_size] in [0, 1].
      discriminator: function of images; returns p [N, 1].
      reals: uint8 [M, image_size].
      contest: the `spec.ContestSpec`.
      num_generate: how many images G makes.
      seed: decides latent vectors and order.

    Raises:
      SubmissionError: an output breaks the contract.
    """
    noise = random_noise_generator.generate_noise(num_generate, contest.latent_size, seeds.generator(seed, "noise"))
    images = generator(noise)
    _refuse("generator", spec.image_fault(images, num_generate, contest))
    generated = spec.to_8bit(images)
    _refuse("generator", spec.variety_fault(generated))

    order = seeds.generator(seed, "order").permutation(num_generate + len(reals))
    shape = contest.image_shape
    pngs = [
        pictures.encode(pictures.squeeze_gray(pixels.reshape(shape)), "PNG")
        for pixels in np.concatenate([generated, reals])[order]
    ]
    truth = [int(place >= num_generate) for place in order]
    shown = spec.from_8bit(np.stack([pictures.decode(png).ravel() for png in pngs]))
    p = discriminator(shown)
    _refuse("discriminator", spec.prediction_fault(p, len(shown)))

    seconds = _time_interleaved(
        {
            "generator": (lambda: generator(noise), images),
            "discriminator": (lambda: discriminator(shown), p),
        }
    )
    return Direction(pngs, truth, [float(belief) for belief in p[:, 0]], seconds)


def _refuse(side, fault):
    if fault:
        raise SubmissionError(f"{side}: {fault}")


def _time_interleaved(calls):
    """Times each call five times, taking turns, so that a slow moment of the machine meets both sides.

    The calls before this were the warm-up. A call that does not repeat its first output is a fault.
    """
    seconds = {side: [] for side in calls}
    for _ in range(_TIMED_CALLS):
        for side, (call, first) in calls.items():
            start = time.perf_counter()
            output = call()
            seconds[side].append(time.perf_counter() - start)
            same_kind = output.shape == first.shape and output.dtype == first.dtype
            difference = float(np.max(np.abs(output - first))) if same_kind else math.inf
            if not difference <= rules.REPEAT_TOLERANCE:
                raise SubmissionError(
                    f"{side}: the same input gave outputs that differ by {difference:.2g}, at most "
                    f"{rules.REPEAT_TOLERANCE} is allowed: export with training off, without dropout or noise"
                )
    return seconds
