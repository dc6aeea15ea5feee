"""Work on many machines: tasks go through a pipeline of Apache Beam, on whatever service its flags name.

What a task makes it leaves in files, and no task needs another: so the results are the same, whoever does what, in
whatever order, and after a stop only what is missing is done.
"""

import dataclasses
import os
import pickle
import re
import secrets
import shlex
import time

from etils import epy

from gan import flags, stop_signals, storage
from gan.errors import InputError, RunError, printable
from gan.flags import flag

with epy.lazy_imports():
    import apache_beam as beam
    from apache_beam.options import pipeline_options


_LONGEST_SECONDS = 14 * 86400  # that a pipeline is expected to run


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunnerOptions(flags.Options):
    """Where the work is done."""

    runner: str = flag("local", "local: this machine; beam: Apache Beam", choices=("local", "beam"))
    beam_options: str = flag("", "flags for Apache Beam, in one text: '--runner=DataflowRunner --project=...'")

    def __post_init__(self):
        super().__post_init__()
        if self.beam_options and self.runner != "beam":
            raise InputError("--beam_options are for --runner=beam")


class BeamRunner:
    """A pipeline of Apache Beam, which needs the package `apache-beam`.

    SIGINT and SIGTERM end the process at once while a pipeline runs: it may be at work in this very thread, and an
    exception would be taken for one of the work's. What a service runs goes on there, and so its tasks stay.

    Args:
      options: Beam's own flags, in one text; none: on this machine.
      work: a folder that all workers reach, an `epath.Path`; tasks pass through it, because a pipeline is too small.

    Raises:
      InputError: Beam is not there, or refuses the flags; when the `with` block is entered.
    """

    tells_progress = False

    def __init__(self, options, work):
        self._options = options
        self._work = work

    def __enter__(self):
        with flags.quiet_stderr():  # the first import of Beam tells what else could be installed
            self._runner = type(self._pipeline().runner)
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, tasks):
        """Applies the function to all tasks; yields nothing.

        Raises:
          RunError: a task failed; Beam has logged where.
        """
        self.run(beam.Map(_apply), ((function, task) for task in tasks))
        return iter(())

    def run(self, transform, tasks):
        """Puts the tasks through a transform, a `beam.ParDo` for instance.

        Raises:
          RunError: a task failed; Beam has logged where.
        """
        self._forget_old_tasks()
        folder = self._work / f"tasks_{int(time.time())}_{secrets.token_hex(4)}"
        try:
            files = [_spill(folder / f"{number:06}.pickle", task) for number, task in enumerate(tasks)]
            self._put_through(transform, files)
        finally:
            folder.rmtree(missing_ok=True)

    def _put_through(self, transform, files):
        try:
            with stop_signals.handled_by(self._end_the_process), self._pipeline() as pipeline:
                _ = pipeline | beam.Create(files) | beam.Reshuffle() | beam.Map(_load) | transform
        except (RuntimeError, InputError, RunError) as error:
            raise RunError(f"Apache Beam: {_cause(error)}; the same command goes on where it was") from error

    def _forget_old_tasks(self):
        """Removes what kills have left, but not what a pipeline may still be at work on somewhere."""
        for entry in self._work.iterdir() if self._work.exists() else ():
            begun = re.fullmatch(r"tasks_(\d+)_[0-9a-f]+", entry.name)
            if begun and int(begun[1]) < time.time() - _LONGEST_SECONDS:
                entry.rmtree()

    def _end_the_process(self, number, _):
        line = stop_signals.STOPPED
        if not self._runner.__module__.startswith("apache_beam.runners.direct"):
            line = (
                f"stopped here; what {self._runner.__name__} runs elsewhere goes on: cancel it there, or wait for its "
                "end, before you give the same command"
            )
        os.write(2, f"{line}\n".encode())  # print may be at work in this very thread
        os._exit(128 + number)

    def _pipeline(self):
        try:
            return beam.Pipeline(options=pipeline_options.PipelineOptions(shlex.split(self._options)))
        except ImportError as error:
            raise InputError(f"--runner=beam needs Apache Beam ({error}): pip install 'gan[beam]'") from None
        except ValueError as error:
            raise InputError(f"--beam_options={self._options}: {printable(' '.join(str(error).split()))}") from None


def _spill(file, task):
    storage.write_bytes(file, pickle.dumps(task))
    return str(file)


def _load(file):
    return pickle.loads(storage.path(file).read_bytes())


def _apply(task):
    function, argument = task
    function(argument)


def _cause(error):
    """The last line of what may be a whole traceback, without Beam's own remark, and without our own errors' names."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^gan\.errors\.\w+: | \[while running .*$", "", printable(lines[-1] if lines else repr(error)))
