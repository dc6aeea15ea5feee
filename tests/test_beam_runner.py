"""Tasks go through Apache Beam and come back done, or with one line that says what went wrong."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from gan import beam_runner, stop_signals, storage
from gan.errors import InputError, RunError

ON_TWO = "--direct_num_workers=2 --direct_running_mode="


def note(file):
    storage.write_text(storage.path(file), "done")


def fail(_):
    raise OSError(28, "No space left on device")


def refuse(_):
    raise InputError("there is no folder here: give another")


def runner_in(folder, options=""):
    return beam_runner.BeamRunner(options, storage.path(str(folder)))


def test_beam_does_every_task_and_leaves_nothing_else(tmp_path):
    (tmp_path / "work").mkdir()
    files = [str(tmp_path / f"{number}") for number in range(9)]
    with runner_in(tmp_path / "work") as runner:
        assert list(runner.map(note, iter(files))) == []
        assert list(runner.map(note, iter(()))) == []
    assert all(pathlib.Path(file).read_text() == "done" for file in files)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_run_leaves_the_tasks_of_others_alone_until_they_are_old(tmp_path):
    """A service may still be at work on what a command that was stopped has left."""
    now = int(time.time())
    for begun in (now - 3600, now - 365 * 86400):
        (tmp_path / f"tasks_{begun}_abcd").mkdir()
        (tmp_path / f"tasks_{begun}_abcd" / "000000.pickle").write_bytes(b"x")
    with runner_in(tmp_path) as runner:
        runner.map(note, [str(tmp_path / "done")])
    assert {file.name for file in tmp_path.iterdir()} == {f"tasks_{now - 3600}_abcd", "done"}


def test_a_task_that_fails_in_beam_is_named(tmp_path):
    with runner_in(tmp_path) as runner, pytest.raises(RunError) as error:
        list(runner.map(fail, [0]))
    assert str(error.value) == (
        "Apache Beam: OSError: [Errno 28] No space left on device; the same command goes on where it was"
    )


@pytest.mark.parametrize("options", ["", pytest.param(ON_TWO + "multi_threading", marks=pytest.mark.slow)])
def test_our_own_errors_keep_their_words(options, tmp_path):
    """Beam passes an error on as it is, or as the text of a traceback in a traceback."""
    with runner_in(tmp_path, options) as runner, pytest.raises(RunError) as error:
        list(runner.map(refuse, [0, 1]))
    assert str(error.value) == (
        "Apache Beam: there is no folder here: give another; the same command goes on where it was"
    )


@pytest.mark.parametrize(
    "options, words",
    [
        ("--runner=Nonsense", "--beam_options=--runner=Nonsense: Unexpected pipeline runner: Nonsense"),
        ("--a='b", "--beam_options=--a='b: No closing quotation"),
        ("--runner=DataflowRunner", "Missing required option: project. Missing required option: region."),
    ],
)
def test_flags_that_beam_refuses_are_a_mistake(options, words, tmp_path):
    with pytest.raises(InputError) as error, runner_in(tmp_path, options):
        pass
    assert words in str(error.value)
    assert "\n" not in str(error.value)


WAITING = """
import sys; sys.path = {paths!r}
from gan import beam_runner, stop_signals, storage
import test_beam_runner

with beam_runner.BeamRunner("", storage.path({folder!r})) as runner:
    if {elsewhere}:
        class DataflowRunner: pass
        runner._runner = DataflowRunner
    runner.map(test_beam_runner.wait_for_a_signal, [0])
"""


def wait_for_a_signal(_):
    print("at work", flush=True)
    signal.pause()


ELSEWHERE = (
    "stopped here; what DataflowRunner runs elsewhere goes on: cancel it there, or wait for its end, before you give "
    "the same command\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, elsewhere, line",
    [(number, False, "stopped; the same command goes on where it was\n") for number in stop_signals.STOPS]
    + [(signal.SIGINT, True, ELSEWHERE)],
)
def test_a_signal_ends_a_pipeline_with_one_line(number, elsewhere, line, tmp_path):
    paths = [str(ROOT), str(ROOT / "tests"), *sys.path]
    program = WAITING.format(paths=paths, folder=str(tmp_path), elsewhere=elsewhere)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "at work\n"
        process.send_signal(number)
        assert process.stderr.read().endswith(line)
        assert process.wait() == 128 + number
    assert len(list(tmp_path.glob("tasks_*/*"))) == 1, "another machine may be about to read it"


def test_without_beam_its_package_is_named(tmp_path):
    """In a process of its own, which has not imported it before."""
    program = (
        "import sys; sys.modules['apache_beam'] = None; from gan import build_records, flags; "
        f"sys.argv = ['x', '--runner=beam', '--input={ROOT}/pics', '--output={tmp_path}/out']; "
        "flags.run(build_records.main, build_records.BuildOptions, with_tensorflow=False)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --runner=beam needs Apache Beam (")
    assert done.stderr.endswith("pip install 'gan[beam]'\n")
    assert done.stderr.count("\n") == 1
