"""The runners: who does the work of a build, and what becomes of it when somebody dies."""

import os
import signal
import subprocess
import sys
import time

import pytest
from builds import alive
from conftest import ROOT

from gan.data import runners
from gan.errors import RunError

# The functions are the workers', which import this file: so they are up here.


def square(number):
    return number * number


def length(data):
    return len(data)


def worker(_):
    time.sleep(0.05)
    return os.getpid(), os.getsid(0)


def chatter(number):
    """Writes to where answers and complaints go, as libraries in C do."""
    os.write(1, b"hello\n" * number)
    os.write(2, b"TIFFReadDirectory: Warning, Unknown field\n" * number)
    print("again", flush=True)
    return number


def divide(number):
    return 12 // number


def die(task):
    """Ends its process by a signal, or by an exit code where the number is not negative; else takes a while."""
    if task.number is None:
        time.sleep(0.2)
    elif task.number < 0:
        os.kill(os.getpid(), -task.number)
    else:
        os._exit(task.number)


def fail(_):
    raise OSError(28, "No space left on device")


class Task:
    def __init__(self, number=None, data=b""):
        self.number = number
        self.data = data

    def __str__(self):
        return f"task of {len(self.data)} bytes"


def gone(pids, seconds=10):
    """Whether processes end within some seconds."""
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_task_is_done_once(workers):
    with runners.LocalRunner(workers) as runner:
        assert sorted(runner.map(square, range(30))) == [n * n for n in range(30)]
        assert sorted(runner.map(divide, [1, 2, 3])) == [4, 6, 12]  # the same workers again
        assert list(runner.map(square, [])) == []


def test_as_many_workers_as_wanted_and_no_more_than_tasks():
    with runners.LocalRunner(3) as runner:
        assert len(set(runner.map(worker, range(30)))) == 3
    with runners.LocalRunner(3) as runner:
        assert len(set(runner.map(worker, range(2)))) <= 2


def test_no_signal_of_a_terminal_reaches_workers():
    with runners.LocalRunner(1) as runner:
        ((_, session),) = runner.map(worker, [0])
    assert session != os.getsid(0)


def test_tasks_are_made_as_workers_come_to_them():
    """So that the files of a large archive are not all in memory."""
    made, most = [], 0

    def tasks():
        for number in range(40):
            made.append(number)
            yield number

    with runners.LocalRunner(2) as runner:
        for done, _ in enumerate(runner.map(square, tasks())):
            most = max(most, len(made) - done)
    assert most <= 4  # one for each worker, one that was made in advance, and the one that is counted here


def test_what_workers_print_is_neither_an_answer_nor_on_the_terminal(capfd):
    with runners.LocalRunner(2) as runner:
        assert sorted(runner.map(chatter, [1, 20, 300])) == [1, 20, 300]
    assert tuple(capfd.readouterr()) == ("", "")


def test_an_error_is_raised_with_the_place_where_it_was_made():
    with runners.LocalRunner(2) as runner, pytest.raises(ZeroDivisionError) as error:
        list(runner.map(divide, [1, 2, 0, 3]))
    assert "return 12 // number" in str(error.value.__cause__)


def test_an_error_of_the_disk_keeps_its_number():
    with runners.LocalRunner(1) as runner, pytest.raises(OSError) as error:
        list(runner.map(fail, [0]))
    assert (error.value.errno, error.value.strerror) == (28, "No space left on device")


@pytest.mark.parametrize(
    "number, words",
    [
        (-signal.SIGKILL, "was ended by SIGKILL at task of 5 bytes, most likely for want of memory: fewer --workers"),
        (-signal.SIGSEGV, "was ended by SIGSEGV at task of 5 bytes; the same command goes on"),
        (3, "ended with exit code 3 at task of 5 bytes; the same command goes on"),
        (0, "ended with exit code 0 at task of 5 bytes"),
    ],
)
def test_a_worker_that_dies_is_an_error_that_names_its_task(number, words):
    with runners.LocalRunner(2) as runner, pytest.raises(RunError) as error:
        list(runner.map(die, [Task(), Task(number, b"12345"), *[Task()] * 9]))
    assert words in str(error.value)


def test_a_worker_that_dies_between_two_tasks_is_an_error():
    with runners.LocalRunner(1) as runner:
        ((pid, _),) = runner.map(worker, [0])
        os.kill(pid, signal.SIGKILL)
        assert gone([pid])
        with pytest.raises(RunError, match="was ended by SIGKILL at 5"):
            list(runner.map(square, [5]))


def test_a_death_among_large_tasks_ends_at_once():
    """Pipes are full then, and nobody empties them."""
    begin = time.monotonic()
    with runners.LocalRunner(2) as runner, pytest.raises(RunError, match="SIGKILL at task of 8388608 bytes"):
        list(runner.map(die, (Task(-signal.SIGKILL if n == 5 else None, bytes(8 << 20)) for n in range(12))))
    assert time.monotonic() - begin < 20


def test_large_tasks_arrive_whole():
    with runners.LocalRunner(2) as runner:
        assert set(runner.map(length, (bytes(8 << 20) for _ in range(6)))) == {8 << 20}


def test_no_worker_outlives_the_block():
    pids = set()
    with pytest.raises(KeyError), runners.LocalRunner(2) as runner:
        pids.update(pid for pid, _ in runner.map(worker, range(8)))
        raise KeyError
    assert pids and not any(map(alive, pids))


# What a user may write: no `__main__` guard, the function at work for a minute.
SCRIPT = """
import itertools, pathlib, signal, sys, time
sys.path[:0] = {paths!r}
import test_runners
from gan.data import runners
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests themselves were started with
signal.signal(signal.SIGINT, signal.default_int_handler)
with runners.LocalRunner(2) as runner:
    for pid, _ in runner.map(test_runners.worker, itertools.count()):
        print(pid, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_workers_die_with_the_process_that_started_them(number, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(paths=[str(ROOT), str(ROOT / "tests")]))
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        pids = set()
        while len(pids) < 2:
            pids.add(int(process.stdout.readline()))
        assert all(map(alive, pids))
        os.killpg(process.pid, number)
        process.wait(timeout=10)
    assert gone(pids)
