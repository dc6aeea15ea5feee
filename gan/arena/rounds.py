"""One round: generators make images, discriminators judge them among real ones.

A model takes part through two functions of arrays (`generate`, `discriminate`) that may raise `Fault`. Both sides see
8-bit PNG files and nothing else, so that nothing but the picture tells a generated image from a real one.

`play` plays a round between two teams that are there. `deal` and `judge` are its halves, one G and one D, for contests
in which the same images are judged by many.
"""

import dataclasses
import math
import statistics
import time

import numpy as np

from gan import pictures, random_noise_generator, seeds, spec
from gan.arena import rules
from gan.errors import Fault

COLUMNS = 10  # images in one row of a sheet


@dataclasses.dataclass(frozen=True)
class Terms:
    """What holds for every round of a contest.

    Attributes:
      contest: the `spec.ContestSpec`.
      num_generate, num_reals: images of each kind in one direction.
      disguise: show all images flipped, shifted and cropped in one secret way, so that a list of known images is of no
        use to D.
      timed: measure running times.
      time_limit: seconds for one team's part of one round.
    """

    contest: spec.ContestSpec
    num_generate: int = 15
    num_reals: int = 15
    disguise: bool = False
    timed: bool = True
    time_limit: float = rules.TIME_LIMIT

    @property
    def out_of(self):
        return self.num_generate + self.num_reals


@dataclasses.dataclass(frozen=True)
class Hand:
    """The images that a G makes for a round.

    Attributes:
      pixels: uint8 [num_generate, image_size]; None where G failed.
      failure: the `Fault` then, else None.
    """

    pixels: np.ndarray | None = None
    failure: Fault | None = None


@dataclasses.dataclass
class Direction:
    """One team's G against another team's D.

    Attributes:
      generator, discriminator: keys of the two teams.
      truth: 1 for each real image, 0 for each generated one, in the order in which D saw them.
      p: D's belief in each; empty where one side failed.
      shown: the images in that order, uint8 [N, image_size]; None where G failed.
      sheet: the same as one PNG file, `COLUMNS` in a row.
      failure: the `Fault` that ended it, or None.
      seconds: {"generator": [...], "discriminator": [...]}, the timed calls.
      out_of: images.
    """

    generator: str
    discriminator: str
    out_of: int
    truth: list = dataclasses.field(default_factory=list)
    p: list = dataclasses.field(default_factory=list)
    shown: np.ndarray | None = None
    sheet: bytes | None = None
    failure: Fault | None = None
    seconds: dict = dataclasses.field(default_factory=dict)

    @property
    def points(self):
        return rules.points(self.p, self.truth if self.p else [], self.failure and self.failure.side, self.out_of)

    def right_on(self, real):
        """Returns the right verdicts on the real (1) or on the generated (0) images."""
        return sum(rules.verdict(p) == truth == real for p, truth in zip(self.p, self.truth, strict=False))


def play(players, pairs, reals, terms, seed, noise_seed=None):
    """Plays one round.

    Args:
      players: {key: object with `generate`, `discriminate`, `start_part` and `exempt_from_variety`}.
      pairs: (key of the generator, key of the discriminator) for each direction.
      reals: uint8 [num_reals, image_size], the same in all directions.
      terms: the `Terms`.
      seed: decides orders, and latents too unless they have a seed of their own.
      noise_seed: decides the latents.

    Returns:
      A `Direction` for each pair.
    """
    for player in players.values():
        player.start_part()
    directions, timed = [], []
    for generator, discriminator in pairs:
        direction = Direction(generator, discriminator, terms.out_of)
        directions.append(direction)
        made = _making(players[generator], terms, seed if noise_seed is None else noise_seed)
        hand = _hand(made, players[generator], terms)
        judged = _judge(direction, hand, players[discriminator], reals, terms, seed)
        timed += [(direction, made), (direction, judged)]
    if terms.timed:
        _time_interleaved(timed)
    return directions


def deal(player, terms, noise_seed):
    """Has one G make its images for a round.

    Args:
      player: as for `play`.
      terms: the `Terms`.
      noise_seed: decides the latents.

    Returns:
      A `Hand`.
    """
    player.start_part()
    return _hand(_making(player, terms, noise_seed), player, terms)


def judge(generator, discriminator, hand, player, reals, terms, seed):
    """Has one D tell a G's images from real ones; nothing is timed.

    Args:
      generator, discriminator: keys of the two teams.
      hand: the generator's `Hand`.
      player: that of the discriminator.
      reals, terms, seed: as for `play`.

    Returns:
      The `Direction`.
    """
    player.start_part()
    direction = Direction(generator, discriminator, terms.out_of)
    _judge(direction, hand, player, reals, terms, seed)
    return direction


def _making(player, terms, noise_seed):
    noise = random_noise_generator.generate_noise(
        terms.num_generate, terms.contest.latent_size, seeds.generator(noise_seed, "noise")
    )
    return _Part(spec.GENERATOR, player.generate, noise)


def _hand(made, player, terms):
    try:
        return Hand(spec.to_8bit(made.first_output(lambda images: _image_fault(images, player, terms))))
    except Fault as fault:
        return Hand(failure=fault)


def _judge(direction, hand, player, reals, terms, seed):
    """Fills in a direction; returns D's `_Part`, or None where there was nothing to judge."""
    if hand.failure:
        direction.failure = hand.failure
        return None
    pixels, shape = np.concatenate([hand.pixels, reals]), terms.contest.image_shape
    if terms.disguise:
        pixels = _disguise(pixels, shape, seeds.generator(seed, "disguise"))
    order = seeds.generator(seed, "order", direction.generator).permutation(len(pixels))
    direction.truth = [int(place >= terms.num_generate) for place in order]
    direction.sheet = pictures.encode(pictures.grid(pixels[order], shape, COLUMNS), "PNG")

    direction.shown = pictures.cells(pictures.decode(direction.sheet), shape, COLUMNS, len(pixels))
    images = spec.from_8bit(direction.shown)
    judged = _Part(spec.DISCRIMINATOR, player.discriminate, images)
    try:
        p = judged.first_output(lambda p: spec.prediction_fault(p, len(images)))
        judged.probe(seeds.generator(seed, "probe", direction.generator), p)
    except Fault as fault:
        direction.failure = fault
        return judged
    direction.p = [float(belief) for belief in p[:, 0]]
    return judged


def _image_fault(images, player, terms):
    fault = spec.image_fault(images, terms.num_generate, terms.contest)
    if fault or player.exempt_from_variety:
        return fault
    return spec.variety_fault(spec.to_8bit(images))


def _disguise(pixels, shape, rng):
    """Flips, shifts and crops all images in one way; what is left of the border is repeated at the edge."""
    images = pixels.reshape(-1, *shape)
    if rng.random() < 0.5:
        images = images[:, :, ::-1]
    margin = max(1, min(shape[:2]) // 16)
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    top, left = rng.integers(0, 2 * margin + 1, 2)
    return padded[:, top : top + shape[0], left : left + shape[1]].reshape(len(pixels), -1)


class _Part:
    """One model's share in one direction: one retry, then its fault is the direction's."""

    def __init__(self, role, call, batch):
        self.role = role
        self._call = call
        self._batch = batch
        self._retries = rules.RETRIES
        self._output = None

    def first_output(self, fault_of):
        """Returns the output, in which `fault_of` finds nothing wrong.

        Raises:
          Fault: there is none, twice.
        """

        def checked():
            output = self._call(self._batch)
            if fault := fault_of(output):
                raise Fault(self.role.name, fault)
            return output

        self._output = self._with_retry(checked)
        return self._output

    def probe(self, rng, output):
        """Asks about half of the images once more, in another order: the answers must be the same.

        Raises:
          Fault: D looks at the batch, not at the image.
        """
        some = rng.permutation(len(output))[: max(1, len(output) // 2)]

        def alone():
            if fault := repeat_fault(output[some], self._call(self._batch[some])):
                raise Fault(self.role.name, f"p depends on the other images of the batch: {fault}")

        self._with_retry(alone)

    def time(self):
        """Returns the seconds of one more call, which must repeat the first output.

        Raises:
          Fault: it does not, twice.
        """
        return self._with_retry(self._timed)

    def _timed(self):
        begin = time.perf_counter()
        output = self._call(self._batch)
        seconds = time.perf_counter() - begin
        if fault := repeat_fault(self._output, output):
            raise Fault(self.role.name, fault)
        return seconds

    def _with_retry(self, call):
        while True:
            try:
                return call()
            except Fault:
                if not self._retries:
                    raise
                self._retries -= 1


def repeat_fault(first, second):
    """Returns None where two outputs for the same input are equal within the tolerance, else one sentence."""
    same_kind = first.shape == second.shape and first.dtype == second.dtype
    difference = largest_difference(first, second) if same_kind else math.inf
    if difference <= rules.REPEAT_TOLERANCE:
        return None
    return (
        f"the same input gave outputs that differ by {difference:.2g}, at most {rules.REPEAT_TOLERANCE} is allowed: "
        "export with training off, without dropout or noise"
    )


def largest_difference(first, second):
    """Returns the largest distance between two numbers in the same place of two arrays of one shape."""
    return float(np.max(np.abs(second.astype(np.float64) - first.astype(np.float64)), initial=0.0))


def _time_interleaved(parts):
    """Calls all models in turn, so that a slow moment of the machine meets every team. The first calls were warm-up.

    Args:
      parts: (`Direction`, `_Part`) for each model; the seconds, or the fault, are noted in the direction.
    """
    for _ in range(rules.TIMED_CALLS):
        for direction, part in parts:
            if direction.failure is None:
                try:
                    seconds = part.time()
                except Fault as fault:
                    direction.failure = fault
                    direction.p = []
                else:
                    direction.seconds.setdefault(part.role.name, []).append(seconds)


def median_and_spread(calls):
    """Returns the median of timed calls and how far they lie apart, in seconds."""
    return statistics.median(calls), max(calls) - min(calls)
