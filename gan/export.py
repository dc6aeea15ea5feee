"""Takes a run's networks elsewhere: a web page, a phone, a server, plain Keras.

python -m gan.export --train_dir=my_run --format=onnx
python -m gan.export --train_dir=my_run --format=litert --step=3000 --output=gs://bucket/phone

Both networks are written as they battle: averages, a fitted p, inference mode, any batch size. What was written is
opened with the format's own runtime and must answer as the run's networks do.
"""

if not __package__:  # `python gan/export.py` works like `python -m gan.export`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import tempfile

import numpy as np
from etils import epy

from gan import __version__, export_formats, flags, random_noise_generator, seeds, spec, storage, training_state
from gan.errors import InputError, RunError
from gan.flags import flag

with epy.lazy_imports():
    from gan import battle_pair

TOLERANCE = 1e-5
_COMPARED = 30  # inputs for each network
_MANIFEST = "export.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions(flags.Options):
    """Flags of `gan.export`."""

    train_dir: str = flag("/tmp/kmlc_gan_train/", "folder of the run")
    step: int | None = flag(None, "saved step that is exported; default: the newest", lower=0)
    format: str = flag(
        "saved_model",
        "onnx: for web pages and most programs; litert: for phones; keras: to go on in Keras; saved_model: for "
        "TensorFlow",
        choices=tuple(export_formats.FORMATS),
    )
    output: str = flag("", "folder for the files, local or gs://; empty: TRAIN_DIR/export/FORMAT_step_N")


def export(options):
    """Exports, compares and prints what was written.

    Args:
      options: `ExportOptions`.

    Returns:
      The content of `export.json`: {"format", "step", "image_shape", "latent_size", "networks", "sha256", ...}.

    Raises:
      InputError: there is no such save, a package is missing, the format cannot express a network, or the output folder
        holds something else.
      RunError: what was written does not answer as the run's networks do.
    """
    export_formats.require_packages(options.format)
    folder = training_state.RunFolder(storage.path(options.train_dir))
    step = _step(folder, options)
    beside_the_run = folder.path / "export" / f"{options.format}_step_{step}"
    output = storage.path(options.output) if options.output else beside_the_run
    _refuse_other_contents(output)
    run = folder.options()
    pair, contest = battle_pair.of_run(run), battle_pair.contest_of_run(run)
    pair.restore(folder.load(step))
    with tempfile.TemporaryDirectory(prefix="gan-export-") as temporary:
        local = storage.path(temporary) / "files"
        local.mkdir()
        exported = _write_and_compare(options.format, pair, contest, local)
        manifest = {
            "format": options.format,
            "step": step,
            "image_shape": list(contest.image_shape),
            "latent_size": contest.latent_size,
            "networks": exported,
            "gan_version": __version__,
            "sha256": {str(file.relative_to(local)): storage.sha256(file) for file in storage.files_below(local)},
        }
        storage.write_json(local / _MANIFEST, manifest)
        storage.publish_folder(local, output, last=_MANIFEST)
        _print(manifest, local, output)
    return manifest


def _step(folder, options):
    steps = folder.saved_steps()
    if not steps:
        raise InputError(f"--train_dir={options.train_dir} holds no saved step; train with gan.train first")
    if options.step is None:
        return steps[-1]
    if options.step not in steps:
        known = ", ".join(map(str, steps))
        raise InputError(f"--step={options.step}: {options.train_dir} holds saves of the steps {known}")
    return options.step


def _refuse_other_contents(output):
    """All that lies in the folder is replaced, so an earlier export must have written it."""
    if not output.exists():
        return
    if not output.is_dir():
        raise InputError(f"--output={output} is a file; name a folder")
    written = {_MANIFEST, *_files_of(output / _MANIFEST)}
    there = (str(file.relative_to(output)) for file in storage.files_below(output))
    if foreign := [name for name in there if name not in written]:
        raise InputError(f"--output={output} holds {foreign[0]!r}, which no export has written: name a new folder")


def _files_of(manifest):
    """Returns the names of the files that a manifest vouches for; none where there is no manifest."""
    try:
        return list(storage.read_json(manifest)["sha256"]) if manifest.exists() else []
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{manifest} is damaged ({error}); name a new folder") from None


def _write_and_compare(name, pair, contest, folder):
    """Returns {network: its input, its output, the largest difference}.

    Raises:
      RunError: a difference is larger than rounding explains.
    """
    batches = _examples(pair, contest)
    wanted = {role: np.asarray(pair.answer(role, batch)) for role, batch in batches.items()}
    answers = export_formats.write(name, pair, contest, folder)
    networks = {}
    for role, batch in batches.items():
        difference = max(_difference(answers[role](batch[:n]), wanted[role][:n]) for n in (1, _COMPARED))
        allowed = _tolerance(pair, role)
        if not difference <= allowed:
            raise RunError(
                f"the {role.name} in --format={name} answers with numbers that differ by {difference:.2g} from the "
                f"run's, at most {allowed:.2g} is right: nothing is written; take another --format"
            )
        networks[role.name] = {
            "input": {"name": role.input, "size": contest.input_size(role)},
            "output": {"name": role.output, "size": contest.output_size(role)},
            "largest_difference": difference,
        }
    return networks


def _tolerance(pair, role):
    """A fitted p multiplies the rounding of the logits before it; sigmoid's own slope is 1/4 at most."""
    fitted = role is spec.DISCRIMINATOR and pair.calibration
    return TOLERANCE * max(1.0, float(pair.calibration["scale"]) / 4) if fitted else TOLERANCE


def _examples(pair, contest):
    """Returns {role: inputs, float32 [_COMPARED, input size]}; D gets generated images and noise in equal parts."""
    rng = seeds.generator(0, "export")
    noise = random_noise_generator.generate_noise(_COMPARED, contest.latent_size, rng)
    images = rng.random((_COMPARED, contest.image_size), np.float32)
    images[::2] = spec.from_8bit(pair.generate_8bit(noise[::2]))
    return {spec.GENERATOR: noise, spec.DISCRIMINATOR: images}


def _difference(answered, wanted):
    return float(np.max(np.abs(answered - wanted))) if answered.shape == wanted.shape else np.inf


def _print(manifest, local, output):
    for name, network in manifest["networks"].items():
        sizes = [f"{network[end]['name']} [N, {network[end]['size']}]" for end in ("input", "output")]
        print(f"{name}: {' -> '.join(sizes)}, largest difference {network['largest_difference']:.1e}")
    files = [f"{name} ({_kilobytes(local / name):,} kB)" for name in manifest["sha256"]]
    print(f"step {manifest['step']} written to {output}: {', '.join(files)}, {_MANIFEST}")


def _kilobytes(file):
    return -(-file.stat().length // 1000)


if __name__ == "__main__":
    flags.run(export, ExportOptions)
