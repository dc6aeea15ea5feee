"""From the command to the first step of training, against the import of TensorFlow alone."""

import contextlib
import functools
import statistics
import subprocess
import sys
import time

from benchmarks import table, turns
from gan.errors import RunError

PRESETS = ("default", "dcgan")
MOST_SECONDS = 3.0  # more than the import
IMPORT = "import tensorflow"
_DONE = "the first step is done"
# `python -m gan.train`, which says so when its first step is done.
_TRAIN = f"""
import runpy
from gan import training_log

def step(self, *_):
    print({_DONE!r}, flush=True)

training_log.TrainingLog.step = step
runpy.run_module("gan.train", run_name="__main__", alter_sys=True)
"""


def rows(options):
    """Returns the `table.Row`s of each preset."""
    print(f"  {options.turns} turns, after one to warm up", flush=True)
    measured = turns.take(contestants(options), options.turns)
    return [_row(preset, measured) for preset in PRESETS]


def contestants(options):
    """Returns {the import of TensorFlow, or a preset: function that returns how many seconds it takes}."""
    works = {IMPORT: functools.partial(seconds_until, _DONE, f"import tensorflow; print({_DONE!r}, flush=True)")}
    for preset in PRESETS:
        flags = [f"--preset={preset}", f"--train_data_pattern={options.faces()}"]
        works[preset] = functools.partial(_seconds_to_first_step, options.scratch / "startup", *flags)
    return works


def _row(preset, measured):
    pairs = zip(measured[preset], measured[IMPORT], strict=True)
    return table.Row(
        what=f"from the command to the end of the first step, preset {preset}",
        unit="s",
        measured={name: measured[name] for name in (preset, IMPORT)},
        judged="seconds more than the import of TensorFlow takes",
        number=statistics.median(command - alone for command, alone in pairs),
        at_most=MOST_SECONDS,
        remark="reading the records included",
    )


def _seconds_to_first_step(folder, *flags):
    folder.rmtree(missing_ok=True)
    return seconds_until(_DONE, _TRAIN, f"--train_dir={folder}", *flags)


def seconds_until(line, code, *arguments):
    """Returns the seconds until Python code prints a line; it is ended there.

    Raises:
      RunError: it ended before.
    """
    begin = time.perf_counter()
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process, contextlib.closing(process.stdout):
        seconds = next((time.perf_counter() - begin for said in process.stdout if said.strip() == line), None)
        process.kill()
    if seconds is None:
        raise RunError(f"a command ended before its first step: {' '.join(arguments) or code}")
    return seconds
