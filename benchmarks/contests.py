"""What the benchmarks of the arena share: commands in processes of their own, and teams that can battle."""

import os
import subprocess
import sys
import time

from gan import storage, training_state
from gan.errors import RunError

SANDBOX = "--sandbox=auto"  # as in a contest, where it works


def run(name, *flags):
    """Runs a command.

    Args:
      name: as in `python -m gan.NAME`.
      flags: its flags.

    Returns:
      (seconds, largest memory of its process in MB).

    Raises:
      RunError: it failed.
    """
    begin = time.perf_counter()
    nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", f"gan.{name}", *flags], **nothing)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunError(f"gan.{name} {' '.join(flags)} ended with exit code {process.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def exports(preset, count, folder, *flags):
    """Trains a preset for a step per team; returns the folders of the exports, which differ.

    Args:
      preset: its name.
      count: teams.
      folder: of the run.
      flags: of `gan.train`.
    """
    print(f"  {count} step(s) of the preset {preset}, for teams", flush=True)
    run(
        "train",
        *(f"--preset={preset}", f"--train_dir={folder}", f"--max_steps={count}", "--export_model_steps=1"),
        *("--noexport_generated_images", *flags),
    )
    return [training_state.export_folder(folder, step) for step in range(1, count + 1)]


def write_list(file, submissions):
    """Writes the team list of a contest between submissions."""
    lines = [f"Team {number},{folder}\n" for number, folder in enumerate(submissions, 1)]
    storage.write_text(file, "".join(["name,submission\n", *lines]))
