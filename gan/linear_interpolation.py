"""Draws a 10x10 grid of generated images between four latent corners.

python -m gan.linear_interpolation --train_dir=my_run --output_file=interpolation.png
"""

import pathlib

if not __package__:  # `python gan/linear_interpolation.py` works like `python -m gan.linear_interpolation`
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import math

import numpy as np
from etils import epy

from gan import flags, pictures, random_noise_generator, seeds, spec, storage
from gan.arena import options as arena_options
from gan.errors import Fault, InputError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import player, sandbox

_SIDE = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterpolationOptions(flags.SizeOptions, flags.SeedOptions, arena_options.SandboxOptions):
    """Flags of `gan.linear_interpolation`."""

    train_dir: str = flag("/tmp/kmlc_gan_train/", "submission whose generator draws")
    output_file: str = flag("interpolation.png", "picture to write")
    sandbox: str = flags.inherit(arena_options.SandboxOptions, "sandbox", "auto")
    interpolation: str = flag(
        "linear", "the way between two latents: a straight line, or an arc of even speed", choices=("linear", "slerp")
    )


def linear_interpolation(options):
    """Writes the grid.

    Args:
      options: `InterpolationOptions`.

    Raises:
      InputError: the submission cannot be used.
    """
    folder = storage.path(options.train_dir)
    with player.visiting(folder, sandbox.resolve(options.sandbox), options.time_limit) as team:
        try:
            latent_size = team.input_size(spec.GENERATOR) or random_noise_generator.get_dim()
            corners = random_noise_generator.generate_noise(4, latent_size, seeds.generator(options.seed, "corners"))
            images = team.generate(latent_grid(corners, options.interpolation, _SIDE))
        except Fault as fault:
            raise InputError(f"{options.train_dir}, {fault.side}: {fault}") from None
    if images.ndim != 2 or not images.size:
        raise InputError(f"{options.train_dir}, generator: images have shape {list(images.shape)}, not [N, image_size]")
    shape = options.image_shape or _shape(folder, images.size // _SIDE**2)
    if fault := spec.image_fault(images, _SIDE**2, spec.ContestSpec(*shape, latent_size)):
        raise InputError(f"{options.train_dir}: {fault}")
    target = storage.path(options.output_file)
    pictures.save_png(target, pictures.grid(images, shape, _SIDE))
    print(f"written: {target}")


def _shape(folder, image_size):
    """The shape that a submission of ours states, where it fits; else a square."""
    try:
        if storage.is_local(folder) and not pathlib.Path(folder / "submission.json").is_file():
            raise FileNotFoundError  # a pipe would never end
        shape = storage.read_json(folder / "submission.json")["image_shape"]
        if len(shape) == 3 and math.prod(shape) == image_size and all(type(n) is int and n > 0 for n in shape):
            return tuple(shape)
    except (OSError, ValueError, LookupError, TypeError):
        pass  # a stranger's file, or none
    return spec.spec_for_image_size(image_size).image_shape


def latent_grid(corners, interpolation, side):
    """Fills a square between four latents.

    Args:
      corners: [4, latent_size]: top left, top right, bottom left, bottom right.
      interpolation: "linear", or "slerp" (Shoemake 1985: constant angular speed on the arc).
      side: latents along each side.

    Returns:
      float32 [side * side, latent_size], row by row.
    """
    between = slerp if interpolation == "slerp" else lerp
    steps = np.linspace(0.0, 1.0, side)
    rows = []
    for down in steps:
        left, right = between(corners[0], corners[2], down), between(corners[1], corners[3], down)
        rows.extend(between(left, right, across) for across in steps)
    return np.stack(rows).astype(np.float32)


def lerp(a, b, t):
    return (1.0 - t) * a + t * b


def slerp(a, b, t):
    """Goes from a to b on an arc; on a line where they point the same or the opposite way."""
    cosine = np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if np.sin(angle) < 1e-6:
        return lerp(a, b, t)
    return (np.sin((1.0 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


if __name__ == "__main__":
    flags.run(linear_interpolation, InterpolationOptions)
