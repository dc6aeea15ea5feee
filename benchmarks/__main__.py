"""Measures how fast the project is against what a user would take instead, and writes one table.

In the root of a checkout:

    python -m benchmarks                        # all of them, on a machine that does nothing else
    python -m benchmarks --only=training_speed  # one; the table keeps the rows of the others
    python -m benchmarks --brief --turns=1      # whether everything runs
    python -m benchmarks --table                # README.md and pics/ from what is there

Contestants take turns in one run and their ratios are judged, since machines are shared and drift. The peers in PyTorch
need `pip install '.[bench]'`.
"""

import dataclasses
import importlib
import pathlib

import numpy as np

from benchmarks import league_speed, marked, table
from gan import examples, flags, seeds, storage, tfrecords
from gan.errors import InputError, RunError
from gan.flags import flag

BENCHMARKS = {
    "arena_speed": "contests against separate runs of the harness, and how long a submission takes to load",
    "league_speed": "how the time of a league grows with its teams",
    "memory": "the memory of training: its peak, and whether it grows",
    "overhead": "pictures, logs, saves and exports beside the steps",
    "startup": "from the command to the first step",
    "training_speed": "training steps against peers, the floor and the kernels alone",
}
README = pathlib.Path(__file__).parents[1] / "README.md"
_DRAWN_FACES = 2000
_FACE_PIXELS = 50 * 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchOptions(flags.Options):
    """Flags of the benchmarks."""

    folder: str = flag("bench/", "local folder of the table: bench.md for people, bench.json for programs")
    only: str = flag("", f"benchmarks to run, comma-separated, of {', '.join(BENCHMARKS)}; empty: all")
    turns: int = flag(9, "interleaved turns of each contestant", lower=1)
    table: bool = flag(False, "write the README's table and its picture from what is there, and stop")
    readme: str = flag("", "file with the markers, pics/ is beside it; empty: the project's")
    brief: bool = flag(False, "the shortest form of each benchmark, which shows that it runs and little more")
    train_data_pattern: str = flag(
        "", "record files of 50x50 faces; empty: images that are drawn, which take as long to train on"
    )

    def __post_init__(self):
        super().__post_init__()
        if unknown := [name for name in self.chosen if name not in BENCHMARKS]:
            raise InputError(f"--only={','.join(unknown)}: expected some of {', '.join(BENCHMARKS)}")
        if not storage.is_local(self.folder):
            raise InputError(f"--folder={self.folder}: expected a folder on this machine, whose speed is measured")

    @property
    def chosen(self):
        """The names of the benchmarks to run."""
        return [name.strip() for name in self.only.split(",") if name.strip()] or list(BENCHMARKS)

    @property
    def scratch(self):
        """The folder of what a benchmark makes on the way; it goes when all are done."""
        return storage.path(self.folder) / "scratch"

    def faces(self):
        """Returns the pattern of the record files to train on, and writes them first where none are given."""
        if self.train_data_pattern:
            return self.train_data_pattern
        file = self.scratch / "drawn_faces.tfrecords"
        if not file.exists():
            pixels = seeds.generator(0, "drawn faces").integers(256, size=(_DRAWN_FACES, _FACE_PIXELS), dtype=np.uint8)
            records = (examples.serialize(row, None, examples.INTEGERS) for row in pixels)
            storage.write_bytes(file, b"".join(map(tfrecords.frame, records)))
        return str(file)


def measure(options):
    """Runs benchmarks and writes the table after each.

    Args:
      options: `BenchOptions`.

    Raises:
      RunError: a benchmark failed; the others have been run.
    """
    folder = storage.path(options.folder)
    if options.table:
        _write_table(folder, storage.path(options.readme or README))
        return
    with storage.lock(folder):
        options.scratch.rmtree(missing_ok=True)
        try:
            failed = [name for name in options.chosen if not _measure_one(name, options, folder)]
        finally:
            options.scratch.rmtree(missing_ok=True)
    print(f"written: {folder / table.FILE_FOR_PEOPLE}, {folder / table.FILE_FOR_PROGRAMS}")
    if failed:
        raise RunError(f"failed: {', '.join(failed)}; the table says why")


def _write_table(folder, readme):
    file = folder / table.FILE_FOR_PROGRAMS
    if not file.exists():
        raise InputError(f"--folder={folder} holds no {file.name}; give the folder of an earlier run")
    found = storage.read_json(file)
    if marked.replace(readme, "bench", table.in_readme(found)):
        curve = folder / league_speed.PICTURE
        if curve.exists():
            storage.copy_file(curve, readme.parent / "pics" / curve.name)
        print(f"written: {readme}")


def _measure_one(name, options, folder):
    """Runs a benchmark, puts its rows into the table, and returns whether it ran to its end."""
    print(f"{name}: {BENCHMARKS[name]}", flush=True)
    rows, failure = [], ""
    try:
        rows = list(importlib.import_module(f"benchmarks.{name}").rows(options))
    except RunError as error:
        failure = str(error)
        print(f"  failed: {failure}", flush=True)
    for row in rows:
        print(f"  {row}", flush=True)
    table.add(folder, name, rows, failure, {"turns": options.turns, "brief": options.brief})
    return not failure


if __name__ == "__main__":
    flags.run(measure, BenchOptions)
