"""Battles in one direction: a generator makes images, a discriminator tells them from real ones.

    python -m gan.generate_and_discriminate --G_train_dir=team_a --D_train_dir=team_b --input_data_pattern='faces/v*'
    python -m gan.generate_and_discriminate --G_train_dir=mine --D_train_dir=mine --num_generate=50   # a check

The folders are submissions: a TF1 checkpoint or a SavedModel. Their code is not needed, and nothing in them is trusted.
"""

if not __package__:  # `python gan/generate_and_discriminate.py` works like `python -m gan.generate_and_discriminate`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import re

from etils import epy

from gan import __version__, digits, flags, pictures, random_noise_generator, records, seeds, spec, storage
from gan.errors import InputError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import inference, match, rules, submission


@dataclasses.dataclass(frozen=True, kw_only=True)
class BattleOptions(flags.ReadingOptions, flags.SeedOptions):
    """Flags of `gan.generate_and_discriminate`."""

    G_train_dir: str = flag("/tmp/kmlc_gan_train/", "submission whose generator plays")
    D_train_dir: str = flag("/tmp/kmlc_gan_train/", "submission whose discriminator plays")
    output_dir: str = flag("result/", "folder for images, CSV files and result.json")
    input_data_pattern: str = flag("", "record files with real images; empty: embedded digits")
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


def generate_and_discriminate(options):
    """Plays one direction, writes its files and prints the result.

    Args:
      options: `BattleOptions`.

    Returns:
      The content of `result.json`.

    Raises:
      InputError: a flag, the data or a submission cannot be used.
    """
    models = {
        "generator": submission.load(storage.path(options.G_train_dir), spec.GENERATOR),
        "discriminator": submission.load(storage.path(options.D_train_dir), spec.DISCRIMINATOR),
    }
    generator, discriminator = (inference.Inference(model) for model in models.values())
    contest = _contest(options, generator, discriminator)
    reals, data = _draw_reals(options, contest)
    direction = match.play(generator, discriminator, reals, contest, options.num_generate, options.seed)
    result = {
        "format": 1,
        "gan_version": __version__,
        "flags": dataclasses.asdict(options),
        "image_shape": list(contest.image_shape),
        "data_fingerprint": data.fingerprint,
        "submissions": {side: {"origin": model.origin, "sha256": model.sha256} for side, model in models.items()},
        "score": direction.score,
        "out_of": len(direction.p),
        "right_on_generated": direction.score_on(0),
        "right_on_real": direction.score_on(1),
        "images": [
            {"id": i, "real": real, "p": p, "verdict": rules.verdict(p)}
            for i, (real, p) in enumerate(zip(direction.truth, direction.p, strict=True))
        ],
        "timing": direction.timing(),
    }
    output = storage.path(options.output_dir)
    _write(output, direction, contest, result)
    _print(output, result)
    return result


def _contest(options, generator, discriminator):
    """The size of an image follows from the flags, else from D's input; unknown both, it is the contest's 50x50."""
    latent_size = generator.input_size() or random_noise_generator.get_dim()
    shape = options.image_shape
    if shape is None and discriminator.input_size():
        shape = spec.spec_for_image_size(discriminator.input_size()).image_shape
    contest = spec.ContestSpec(*(shape or spec.ContestSpec().image_shape), latent_size)
    if discriminator.input_size() not in (None, contest.image_size):
        raise InputError(
            f"{options.D_train_dir}: the discriminator takes images of {discriminator.input_size()} numbers, those of "
            f"this battle have {contest.image_size} ({contest})"
        )
    return contest


def _draw_reals(options, contest):
    if options.input_data_pattern:
        data = records.read(
            options.input_data_pattern,
            contest.image_shape,
            num_readers=options.num_readers,
            max_bad_records=options.max_bad_records,
        )
    elif contest.image_shape == digits.SHAPE:
        data = digits.load("validation")
    else:
        raise InputError(
            f"the models take images of {contest}, the embedded digits are 28x28x1: give --input_data_pattern"
        )
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
    for i, png in enumerate(direction.pngs):
        storage.write_bytes(images / f"{i:02}.png", png)
    storage.write_text(output / "predictions.csv", _csv(rules.verdict(p) for p in direction.p))
    storage.write_text(output / "ground_truth.csv", _csv(direction.truth))
    pictures.save_png(output / "verdicts.png", pictures.verdict_sheet(direction.pngs, direction.truth, direction.p))
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
