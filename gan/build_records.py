"""Turns pictures into record files for training and for battles, split by what they show.

    python -m gan.build_records --input=photos.zip --output=faces --height=50 --width=50 --channels=1
    python -m gan.build_records --input=imagenet/ --output=gs://bucket/imagenet32 --height=32 --width=32 --channels=3
    python -m gan.build_records --source=mnist --output=digits

The input is a folder of pictures, class folders, a zip or tar file, a CSV file with the columns path and label, or
MNIST's IDX files; local or gs://. In its place --source names a data set, which is downloaded if it is not there yet.
Records then have that data set's size unless flags give another, and its own parts for training and for testing are
taken together. A build that was stopped goes on with the same command.
"""

if not __package__:  # `python gan/build_records.py` works like `python -m gan.build_records`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import os
import sys

from gan import beam_runner, flags, stop_signals, storage
from gan.data import building, decoding, runners, shards, sources, splits
from gan.errors import InputError, printable
from gan.flags import flag

_NAMING = ("labels", "group_pattern", "path_column", "label_column", "group_column")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(beam_runner.RunnerOptions, flags.SeedOptions):
    """Flags of `gan.build_records`."""

    input: str = flag("", "folder of pictures or of class folders, zip or tar file, CSV file, IDX file; local or gs://")
    source: str | None = flag(
        None,
        "data set, in place of --input: lfw (faces, 50x50x1, all of a person in one split), mnist (28x28x1, labels), "
        "cifar10 (32x32x3, labels)",
        choices=tuple(sources.SETS),
    )
    output: str = flag("", "folder for the records, new or of a build that was stopped; local or gs://")
    height: int = flag(50, "height of the records' images in pixels", lower=1, upper=4096)
    width: int = flag(50, "width in pixels", lower=1, upper=4096)
    channels: int = flag(1, "1 for gray, 3 for RGB", choices=(1, 3))
    resize: str = flag(
        "crop",
        "crop: the largest middle part of these proportions; fit: all of it, on black; stretch: all of it, distorted",
        choices=decoding.RESIZES,
    )
    format: str = flag(
        "contest",
        "contest: pixels as a list of integers; bytes: as bytes, a third smaller",
        choices=tuple(shards.FORMATS),
    )
    splits: str = flag("train:0.9,validation:0.05,test:0.05", "name and share of each split, comma-separated")
    shards: int = flag(0, "record files of each split; 0: one for each 10,000 of all images", lower=0, upper=99999)
    labels: str = flag(
        "auto", "folder: a picture's label is its folder; auto: where it looks so", choices=sources.LABELS
    )
    group_pattern: str = flag("", "regular expression: pictures in whose place it finds the same stay in one split")
    path_column: str = flag("path", "of a CSV file")
    label_column: str = flag("label", "of a CSV file; not needed with --labels=none")
    group_column: str = flag("", "of a CSV file: pictures with the same value stay in one split")
    max_bad_fraction: float = flag(0.05, "of the files, that may be no usable pictures", lower=0, upper=1)
    workers: int = flag(0, "processes of the local runner; 0: one for each core", lower=0)

    @classmethod
    def preset_settings(cls, given):
        known = sources.SETS.get(given["source"])
        return dict(zip(("height", "width", "channels"), known.shape, strict=True)) if known else {}

    def __post_init__(self):
        super().__post_init__()
        if self.input and self.source:
            raise InputError(f"--input={self.input} and --source={self.source} exclude each other; give one of them")
        if not self.input and not self.source:
            names = ", ".join(sources.SETS)
            raise InputError(f"--input is missing: it says where the pictures are; or give --source (one of {names})")
        if not self.output:
            raise InputError("--output is missing: it says where the records go")
        splits.parse(self.splits)
        if self.workers and self.runner == "beam":
            raise InputError("--workers are for --runner=local; Beam's own flags go into --beam_options")


def build(options):
    """Builds record files.

    Args:
      options: `BuildOptions`.

    Returns:
      The content of `manifest.json`.

    Raises:
      InputError: the input or the output folder cannot be used.
      RunError: the data set that `options.source` names cannot be downloaded.
    """
    output = storage.path(options.output)
    if options.input and _lies_in(output, storage.path(options.input)):
        raise InputError(f"--output={options.output} lies in --input: what is written there would count as input")
    source = sources.open_named(options) if options.source else sources.open_source(options)
    recipe = building.Recipe(
        transform=decoding.Transform(options.height, options.width, options.channels, options.resize),
        shares=splits.parse(options.splits),
        num_shards=options.shards,
        kind=options.format,
        seed=options.seed,
        naming={name: getattr(options, name) for name in _NAMING},
    )
    if options.runner == "beam":
        runner = beam_runner.BeamRunner(options.beam_options, output / building.WORK)
    else:
        runner = runners.LocalRunner(options.workers)
    return building.Build(source, recipe, output, runner).go(options.max_bad_fraction)


def _lies_in(path, folder):
    if storage.is_local(path) and storage.is_local(folder):
        path, folder = (storage.path(os.path.realpath(each)) for each in (path, folder))  # follows links
    return path.is_relative_to(folder)


def _print_summary(made, output):
    """Prints what came of a build."""
    for name, split in made["splits"].items():
        if split["images"]:
            print(f"{name}: {split['images']:,} images in {len(split['files'])} file(s)")
    if empty := [name for name, split in made["splits"].items() if not split["images"]]:
        print(f"warning: no image in {', '.join(empty)}: too small a share of so few different pictures or groups")
    refused, twice = made["refused"], made["duplicates"]
    if refused["count"]:
        place, reason = refused["files"][0]
        print(f"refused: {refused['count']:,}, the first: {printable(place)} {reason}")
    others = made["source"]["other_files"]
    if others and others["count"]:
        print(f"no pictures by their names: {others['count']:,}, for instance {printable(others['first'][0])}")
    if made["labels"]:
        print(f"labels: {len(made['labels'])}, see manifest.json")
    if twice["exact"] or twice["near"]:
        print(f"there more than once: {twice['exact']:,}; nearly equal: {twice['near']:,}; each kept in one split")
    print(f"written: {output}/manifest.json, and for each split a CSV file and a picture")


def main(options):
    """Builds and says what was built; a signal stops it and loses little."""
    with stop_signals.handled_by(stop_signals.interrupt):
        _print_summary(build(options), storage.path(options.output))


if __name__ == "__main__":
    flags.run(main, BuildOptions, with_tensorflow=any("://" in word for word in sys.argv))  # it serves remote paths
