"""Where the work of a build is done: a runner applies a function to tasks, here in processes of this machine.

The function and its tasks are pickled, what it makes it leaves in files, and no task needs another: so the records are
the same, whoever does what, in whatever order. The other runner is `gan.beam_runner.BeamRunner`.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from multiprocessing import connection

from gan.errors import RunError


class LocalRunner:
    """Processes on this machine, for the length of a `with` block.

    They are plain programs and no `multiprocessing`: they start in scripts without a `__main__` guard, no signal of a
    terminal reaches them, and when this process is gone, however it ended, so are they.

    Args:
      workers: their number; 0: one for each core.
    """

    tells_progress = True

    def __init__(self, workers=0):
        self._most = workers or _count_cores()
        self._workers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self._workers:
            self._workers.pop().kill()

    def map(self, function, tasks):
        """Applies the function and yields what it returns, in any order.

        Args:
          function: of one task.
          tasks: any iterable; it is read as the workers come to it. `str` of a task is what an error calls it.

        Raises:
          RunError: a worker died.
        """
        idle, busy = list(self._workers), []
        for task in tasks:
            if not idle and len(busy) < self._most:
                idle.append(_Worker())
                self._workers.append(idle[0])
            while not idle:
                yield from _finished(busy, idle)
            idle[-1].begin(function, task)
            busy.append(idle.pop())
        while busy:
            yield from _finished(busy, idle)


def _count_cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _finished(busy, idle):
    """Waits for workers, yields their answers and moves them from the busy to the idle."""
    for worker in connection.wait(busy):
        busy.remove(worker)
        idle.append(worker)
        yield worker.answer()


class _Worker:
    """A process that does one task after the other."""

    def __init__(self):
        program = f"import sys; sys.path = {sys.path!r}; from gan.data import runners; runners.work()"
        line, pipe = [sys.executable, "-c", program], subprocess.PIPE
        self._process = subprocess.Popen(line, stdin=pipe, stdout=pipe, start_new_session=True)
        self._task = None

    def fileno(self):
        return self._process.stdout.fileno()

    def begin(self, function, task):
        self._task = task
        try:
            pickle.dump((function, task), self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def answer(self):
        """Returns what the function returned, or raises what it raised.

        Raises:
          RunError: the process died.
        """
        try:
            result, error, text = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise self._death() from None
        if error is not None:
            raise error from _InWorker(text)
        return result

    def kill(self):
        self._process.kill()
        self._process.communicate()

    def _death(self):
        code = self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        why = ", most likely for want of memory: fewer --workers need less" if code == -signal.SIGKILL else ""
        return RunError(f"a worker {how} at {self._task}{why}; the same command goes on where it was")


class _InWorker(Exception):
    """Shows where a worker raised an error."""


def work():
    """Does the tasks that come in on stdin and answers on stdout: the program of a `_Worker`."""
    inbox, answers = queue.SimpleQueue(), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # libraries in C complain there about damaged files, by the million
        os.dup2(nowhere, descriptor)
    threading.Thread(target=_receive, args=(inbox,), daemon=True).start()
    while True:
        function, task = inbox.get()
        try:
            answer = (function(task), None, None)
        except Exception as error:  # noqa: BLE001 - it is raised where the task came from
            answer = (None, error, f"\n{traceback.format_exc()}")
        pickle.dump(answer, answers)
        answers.flush()


def _receive(inbox):
    """Takes tasks in; ends the process, whatever it is at, when there will be no more: then nobody waits for it."""
    try:
        while True:
            inbox.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(1)
