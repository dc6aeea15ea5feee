"""Trackers see what a run does, and whatever becomes of them, the run goes on."""

import glob
import importlib.util
import json
import os
import pathlib
import re
import signal
import struct
import tempfile
import time
import typing

import emulator
import numpy as np
import pytest
from conftest import ROOT, sample_options
from PIL import Image

from gan import storage, tracking, train
from gan.errors import InputError, Interrupted, RunError

METHODS = ("start", "scalars", "picture", "histograms", "artifact", "flush", "close", "places")


class Recorder(tracking.BaseTracker):
    """Keeps what it is told."""

    made: typing.ClassVar[list] = []

    def __init__(self):
        self.calls = {name: [] for name in METHODS}
        self.made.append(self)

    def start(self, folder, run, step):
        self.calls["start"].append((folder, run, step))

    def scalars(self, step, values):
        self.calls["scalars"].append((step, values))

    def picture(self, step, name, picture):
        self.calls["picture"].append((step, name, picture))

    def histograms(self, step, arrays):
        self.calls["histograms"].append((step, arrays))

    def artifact(self, step, name, path):
        self.calls["artifact"].append((step, name, path, path.exists()))

    def flush(self):
        self.calls["flush"].append(())

    def close(self, failed):
        self.calls["close"].append(failed)

    def places(self):
        return {"recorder://": "all that happened"}


def failing(method):
    """Returns a tracker class of which one method fails."""

    def fail(self, *_, **__):
        Recorder.made.append(method)
        raise ValueError(f"no {method} today\nand a second line")

    return type(f"Failing_{method}", (Recorder,), {method: fail})


for _method in METHODS:
    globals()[f"Failing_{_method}"] = failing(_method)


class Unusable(tracking.BaseTracker):
    def __init__(self):
        raise InputError("--track=Unusable: it is not plugged in")


@pytest.fixture(autouse=True)
def recorders():
    Recorder.made.clear()
    return Recorder.made


def options(folder, **settings):
    defaults = {"batch_size": 16, "max_steps": 20, "export_image_steps": 10, "histograms": True}
    return sample_options(train_dir=str(folder / "run"), **{**defaults, **settings})


def events(folder):
    from tensorboard.backend.event_processing import event_accumulator

    return event_accumulator.EventAccumulator(str(folder)).Reload()


def test_a_tracker_is_told_of_everything(tmp_path, recorders, capsys):
    train.train(options(tmp_path, track="test_tracking.Recorder", export_model_steps=15, seed=4))
    (recorder,) = recorders
    calls = recorder.calls
    ((folder, run, step),) = calls["start"]
    assert (folder, step) == (storage.path(str(tmp_path / "run")), 0)
    assert run == json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["options"]["seed"], run["data_count"]) == (4, 1437)

    losses = [(step, values["g_loss"]) for step, values in calls["scalars"] if "g_loss" in values]
    log = (tmp_path / "run" / "train.log").read_text()
    assert [step for step, _ in losses] == [10, 20]
    for step, loss in losses:
        assert f"training step {step} | G Loss: {loss:.4f} |" in log
    assert [step for step, values in calls["scalars"] if "variety" in values] == [0, 10, 15, 20, 20]
    assert [(step, name) for step, name, _ in calls["picture"]] == [
        (0, "generated"),
        (10, "generated"),
        (20, "generated"),
    ]
    for number, (_, _, picture) in enumerate(calls["picture"]):
        np.testing.assert_array_equal(picture, Image.open(tmp_path / "run" / "images" / f"{number:03}.png"))
    assert [step for step, _ in calls["histograms"]] == [0, 10, 20]
    assert all(array.shape for array in calls["histograms"][0][1].values() if array.size > 1)
    exports = tmp_path / "run" / "export"
    assert [(step, name, str(path), there) for step, name, path, there in calls["artifact"]] == [
        (15, "submission", str(exports / "step_15"), True),
        (20, "submission", str(exports / "step_20"), True),
        (20, "film", str(tmp_path / "run" / "images" / "training.gif"), True),
    ]
    assert calls["close"] == [False]
    printed = capsys.readouterr().out
    assert "recorder://" in printed and "tensorboard" not in printed
    assert not glob.glob(str(tmp_path / "run" / "events*"))


def test_a_session_that_goes_on_says_where(tmp_path, recorders):
    for steps in (10, 30):
        train.train(options(tmp_path, track="test_tracking.Recorder", max_steps=steps))
    assert [recorder.calls["start"][0][2] for recorder in recorders] == [0, 10]
    assert [step for step, values in recorders[1].calls["scalars"] if "g_loss" in values] == [20, 30]


def test_tensorboard_shows_the_flags(tmp_path):
    from tensorboard.plugins.hparams import plugin_data_pb2

    train.train(options(tmp_path, seed=4, base_learning_rate=0.25, use_mnist=True))
    shown = events(tmp_path / "run")
    (text,) = shown.Tensors("flags")
    (table,) = text.tensor_proto.string_val
    assert b"\n| --seed | 4 |\n" in table and b"\n| --max_steps | 20 |" in table
    plugin = shown.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    flags = plugin_data_pb2.HParamsPluginData.FromString(plugin).session_start_info.hparams
    assert (flags["base_learning_rate"].number_value, flags["use_mnist"].bool_value) == (0.25, True)
    assert {"generated", "g_loss", "generator/000/kernel"} <= set(shown.Tags()["tensors"])
    assert [event.step for event in shown.Tensors("generated")] == [0, 10, 20]


@pytest.mark.parametrize("largest", [tracking.EVENTS_BYTES, 1])  # with 1 each save begins a file
def test_tensorboard_shows_a_run_whose_curves_are_in_a_bucket(largest, tmp_path, storage_server, monkeypatch, capsys):
    monkeypatch.setattr(tracking, "EVENTS_BYTES", largest)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    logs = storage.path(storage_server.bucket("team")) / "mine" / "logs"
    storage_server.order(emulator.refused(503), "POST")
    storage_server.order(emulator.lost(emulator.reset), "POST", spared=1)
    train.train(options(tmp_path, tensorboard_dir=f"{logs}/", save_secs=0))
    assert "warning" not in capsys.readouterr().out
    (tmp_path / "copy").mkdir()
    storage.copy_files((file, storage.path(tmp_path / "copy" / file.name)) for file in logs.iterdir())
    assert (len(list(logs.iterdir())) > 1) == (largest == 1)
    shown = events(tmp_path / "copy")
    for name, steps in (("g_loss", [10, 20]), ("generated", [0, 10, 20])):
        assert sorted(event.step for event in shown.Tensors(name)) == steps, "files of one second have no order"
    assert not list((tmp_path / "run").glob("events*"))
    assert list((tmp_path / "temporary").iterdir()) == []


class Hanging(Recorder):
    def scalars(self, step, values):
        if step == 10:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)


def test_a_second_signal_ends_a_run_whose_tracker_hangs(tmp_path, capsys):
    with pytest.raises(Interrupted, match="SIGINT again: stopped at once"):
        train.train(options(tmp_path, track="test_tracking.Hanging"))
    assert "warning" not in capsys.readouterr().out


def test_trackers_that_fail_never_stop_or_change_a_run(tmp_path, recorders, capsys):
    train.train(options(tmp_path / "without", track=""))
    assert not glob.glob(str(tmp_path / "without" / "run" / "events*"))
    assert not re.search("warning|tensorboard", capsys.readouterr().out)

    names = [f"test_tracking.Failing_{method}" for method in METHODS]
    train.train(options(tmp_path / "with", track=",".join([*names, "test_tracking.Recorder"])))
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(warnings) == len(METHODS)
    for method in METHODS:
        (warning,) = [line for line in warnings if f"Failing_{method} " in line]
        assert re.fullmatch(
            rf"warning: Failing_{method} failed: ValueError: no {method} today \(.*test_tracking.py, line \d+\); "
            "it is left out from here on, training goes on",
            warning,
        )
    *failed, healthy = (entry for entry in recorders if isinstance(entry, Recorder))
    assert [tracker.calls["close"] for tracker in failed if type(tracker).__name__ != "Failing_close"] == [[True]] * 7
    assert recorders.count("scalars") == recorders.count("picture") == 1
    assert healthy.calls["close"] == [False] and len(healthy.calls["artifact"]) == 2

    a, b = (np.load(tmp_path / name / "run" / "resume" / "step_20.npz") for name in ("with", "without"))
    assert a.files == b.files
    for array in a.files:
        np.testing.assert_array_equal(a[array], b[array])


def test_a_run_that_fails_is_closed_as_failed(tmp_path, recorders):
    with pytest.raises(RunError):
        train.train(options(tmp_path, track="test_tracking.Recorder", base_learning_rate=1e30, optimizer="SGD"))
    assert recorders[0].calls["close"] == [True]


@pytest.mark.parametrize(
    "track, words",
    [
        ("wanb", "--track=wanb: expected tensorboard, wandb or a class by dotted path"),
        ("no_such_module.Tracker", "No module named 'no_such_module'"),
        ("test_tracking.METHODS", "no such class"),
        ("test_tracking.Unusable", "it is not plugged in"),
        ("tensorboard,gan.models.SampleGenerator", "does not extend BaseTracker"),
    ],
)
def test_what_is_no_tracker_is_refused_before_anything_is_written(tmp_path, track, words):
    with pytest.raises(InputError, match=words):
        train.train(options(tmp_path, track=track))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else find_spec(name))
    with pytest.raises(InputError, match=r"--track=wandb needs another package: pip install 'gan\[track\]'"):
        train.train(options(tmp_path, track="wandb"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    """Nobody is logged in at Weights & Biases, and no setting of this machine's user counts."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield monkeypatch
    wandb.teardown()


@pytest.fixture
def offline(no_account):
    no_account.setenv("WANDB_MODE", "offline")
    return no_account


def kept_by_wandb(folder):
    """Returns (run, config, history, artifacts) of an offline session, whose file has LevelDB's log format."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.teardown()  # as at the end of a command: its other process writes on after the end of a run
    (file,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    data, place, parts, records = file.read_bytes(), 7, [], []
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts.append(data[place + 7 : place + 7 + size])
        place += 7 + size
        if kind in (1, 4):  # the whole of a record, or its last part
            records.append(wandb_internal_pb2.Record.FromString(b"".join(parts)))
            parts = []
    kinds = [(record.WhichOneof("record_type"), record) for record in records]
    (run,) = (record.run for kind, record in kinds if kind == "run")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    history = [as_dict(record.history.item) for kind, record in kinds if kind == "history"]
    artifacts = [record.artifact for kind, record in kinds if kind == "artifact"]
    return run, config, history, artifacts


def as_dict(items):
    """Nested keys become paths: {"generated/width": 112}."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.mark.extras
def test_wandb_keeps_everything_offline(tmp_path, offline):
    import tensorflow as tf

    offline.setenv("WANDB_PROJECT", "our_project")
    train.train(options(tmp_path, track="tensorboard,wandb", seed=4))
    run, config, history, artifacts = kept_by_wandb(tmp_path / "run")
    assert (run.project, run.display_name) == ("our_project", "run")
    assert run.run_id == (tmp_path / "run" / "wandb" / "run_id").read_text()
    assert (config["seed"], config["generator_model"], config["data_count"]) == (4, "SampleGenerator", 1437)
    losses = {entry["step"]: entry["g_loss"] for entry in history if "g_loss" in entry}
    tensors = {
        event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events(tmp_path / "run").Tensors("g_loss")
    }
    assert losses == pytest.approx(tensors) and list(losses) == [10, 20]
    assert [entry["step"] for entry in history if "generated/width" in entry] == [0, 10, 20]
    assert all(entry["generated/width"] == 112 for entry in history if "generated/width" in entry)
    assert [entry["step"] for entry in history if "generator/000/kernel/_type" in entry] == [0, 10, 20]
    assert [artifact.type for artifact in artifacts] == ["submission", "film"]
    assert all(set(artifact.aliases) == {"latest", "step_20"} for artifact in artifacts)
    assert {entry.path for entry in artifacts[0].manifest.contents} >= {
        "step_20/saved_model.pb",
        "step_20/submission.json",
        "step_20/variables/variables.index",
    }
    train.train(options(tmp_path, track="wandb", max_steps=30, seed=4))
    assert len(list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{run.run_id}"))) == 2
    train.train(options(tmp_path, track="wandb", max_steps=2, start_new_model=True))
    assert (tmp_path / "run" / "previous" / "1" / "wandb" / "run_id").read_text() == run.run_id
    assert (tmp_path / "run" / "wandb" / "run_id").read_text() != run.run_id


@pytest.mark.extras
@pytest.mark.parametrize(
    "settings, words",
    [
        ({}, "nobody is logged in; run `wandb login`, or set WANDB_MODE=offline"),
        ({"WANDB_API_KEY": "abc"}, "API key must have 40"),
        ({"WANDB_MODE": "ofline"}, "Input should be 'online', 'offline'"),
    ],
)
def test_wandb_that_cannot_work_is_refused(tmp_path, no_account, settings, words):
    for name, value in settings.items():
        no_account.setenv(name, value)
    with pytest.raises(InputError, match=words):
        train.train(options(tmp_path, track="wandb"))
    assert not (tmp_path / "run").exists()


@pytest.mark.extras
def test_a_server_that_does_not_answer_stops_nothing(tmp_path, no_account, capsys):
    no_account.setattr(tracking, "WANDB_SECONDS", 2.0)
    no_account.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    no_account.setenv("WANDB_API_KEY", "a" * 40)
    train.train(options(tmp_path, track="wandb"))
    assert "warning: WandbTracker failed: CommError" in capsys.readouterr().out
    assert (tmp_path / "run" / "model.ckpt-20.index").exists()


class ServiceKiller(tracking.BaseTracker):
    """Kills the process through which wandb works, after the first ten steps."""

    def scalars(self, step, values):
        if step == 10 and "g_loss" in values:
            for pid in children():
                os.kill(pid, 9)
            while children():
                time.sleep(0.01)


def children():
    """Returns the process ids of this process's children that are called wandb-core and live."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = file.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if name.startswith("wandb-core") and int(parent) == os.getpid() and state != "Z":
            found.append(int(file.parent.name))
    return found


@pytest.mark.extras
def test_wandb_that_dies_stops_nothing(tmp_path, offline, command):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    flags = ("--preset=sample", "--max_steps=20", "--track=wandb,test_tracking.ServiceKiller", "--train_dir=run")
    done = command("train", *flags, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("warning")]
    assert warning.startswith("warning: WandbTracker failed: Connection")
    assert (tmp_path / "run" / "model.ckpt-20.index").exists()
