"""Flags that the organiser's commands share, and the images that they name."""

import dataclasses

from gan import digits, flags, records, spec
from gan.arena import rules, sandbox
from gan.errors import InputError
from gan.flags import flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagesOptions(flags.ReadingOptions, flags.SeedOptions):
    """Which images are shown, and how many."""

    input_data_pattern: str = flag("", "record files with the real images that are shown; empty: embedded digits")
    num_generate: int = flag(15, "images that G makes", lower=1)
    num_total_images: int | None = flag(None, "images that D sees; default: twice num_generate", lower=2)

    def __post_init__(self):
        super().__post_init__()
        if self.num_reals < 1:
            raise InputError(
                f"--num_total_images={self.num_total_images}: expected more than --num_generate={self.num_generate}, "
                "the rest are real images"
            )

    @property
    def num_reals(self):
        total = 2 * self.num_generate if self.num_total_images is None else self.num_total_images
        return total - self.num_generate

    def load_images(self, pattern, shape, split):
        """Returns the `records.Records` of a pattern, or embedded digits; see `load_images`."""
        return load_images(pattern, shape, split, num_readers=self.num_readers, max_bad_records=self.max_bad_records)


def load_images(pattern, shape, split, **reading):
    """Returns the `records.Records` that a pattern names; without one, the embedded digits' `split`.

    Args:
      pattern: record files, or "".
      shape: (height, width, channels).
      split: "train" or "validation".
      reading: further arguments of `records.read`.

    Raises:
      InputError: there is no pattern and the images are no digits, or the files cannot be read.
    """
    if pattern:
        return records.read(pattern, shape, **reading)
    if tuple(shape) == digits.SHAPE:
        return digits.load(split)
    raise InputError(
        f"images of {'x'.join(map(str, shape))} are not the embedded digits (28x28x1): give --input_data_pattern"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SandboxOptions(flags.Options):
    """How models run."""

    sandbox: str = flag(
        "require",
        "bubblewrap around every team's worker; auto: where it works; off: for one's own models",
        choices=sandbox.MODES,
    )
    time_limit: float = flag(rules.TIME_LIMIT, "seconds for one team's part of one round", above=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckOptions(ImagesOptions, SandboxOptions, flags.LatentOptions):
    """What a submission is checked with."""

    train_data_pattern: str = flag("", "record files that teams train on: for memorisation and D's training gap")
    validation_data_pattern: str = flag(
        "", "record files that teams do not train on, to compare with; empty: those of input_data_pattern"
    )

    @property
    def contest(self):
        """The `spec.ContestSpec`: the size flags, else 50x50 with record files and 28x28 with the embedded digits."""
        default = spec.ContestSpec().image_shape if self.input_data_pattern else digits.SHAPE
        return spec.ContestSpec(*(self.image_shape or default), self.latent_size)

    def load_reals(self):
        """Returns the pool of real images that are shown."""
        return self.load_images(self.input_data_pattern, self.contest.image_shape, "validation")

    def load_training(self):
        """Returns the images that teams train on, or None where they are not named."""
        if self.train_data_pattern or self._plays_digits:
            return self.load_images(self.train_data_pattern, self.contest.image_shape, "train")
        return None

    def load_validation(self):
        """Returns real images that teams do not train on, where others than the pool are named, else None."""
        if not self.validation_data_pattern:
            return None
        return self.load_images(self.validation_data_pattern, self.contest.image_shape, "validation")

    @property
    def _plays_digits(self):
        return not self.input_data_pattern and self.contest.image_shape == digits.SHAPE


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlayOptions(CheckOptions):
    """How matches are played."""

    tie_break: str = flag(
        "time",
        "a tie goes to less running time, or first to an extra round, or straight to the better seed",
        choices=rules.TIE_BREAKS,
    )
    disguise: bool = flag(False, "show all images flipped and shifted in one secret way, against lists of known images")
    workers: int | None = flag(
        None,
        "teams kept loaded at once on a machine, some 200 MB each; default: as many as half of its free memory holds",
        lower=2,
    )
