"""Battles in one direction: a generator makes images, a discriminator tells them from real ones.

    python -m gan.generate_and_discriminate --G_train_dir=team_a --D_train_dir=team_b --input_data_pattern='faces/v*'
    python -m gan.generate_and_discriminate --G_train_dir=mine --D_train_dir=mine --num_generate=50   # a check

The folders are submissions: a TF1 checkpoint or a SavedModel. Their code is not needed, and nothing in them is trusted.
"""

if not __package__:  # `python gan/generate_and_discriminate.py` works like `python -m gan.generate_and_discriminate`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import contextlib
import dataclasses
import re

from etils import epy

from gan import __version__, flags, pictures, seeds, spec, storage
from gan.arena import options as arena_options
from gan.errors import Fault, InputError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import player, rounds, rules, sandbox


@dataclasses.dataclass(frozen=True, kw_only=True)
class BattleOptions(arena_options.ImagesOptions, arena_options.SandboxOptions):
    """Flags of `gan.generate_and_discriminate`."""

    G_train_dir: str = flag("/tmp/kmlc_gan_train/", "submission whose generator plays")
    D_train_dir: str = flag("/tmp/kmlc_gan_train/", "submission whose discriminator plays")
    output_dir: str = flag("result/", "folder for images, CSV files and result.json")
    sandbox: str = flags.inherit(arena_options.SandboxOptions, "sandbox", "auto")


def generate_and_discriminate(options):
    """Plays one direction, writes its files and prints the result.

    Args:
      options: `BattleOptions`.

    Returns:
      The content of `result.json`.

    Raises:
      InputError: a flag, the data or a submission cannot be used.
    """
    sandboxed = sandbox.resolve(options.sandbox)
    with (
        player.visiting(storage.path(options.G_train_dir), sandboxed, options.time_limit) as generator,
        player.visiting(storage.path(options.D_train_dir), sandboxed, options.time_limit) as discriminator,
    ):
        return _battle(options, generator, discriminator)


def _battle(options, generator, discriminator):
    contest = _contest(options, generator, discriminator)
    reals, data = _draw_reals(options, contest)
    terms = rounds.Terms(contest, options.num_generate, options.num_reals)
    (direction,) = rounds.play(
        {"generator": generator, "discriminator": discriminator},
        [("generator", "discriminator")],
        reals,
        terms,
        options.seed,
    )
    if direction.failure:
        side = direction.failure.side
        folder = options.G_train_dir if side == "generator" else options.D_train_dir
        raise InputError(f"{folder}, {side}: {direction.failure}")
    result = {
        "format": 1,
        "gan_version": __version__,
        "flags": dataclasses.asdict(options),
        "image_shape": list(contest.image_shape),
        "data_fingerprint": data.fingerprint,
        "submissions": {
            side: {"checkpoint": taken.files.checkpoint, "sha256": taken.files.sha256}
            for side, taken in (("generator", generator), ("discriminator", discriminator))
        },
        "score": direction.points,
        "out_of": direction.out_of,
        "right_on_generated": direction.right_on(0),
        "right_on_real": direction.right_on(1),
        "images": [
            {"id": i, "real": real, "p": p, "verdict": rules.verdict(p)}
            for i, (real, p) in enumerate(zip(direction.truth, direction.p, strict=True))
        ],
        "timing": {side: _timing(calls) for side, calls in direction.seconds.items()},
    }
    output = storage.path(options.output_dir)
    _write(output, direction, contest, result)
    _print(output, result)
    return result


def _timing(calls):
    median, spread = rounds.median_and_spread(calls)
    return {"median": median, "spread": spread, "calls": calls}


def _contest(options, generator, discriminator):
    """The size of an image follows from the flags, else from D's input; unknown both, it is the contest's 50x50."""
    with _naming(options.G_train_dir):
        latent_size = generator.input_size(spec.GENERATOR) or spec.ContestSpec().latent_size
    with _naming(options.D_train_dir):
        image_size = discriminator.input_size(spec.DISCRIMINATOR)
    shape = options.image_shape
    if shape is None and image_size:
        shape = spec.spec_for_image_size(image_size).image_shape
    contest = spec.ContestSpec(*(shape or spec.ContestSpec().image_shape), latent_size)
    if image_size not in (None, contest.image_size):
        raise InputError(
            f"{options.D_train_dir}: the discriminator takes images of {image_size} numbers, those of "
            f"this battle have {contest.image_size} ({contest})"
        )
    return contest


@contextlib.contextmanager
def _naming(folder):
    """Says whose model it was that cannot be played."""
    try:
        yield
    except Fault as fault:
        raise InputError(f"{folder}, {fault.side}: {fault}") from None


def _draw_reals(options, contest):
    data = options.load_images(options.input_data_pattern, contest.image_shape, "validation")
    if len(data) < options.num_reals:
        raise InputError(f"{options.num_reals} real images are needed, the data holds {len(data)}")
    chosen = seeds.generator(options.seed, "reals").choice(len(data), options.num_reals, replace=False)
    return data.pixels.take(chosen), data


def _write(output, direction, contest, result):
    images = output / "images"
    if (output / "result.json").exists():  # our own earlier battle: its files must not mix with these
        (output / "result.json").unlink()
        for old in images.iterdir() if images.exists() else ():
            if re.fullmatch(r"\d{2,}\.png", old.name):
                old.unlink()
    shown = direction.shown.reshape(-1, *contest.image_shape)
    for i, pixels in enumerate(shown):
        pictures.save_png(images / f"{i:02}.png", pictures.squeeze_gray(pixels))
    storage.write_text(output / "predictions.csv", _csv(rules.verdict(p) for p in direction.p))
    storage.write_text(output / "ground_truth.csv", _csv(direction.truth))
    pictures.save_png(output / "verdicts.png", pictures.verdict_sheet(shown, direction.truth, direction.p))
    storage.write_json(output / "result.json", result)


def _csv(categories):
    return "Id,Category\n" + "".join(f"{i},{category}\n" for i, category in enumerate(categories))


def _print(output, result):
    print(" id  truth      p       verdict")
    words = ("generated", "real")
    for image in result["images"]:
        wrong = "" if image["verdict"] == image["real"] else "  <- wrong"
        print(f" {image['id']:02}  {words[image['real']]:9}  {image['p']:.4f}  {words[image['verdict']]:9}{wrong}")
    count = {real: sum(image["real"] == real for image in result["images"]) for real in (0, 1)}
    print(
        f"score of D: {result['score']} of {result['out_of']} ({result['right_on_generated']} of {count[0]} generated, "
        f"{result['right_on_real']} of {count[1]} real)"
    )
    for side, timing in result["timing"].items():
        print(f"running time of the {side}: {timing['median'] * 1e3:.2f} ms (spread {timing['spread'] * 1e3:.2f} ms)")
    print(
        f"written: {output / 'verdicts.png'} (all images with D's verdicts), {output / 'result.json'}, images/, *.csv"
    )


if __name__ == "__main__":
    flags.run(generate_and_discriminate, BattleOptions)
