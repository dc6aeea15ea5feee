"""Runs the package's commands as a user does, each in a process of its own."""

import shutil
import subprocess
import sys
import time

from gan.errors import Interrupted, RunError

OWN_MODELS = "--sandbox=off"  # nobody else's are compared
SECONDS_BETWEEN_LINES = 60.0


def run(name, *arguments, fine=(0,)):
    """Runs a command and shows its newest line.

    A signal to this process ends the command, which saves, before `Interrupted` is raised.

    Args:
      name: as in `python -m gan.NAME`.
      arguments: its flags.
      fine: exit codes.

    Raises:
      RunError: it ended with another exit code.
    """
    line = [sys.executable, "-u", "-m", f"gan.{name}", *arguments]
    # In a session of its own it gets the terminal's Ctrl-C once, from here: at the second it would not save.
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(line, text=True, errors="replace", start_new_session=True, **pipes) as process:
        try:
            last = _show(process.stdout)
        except Interrupted:
            process.terminate()
            _show(process.stdout)  # to the end: where nobody listens to it, it would fail before it has saved
            raise
    if process.returncode not in fine:
        raise RunError(f"gan.{name} ended with exit code {process.returncode}: {last}")


def _show(lines):
    """Shows each line in place of the one before; where there is no terminal, one a minute. Returns the last one."""
    terminal, begin = sys.stdout.isatty(), time.monotonic()
    width = shutil.get_terminal_size().columns - 1
    last, shown = "no output", begin
    for line in lines:
        last, now = line.strip() or last, time.monotonic()
        text = f"  {(now - begin) / 60:5.1f} min  {last}"
        if terminal:
            print(f"\r{text[:width]:{width}}", end="", flush=True)
        elif now - shown >= SECONDS_BETWEEN_LINES:
            print(text, flush=True)
            shown = now
    if terminal:
        print(f"\r{'':{width}}", end="\r", flush=True)
    return last
