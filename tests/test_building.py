"""Builds that are stopped and go on, and output folders that hold something else."""

import contextlib
import errno
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import data_files
import pytest
from bad_images import BAD_IMAGES, encoded, sample
from builds import CLASSES, TREE, InThisProcess, alive, build, content, listed, png, records_in, table
from conftest import ROOT

from gan import storage
from gan.data import preparation, runners, writing
from gan.errors import InputError, RunError


@pytest.fixture(autouse=True)
def many_chunks(monkeypatch):
    """Few images make several chunks; only the process that starts a build asks how many."""
    monkeypatch.setattr(preparation, "_MOST_IMAGES", 25)


@pytest.fixture
def photos(tmp_path):
    return data_files.folder(tmp_path / "photos", {**TREE, "none.png": b"no image"})


def small_build(source, output, local_runner=InThisProcess, **settings):
    return build(source, output, local_runner, **{"splits": "a:0.5,b:0.5", "shards": 2, **settings})


@pytest.fixture
def wanted(photos, tmp_path):
    small_build(photos, tmp_path / "wanted")
    return content(tmp_path / "wanted")


def dying_at(moment):
    """Makes this process kill itself at a moment: before, within or after the writing or deleting of a file."""
    moments = itertools.count()

    def pass_moment():
        if next(moments) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    replacing, rmtree = storage.replacing, shutil.rmtree

    @contextlib.contextmanager
    def dying_replacing(target):
        pass_moment()
        with replacing(target) as writer:
            yield writer
            writer.flush()
            pass_moment()
        pass_moment()

    def dying_rmtree(folder, *args, **kwargs):
        for file in sorted(pathlib.Path(folder).iterdir()):
            file.unlink()
            pass_moment()
        rmtree(folder, *args, **kwargs)
        pass_moment()

    storage.replacing, shutil.rmtree = dying_replacing, dying_rmtree


def killed_at(moment, source, output):
    """Builds in a process that kills itself at a moment; returns whether the moment came."""

    def run():
        dying_at(moment)
        small_build(source, output)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def assert_goes_on(source, output, wanted):
    small_build(source, output)
    assert content(output) == wanted  # no .build and no temporary file among it


EVERY_MOMENT = range(80)


def check_moments(moments, photos, tmp_path, wanted):
    """Kills a build at moments, one each, and lets it go on."""
    reached = 0
    for moment in moments:
        output = tmp_path / f"killed-{moment}"
        reached += killed_at(moment, photos, output)
        assert_goes_on(photos, output, wanted)
    return reached


def test_a_build_that_is_killed_goes_on_as_if_it_had_not_been(photos, tmp_path, wanted):
    assert check_moments(EVERY_MOMENT[::9], photos, tmp_path, wanted) >= 5


@pytest.mark.exhaustive
def test_a_build_may_be_killed_at_every_moment(photos, tmp_path, wanted):
    reached = check_moments(EVERY_MOMENT, photos, tmp_path, wanted)
    assert 50 < reached < len(EVERY_MOMENT)  # so these were all


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10))
def test_a_build_may_be_killed_again_and_again(seed, photos, tmp_path, wanted):
    moments = random.Random(seed)
    while killed_at(moments.randint(1, 40), photos, tmp_path / "killed"):
        pass
    assert content(tmp_path / "killed") == wanted


@pytest.mark.parametrize("failing", [preparation, writing])
def test_what_was_done_is_not_done_again(failing, photos, tmp_path, wanted, monkeypatch):
    """It fails at the second chunk, or the third record file."""
    original, name = (preparation.prepare, "prepare") if failing is preparation else (writing.write, "write")
    done = []

    def once_failing(task, **settings):
        if len(done) == 2:
            raise RunError("stop here")
        done.append(str(task))
        return original(task, **settings)

    monkeypatch.setattr(failing, name, once_failing)
    with pytest.raises(RunError, match="stop here"):
        small_build(photos, tmp_path / "out")
    first = list(done)
    done.append("the third, which failed")
    small_build(photos, tmp_path / "out")
    assert not set(first) & set(done[3:])
    assert len(done[3:]) == (1 if failing is preparation else 2)
    assert content(tmp_path / "out") == wanted


def test_a_build_that_is_finished_is_not_done_again(photos, tmp_path, monkeypatch):
    made = small_build(photos, tmp_path / "out")
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir() if file.name != ".lock"}
    monkeypatch.setattr(preparation, "prepare", None)
    assert small_build(photos, tmp_path / "out", max_bad_fraction=0.5) == made
    assert {
        file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir() if file.name != ".lock"
    } == before


def test_a_finished_build_that_lost_a_file_says_so(photos, tmp_path):
    small_build(photos, tmp_path / "out")
    (tmp_path / "out" / "a-00001-of-00002.tfrecords").unlink()
    with pytest.raises(InputError, match=r"this build, but a-00001-of-00002\.tfrecords is gone: name a new folder"):
        small_build(photos, tmp_path / "out")


def stopped(source, output):
    """Leaves a build that was stopped after its first chunk."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(InThisProcess, "map", lambda _, function, tasks: iter([function(next(tasks)), {}["stop"]]))
        small_build(source, output)
    assert (storage.path(str(output)) / ".build" / "chunk-000000.json").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"height": 9},
        {"channels": 3},
        {"resize": "fit"},
        {"seed": 1},
        {"splits": "a:1"},
        {"format": "bytes"},
        {"shards": 3},
    ],
)
def test_other_settings_are_not_mixed_with_a_build_that_was_stopped(settings, photos, tmp_path, wanted):
    stopped(photos, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(
        InputError, match=r"holds a build that was stopped, with other settings: give its command again"
    ):
        small_build(photos, tmp_path / "out", **settings)
    assert content(tmp_path / "out") == before
    assert_goes_on(photos, tmp_path / "out", wanted)


@pytest.mark.parametrize("change", ["more", "fewer", "touched", "other"])
def test_a_changed_input_is_not_mixed_with_a_build_that_was_stopped(change, photos, tmp_path):
    stopped(photos, tmp_path / "out")
    if change == "more":
        data_files.folder(photos, {"more.png": png(99)})
    elif change == "fewer":
        (photos / "007.png").unlink()
    elif change == "touched":
        os.utime(photos / "007.png", (1, 1))
    else:
        photos = data_files.folder(tmp_path / "other", CLASSES)
    with pytest.raises(InputError, match="was stopped, of another input, or of this one before it changed: give its"):
        small_build(photos, tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    small_build(photos, tmp_path / "out")
    small_build(photos, tmp_path / "anew")
    assert content(tmp_path / "out") == content(tmp_path / "anew")


def test_another_version_is_not_mixed_with_a_build_that_was_stopped(photos, tmp_path, monkeypatch):
    from gan.data import building

    stopped(photos, tmp_path / "out")
    monkeypatch.setattr(building, "__version__", "99.0")
    with pytest.raises(InputError, match="was stopped, by another version of this package and with other settings: "):
        small_build(photos, tmp_path / "out", height=9)


@pytest.mark.parametrize("runner, workers", [("local", 3), pytest.param("beam", 0, marks=pytest.mark.slow)])
def test_a_build_may_go_on_with_another_runner(runner, workers, photos, tmp_path, wanted):
    if runner == "beam":
        pytest.importorskip("apache_beam")
    stopped(photos, tmp_path / "out")
    small_build(photos, tmp_path / "out", runners.LocalRunner, runner=runner, workers=workers)
    assert content(tmp_path / "out") == wanted


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json", "train-00000-of-00001.tfrecords", ".hidden"])
def test_a_folder_that_holds_something_else_is_left_alone(name, photos, tmp_path):
    for data in (b"mine", b"[]", b'{"name": "app"}'):
        data_files.folder(tmp_path / "out", {name: data})
        with pytest.raises(InputError, match="holds something else than this build of this input with these settings"):
            small_build(photos, tmp_path / "out")
        assert content(tmp_path / "out") == {name: data}


def test_a_finished_build_is_not_written_over(photos, tmp_path):
    small_build(photos, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(InputError, match="holds something else"):
        small_build(photos, tmp_path / "out", seed=1)
    assert content(tmp_path / "out") == before


def test_an_output_that_is_a_file_is_a_mistake(photos, command, tmp_path):
    (tmp_path / "out").write_text("mine")
    done = command("build_records", f"--input={photos}", f"--output={tmp_path}/out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}/out: File exists; name another file or folder\n"
    assert (tmp_path / "out").read_text() == "mine"


def test_two_builds_in_a_folder_are_one_too_many(photos, tmp_path, wanted):
    words = "out is in use by another process; wait for it, or name another folder"
    with storage.lock(storage.path(str(tmp_path / "out"))), pytest.raises(InputError, match=words):
        small_build(photos, tmp_path / "out")
    assert_goes_on(photos, tmp_path / "out", wanted)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["chunk-000001.pixels", "a-00001-of-00002.tfrecords", "b.csv", "manifest.json"])
def test_a_full_disk_is_one_line_and_the_build_goes_on(where, number, photos, tmp_path, wanted, monkeypatch):
    original = storage.replacing

    @contextlib.contextmanager
    def full(target):
        with original(target) as writer:
            yield writer
            if target.name == where:
                raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(RunError) as error:
        patch.setattr(storage, "replacing", full)
        small_build(photos, tmp_path / "out")
    assert str(error.value) == f"{tmp_path}/out: {os.strerror(number)}; the same command goes on where it was"
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert_goes_on(photos, tmp_path / "out", wanted)


def test_too_many_bad_files_are_refused_and_what_was_prepared_is_kept(tmp_path, monkeypatch):
    bad = {f"bad\x1b[2J{number}.png": b"no image" for number in range(4)}
    source = data_files.folder(tmp_path / "in", {**TREE, **bad})
    with pytest.raises(InputError) as error:
        small_build(source, tmp_path / "out")
    reason = "is no image of a known kind (JPEG, PNG, BMP, GIF, WebP, PGM, TIFF)"
    assert str(error.value) == (
        "4 of 64 files are no usable images, more than --max_bad_fraction=0.05; with a larger one the same command "
        "goes on where it was; the first: " + "; ".join(rf"bad\x1b[2J{number}.png {reason}" for number in range(3))
    )
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "prepare", lambda *_, **__: pytest.fail("is prepared again"))
        made = small_build(source, tmp_path / "out", max_bad_fraction=4 / 64)
    assert made["refused"]["files"] == [[name, reason] for name in sorted(bad)]
    assert made["images"] == 60
    assert not (tmp_path / "out" / ".build").exists()


def test_without_one_usable_image_there_is_no_build(tmp_path):
    source = data_files.folder(tmp_path / "in", {name: BAD_IMAGES[name][0] for name in ("empty.jpg", "page.jpg")})
    with pytest.raises(
        InputError, match=r"^none of 2 files is a usable image; the first: empty.jpg is empty; page.jpg"
    ):
        small_build(source, tmp_path / "out", max_bad_fraction=1)


def test_a_table_of_files_that_are_not_there(tmp_path):
    source = data_files.folder(tmp_path / "in", listed(["path,label", "000.png,1", "gone.png,2", "../in/001.png,1"]))
    made = small_build(source / "list.csv", tmp_path / "out", max_bad_fraction=0.5)
    assert made["refused"]["files"] == [["gone.png", "does not exist"]]
    assert made["labels"] == {"1": 1}


# The real command. Its pictures are large, so that it takes a while: seven make a chunk.

LARGE = ["--height=600", "--width=600", "--channels=3", "--workers=2", "--splits=a:0.5,b:0.5", "--shards=3"]


@pytest.fixture
def large_photos(tmp_path):
    """A hundred different files, all of the same picture."""
    data = encoded(sample(900, 900), "PNG")
    return data_files.folder(tmp_path / "large", {f"{number:03}.png": data + bytes([number]) for number in range(100)})


def start(source, output):
    line = [sys.executable, "-m", "gan.build_records", f"--input={source}", f"--output={output}", *LARGE]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_of(process):
    return [int(pid) for pid in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def chunks_in(output):
    return len(list(output.glob(".build/chunk-*.json")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_command_with_one_line(number, large_photos, tmp_path):
    process = start(large_photos, tmp_path / "out")
    wait_for(lambda: chunks_in(tmp_path / "out"))
    workers = workers_of(process)
    assert len(workers) == 2
    process.send_signal(number)
    printed = process.communicate(timeout=20)
    assert (process.returncode, *printed) == (128 + number, "", "stopped; the same command goes on where it was\n")
    assert not any(map(alive, workers))
    assert 1 <= chunks_in(tmp_path / "out") < 15


@pytest.mark.slow
def test_a_killed_command_takes_its_workers_with_it(large_photos, tmp_path):
    process = start(large_photos, tmp_path / "out")
    wait_for(lambda: chunks_in(tmp_path / "out"))
    workers = workers_of(process)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(alive, workers)), 5)
    there = chunks_in(tmp_path / "out")
    time.sleep(0.5)
    assert chunks_in(tmp_path / "out") == there


@pytest.mark.slow
def test_a_killed_worker_is_one_line(large_photos, tmp_path):
    process = start(large_photos, tmp_path / "out")
    wait_for(lambda: chunks_in(tmp_path / "out"))
    workers = workers_of(process)
    os.kill(workers[0], signal.SIGKILL)
    output, complaint = process.communicate(timeout=20)
    assert (process.returncode, output) == (1, "")
    assert complaint.startswith("error: a worker was ended by SIGKILL at ")
    assert ", most likely for want of memory: fewer --workers need less; the same command goes on" in complaint
    assert complaint.count("\n") == 1
    assert not any(map(alive, workers))


@pytest.mark.exhaustive
def test_killed_at_random_moments_the_records_are_the_same_bytes(large_photos, tmp_path):
    process = start(large_photos, tmp_path / "whole")
    assert process.communicate()[1] == ""
    delays = random.Random(5)
    for reached in (1, 6, 11, 15):  # chunks of 15: the last kill falls into the writing
        process = start(large_photos, tmp_path / "killed")
        wait_for(lambda reached=reached: chunks_in(tmp_path / "killed") >= reached)
        time.sleep(0.05 * delays.random())
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(large_photos, tmp_path / "killed")
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert len(records_in(tmp_path / "killed")) == 3
    assert sum(len(table(tmp_path / "killed" / f"{name}.csv")) for name in "ab") == 100
    assert json.loads((tmp_path / "killed" / "manifest.json").read_text())["duplicates"] == {"exact": 99, "near": 0}
