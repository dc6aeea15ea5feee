"""The battle contract: names, shapes and ranges that a submission must meet, as plain data and pure checks.

Images travel as float32 [N, height * width * channels] in [0, 1], row by row, 0 black and 1 white. A submission holds
a generator (`noise_input_placeholder` -> `generated_images`) and a discriminator (`input_batch_raw` -> `p_for_data`).
"""

import dataclasses
import math

import numpy as np

from gan import random_noise_generator
from gan.errors import InputError

NOISE = "noise_input_placeholder"
IMAGES = "generated_images"
RAW = "input_batch_raw"
P = "p_for_data"

# How far outside [0, 1] rounding may carry an image before it is a fault.
RANGE_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Role:
    """One half of a submission: the contract's input and output and the SavedModel signature that joins them."""

    name: str
    input: str
    output: str
    signature: str


GENERATOR = Role("generator", NOISE, IMAGES, "generate")
DISCRIMINATOR = Role("discriminator", RAW, P, "discriminate")
ROLES = (GENERATOR, DISCRIMINATOR)


@dataclasses.dataclass(frozen=True)
class ContestSpec:
    """What a contest may set: the size of an image in pixels, its channels (1 gray, 3 RGB) and the latent size."""

    height: int = 50
    width: int = 50
    channels: int = 1
    latent_size: int = random_noise_generator.get_dim()

    @property
    def image_size(self):
        """Numbers in one flattened image."""
        return self.height * self.width * self.channels

    @property
    def image_shape(self):
        return (self.height, self.width, self.channels)

    def input_size(self, role):
        return self.latent_size if role is GENERATOR else self.image_size

    def output_size(self, role):
        return self.image_size if role is GENERATOR else 1

    def __str__(self):
        return f"{self.height}x{self.width}x{self.channels}"


def spec_for_image_size(size):
    """Guesses the contest from the length of a flattened image: a gray square, else an RGB square.

    Raises:
      InputError: no square has that many numbers.
    """
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if side * side * channels == size:
            return ContestSpec(side, side, channels)
    raise InputError(
        f"images of {size} numbers are neither a gray nor an RGB square; "
        "set --image_height, --image_width and --image_channels"
    )


def to_8bit(images):
    """Returns images in [0, 1] as uint8, clipped and rounded: the pixels that both sides of a battle see."""
    return np.rint(np.clip(images, 0.0, 1.0) * 255.0).astype(np.uint8)


def from_8bit(pixels):
    """Returns uint8 pixels as float32 in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255.0)


def image_fault(images, count, spec):
    """Says what is wrong with a generator's output.

    Args:
      images: the array that the generator returned for `count` latent vectors.
      count: number of images asked for.
      spec: the `ContestSpec`.

    Returns:
      None where the contract is met, else one sentence: what is wrong and what to change.
    """
    wanted = (count, spec.image_size)
    if not _holds_real_numbers(images):
        return f"images are of type {images.dtype}, not floats"
    if images.shape != wanted:
        advice = ""
        if images.ndim > 2 and math.prod(images.shape) == math.prod(wanted):
            advice = f": flatten the output, for instance with keras.layers.Reshape(({spec.image_size},))"
        elif images.shape[:1] != wanted[:1]:
            advice = ": the batch size seems to be fixed in the model; use -1 or None for it"
        return f"images have shape {_shape(images)}, not {list(wanted)}{advice}"
    if not np.all(np.isfinite(images)):
        return f"{np.count_nonzero(~np.isfinite(images))} pixel values are not finite numbers"
    low, high = float(images.min()), float(images.max())
    if low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE:
        return None
    if low >= -1.001 and high <= 1.001:
        advice = "it looks like tanh: map it with (x + 1) / 2, or end in a sigmoid"
    elif low >= 0 and high <= 256:
        advice = "it looks like 0 to 255: divide by 255"
    else:
        advice = "end the generator in a sigmoid"
    return f"images lie in [{low:.3g}, {high:.3g}], not in [0, 1]: {advice}"


def variety_fault(pixels):
    """Returns None where the uint8 images [N, D] are pairwise different, else one sentence."""
    distinct = len(np.unique(pixels, axis=0))
    if distinct == len(pixels):
        return None
    return f"only {distinct} of {len(pixels)} images are different: the generator must not repeat an image"


def prediction_fault(p, count):
    """Says what is wrong with a discriminator's output for `count` images and what to change, or returns None."""
    if not _holds_real_numbers(p):
        return f"p is of type {p.dtype}, not float"
    if p.shape != (count, 1):
        advice = (
            ": the batch size seems to be fixed in the model; use -1 or None for it" if p.shape[:1] != (count,) else ""
        )
        return f"p has shape {_shape(p)}, not {[count, 1]}{advice}"
    if not np.all(np.isfinite(p)):
        return f"{np.count_nonzero(~np.isfinite(p))} values of p are not finite numbers"
    low, high = float(p.min()), float(p.max())
    if low < 0 or high > 1:
        return f"p lies in [{low:.3g}, {high:.3g}], not in [0, 1]: these look like logits; apply a sigmoid"
    return None


def is_real(p):
    """D says "real" if and only if p > 0.5; exactly 0.5 is "generated". Works on numbers, arrays and tensors."""
    return p > 0.5


def _holds_real_numbers(array):
    """Whether an array holds real numbers, not text or complex ones."""
    return array.dtype.kind in "fiu"


def _shape(array):
    return list(array.shape)
