"""Many devices: what the flags mean, one step on several devices, clusters of processes that stop, die and go on."""

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import record_files
import tensorflow as tf
from conftest import ROOT, sample_options

from gan import cluster, distribution, flags, presets, storage, train, training_state
from gan.errors import InputError, RunError, first_line

ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests", "TF_CPP_MIN_LOG_LEVEL": "3"}
SMOOTH = ("--generator_model=many_devices.SmoothGenerator", "--discriminator_model=many_devices.SmoothDiscriminator")


def machine(monkeypatch, gpus=0, tf_config=None):
    """Pretends to a machine with so many GPUs."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:{i}" for i in range(gpus)])
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config if isinstance(tf_config, str) else json.dumps(tf_config))


def tf_config(kind="worker", index=0, **cluster):
    return {"cluster": cluster or {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": kind, "index": index}}


@pytest.mark.parametrize(
    "gpus, settings, expected",
    [
        (0, {}, ("none", "CPU", 1)),
        (1, {}, ("none", "GPU", 1)),
        (4, {}, ("mirrored", "GPU", 4)),
        (4, {"num_devices": 2}, ("mirrored", "GPU", 2)),
        (4, {"num_devices": 1}, ("none", "GPU", 1)),
        (4, {"distribution": "none"}, ("none", "GPU", 1)),
        (4, {"distribution": "mirrored"}, ("mirrored", "GPU", 4)),
        (0, {"distribution": "mirrored"}, ("mirrored", "CPU", 2)),
        (0, {"distribution": "mirrored", "num_devices": 4}, ("mirrored", "CPU", 4)),
    ],
)
def test_the_devices_of_a_machine_are_found(gpus, settings, expected, monkeypatch):
    machine(monkeypatch, gpus)
    plan = distribution.plan(sample_options(batch_size=16, **settings))
    assert (plan.kind, plan.device_type, plan.num_devices) == expected
    assert plan.replicas == expected[2]


@pytest.mark.parametrize(
    "config, gpus, settings, expected",
    [
        (tf_config("chief"), 0, {}, ("multi_worker", 2, 0)),
        (tf_config("worker"), 0, {}, ("multi_worker", 2, 1)),
        (tf_config("master", master=["a:1"], worker=["b:1", "c:1"]), 2, {}, ("multi_worker", 6, 0)),
        (tf_config("worker", 1, master=["a:1"], worker=["b:1", "c:1"]), 4, {"num_devices": 2}, ("multi_worker", 6, 2)),
        (tf_config("worker", 1, worker=["b:1", "c:1"]), 0, {"distribution": "multi_worker"}, ("multi_worker", 2, 1)),
        (tf_config("chief", chief=["a:1"]), 2, {}, ("mirrored", 2, 0)),
        (tf_config("chief"), 0, {"distribution": "none"}, ("none", 1, 0)),
        ({"environment": "cloud"}, 0, {}, ("none", 1, 0)),
    ],
)
def test_the_cluster_is_that_of_tf_config(config, gpus, settings, expected, monkeypatch):
    machine(monkeypatch, gpus, config)
    plan = distribution.plan(sample_options(batch_size=12, **settings))
    assert (plan.kind, plan.replicas, plan.cluster.index) == expected


@pytest.mark.parametrize(
    "config, gpus, settings, words",
    [
        (None, 0, {"num_devices": 2}, "--num_devices=2: this machine has no GPU, and .* --distribution=mirrored tries"),
        (None, 2, {"num_devices": 3}, "--num_devices=3: this machine has 2 GPUs"),
        (None, 1, {"distribution": "mirrored", "num_devices": 2}, "--num_devices=2: this machine has 1 GPU$"),
        (None, 4, {"distribution": "none", "num_devices": 2}, "--distribution=none means 1"),
        (None, 0, {"distribution": "multi_worker"}, "needs the environment variable TF_CONFIG"),
        (None, 3, {}, "--batch_size=16 cannot be divided among 3 devices; 15 or 18 can"),
        (None, 0, {"distribution": "mirrored", "batch_size": 1}, "among 2 devices; 2 can"),
        (tf_config(), 0, {"batch_size": 15}, "--batch_size=15 cannot be divided among 2 devices; 14 or 16 can"),
        (tf_config(), 0, {"num_devices": 2}, "this machine has no GPU"),
        ("{", 0, {}, r"TF_CONFIG=\{ cannot be used \(Expecting property name.*; expected"),
        ("[]", 0, {}, r"TF_CONFIG=.* cannot be used \(it is no object"),
        (tf_config("worker", "a"), 0, {}, "the index 'a' is no number from 0"),
        ({"cluster": {"worker": ["a:1", "b:1"]}}, 0, {}, r"\('task' is missing\)"),
        (tf_config("ps", ps=["a:1"], worker=["b:1"]), 0, {}, "'ps': here are chief .or master. and worker"),
        (tf_config("evaluator"), 0, {}, "'evaluator': here are chief"),
        (tf_config("worker", 1), 0, {}, "the cluster has no worker 1, which is to be this process"),
        (tf_config("chief", chief=["a:1", "b:1"]), 0, {}, "more than one chief"),
        (tf_config("worker", worker=["a:1", "b"]), 0, {}, "'b' is no HOST:PORT"),
        (tf_config("worker", worker=[1, 2]), 0, {}, "TF_CONFIG=.* cannot be used"),
    ],
)
def test_what_cannot_be_is_refused(config, gpus, settings, words, monkeypatch):
    machine(monkeypatch, gpus, config)
    with pytest.raises(InputError, match=words):
        distribution.plan(sample_options(**{"batch_size": 16, **settings}))


def test_what_tensorflow_says_of_a_process_that_is_gone_is_found_in_its_text():
    text = """Graph execution error:

Detected at node CollectiveReduceV2 defined at (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main

  File "/somewhere/train.py", line 3, in <module>

    main()

Collective ops is aborted by: Connection reset by peer
\tThe error could be from a previous operation."""
    assert first_line(RuntimeError(text)) == "Collective ops is aborted by: Connection reset by peer"


def test_devices_that_tensorflow_has_begun_without_are_refused():
    tf.zeros([])
    with pytest.raises(InputError, match="--num_devices=3: TensorFlow has begun with 1 logical CPU in this process"):
        distribution.connect(distribution.Plan("mirrored", "CPU", 3))


SOME = ("batch_norm", "adam", "all_at_once", "shared", "wgan", "saturated", "regularised", "float16", "noise")


def compared(folder, cases):
    """Returns {case: (results with one device, results with two)}, see `many_devices`."""
    line = [sys.executable, ROOT / "tests" / "many_devices.py", folder, *cases]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr
    return {case: tuple(dict(np.load(folder / f"{case}_{count}.npz")) for count in (1, 2)) for case in cases}


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    return compared(tmp_path_factory.mktemp("devices"), SOME)


def furthest(one, two, kind):
    return max(np.max(np.abs(one[name].astype(float) - two[name])) for name in one if name.startswith(kind))


def moved(found, network):
    trained = [name for name in found if name.startswith(f"before/{network}/") and "moving" not in name]
    return max(np.max(np.abs(found[name.replace("before", "after", 1)] - found[name])) for name in trained)


def assert_the_same(one, two, tolerance):
    assert list(one) == list(two)
    assert furthest(one, two, "before/") == 0
    assert furthest(one, two, "metric/") < tolerance
    assert furthest(one, two, "after/") < tolerance


@pytest.mark.parametrize("case", ["batch_norm", "adam", "all_at_once", "shared", "wgan", "saturated", "regularised"])
def test_two_devices_train_like_one(case, some):
    one, two = some[case]
    assert_the_same(one, two, 1e-5)
    assert moved(one, "discriminator") > 1e-3


def test_two_devices_scale_float16_like_one(some):
    one, two = some["float16"]
    assert_the_same(one, two, 1e-3)
    assert moved(one, "discriminator") > 1e-2
    scales = [value for name, value in two.items() if name.startswith("after/") and name.endswith("scale")]
    assert [float(scale) for scale in scales] == [2.0**15] * 2


def test_devices_draw_numbers_of_their_own_and_a_save_repeats_them(some):
    for found in some["noise"]:
        assert np.all(found["metric/g_loss"] > 1e-6)
        np.testing.assert_array_equal(found["repeated/once"], found["repeated/again"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", presets.own_names())
def test_every_preset_trains_on_two_devices_like_on_one(case, tmp_path):
    """ReLUs make more of a rounding error now and then; a gradient of the wrong size would be off by 0.05 and more."""
    one, two = compared(tmp_path, [case])[case]
    assert_the_same(one, two, 5e-3)
    assert moved(one, "discriminator") > 1e-3


def free_addresses(count):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return ["{}:{}".format(*each.getsockname()) for each in sockets]


def test_a_cluster_that_never_gets_complete_is_not_waited_for_without_end(monkeypatch, capsys):
    here, nobody = free_addresses(2)
    monkeypatch.setattr(cluster, "_PATIENCE_SECONDS", 0.1)
    machine(monkeypatch, tf_config=tf_config("chief", chief=[here], worker=[nobody]))
    with pytest.raises(RunError, match=rf"^process 1 of 2 \(chief 0\) cannot join .*: {nobody} did not come: see what"):
        distribution.connect(distribution.plan(sample_options(batch_size=16)))
    assert capsys.readouterr().out == f"process 1 of 2 (chief 0): waits for {nobody}\n"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_process_is_found_by_either_kind_of_address(host):
    here, there = (address.rpartition(":")[2] for address in free_addresses(2))
    processes = cluster.Cluster({"worker": (f"{host}:{here}", f"{host}:{there}")}, "worker", 0)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        waiting = threads.submit(cluster.await_the_others, processes, "here")
        with contextlib.suppress(StopIteration):
            while True:
                assert not waiting.done()
                with contextlib.suppress(ConnectionError), socket.create_connection((host.strip("[]"), int(here))):
                    raise StopIteration
        with socket.create_server(("", int(there)), family=socket.AF_INET6, dualstack_ipv6=True):
            waiting.result()


class Cluster:
    """A chief and a worker that train in `folder/run`, the worker in an empty folder of its own."""

    def __init__(self, folder, *flags, of_worker=()):
        self._log = folder / "run" / "train.log"
        chief, worker = free_addresses(2)
        jobs = {"chief": [chief], "worker": [worker]}
        self.worker_folder = folder / "worker"
        self.chief = self._start(tf_config("chief", **jobs), folder, f"--train_dir={folder}/run", *flags)
        self.worker = self._start(tf_config("worker", **jobs), self.worker_folder, *flags, *of_worker)

    def _start(self, config, folder, *flags):
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "gan.train", "--train_dir=own", *flags],
            cwd=folder,
            env={**ENVIRONMENT, "TF_CONFIG": json.dumps(config)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def await_steps(self, count):
        """Waits until so many steps more are in the log."""
        goal = self._steps() + count
        while self._steps() < goal:
            assert self.chief.poll() is None, self.chief.communicate()
            assert self.worker.poll() is None, self.worker.communicate()
            time.sleep(0.05)

    def _steps(self):
        return self._log.read_text().count("training step") if self._log.exists() else 0

    def end(self):
        """Returns (exit code, output, errors) of the chief and of the worker, where that is alive."""
        found = []
        for process in (self.chief, self.worker):
            output, errors = process.communicate(timeout=300)
            assert "Traceback" not in errors, errors
            found.append((process.returncode, output, errors))
        assert not list(self.worker_folder.iterdir())
        return found


@pytest.fixture
def data(tmp_path, random_pixels):
    """Flags for 50 images, of which no number of batches is an epoch."""
    file = record_files.write_images(tmp_path / "few.tfrecords", random_pixels(50, 64))
    return f"--train_data_pattern={file}", "--image_height=8", "--image_width=8"


def newest(folder):
    run = training_state.RunFolder(storage.path(str(folder / "run")))
    step = run.saved_steps()[-1]
    return step, run.load(step)


def run_json(folder):
    return json.loads((folder / "run" / "run.json").read_text())


LIKE_ONE = ("--preset=sample", *SMOOTH, "--optimizer=SGD", "--base_learning_rate=0.05", "--batch_size=16")


def assert_one_device_gets_there(cluster_folder, alone, *flags):
    """Trains alone to the step of a cluster's newest save; weights and the graph of the submission are the same."""
    step, of_cluster = newest(cluster_folder)
    train.train(flags_to_options(f"--train_dir={alone}/run", *flags, f"--max_steps={step}", "--num_epochs=100000"))
    _, of_one = newest(alone)
    assert list(of_one) == list(of_cluster)
    for name in of_one:
        np.testing.assert_allclose(of_one[name], of_cluster[name], rtol=0, atol=1e-5, err_msg=name)
    graphs = [(folder / "run" / f"model.ckpt-{step}.meta").read_bytes() for folder in (alone, cluster_folder)]
    assert graphs[0] == graphs[1]


@pytest.mark.exhaustive
def test_a_cluster_is_killed_stopped_and_where_one_device_would_be(tmp_path, data):
    endless = ("--max_steps=100000", "--num_epochs=100000")
    cluster = Cluster(tmp_path, *LIKE_ONE, *data, *endless, "--save_secs=0")
    cluster.await_steps(3)
    cluster.worker.kill()
    (chief, output, errors), _ = cluster.end()
    assert chief == 1
    assert "on the CPU of each of 2 processes" in output
    assert errors.startswith("error: another process of the cluster is gone") and errors.count("\n") == 1

    killed_at, _ = newest(tmp_path)
    cluster = Cluster(tmp_path, *LIKE_ONE, *data, *endless, "--save_secs=100000")  # so that only the signal saves
    cluster.await_steps(20)
    cluster.worker.send_signal(signal.SIGTERM)
    (chief, output, errors), (worker, line, last_words) = cluster.end()
    step, _ = newest(tmp_path)
    assert step >= killed_at + 20
    assert (chief, worker) == (128 + signal.SIGTERM, 128 + signal.SIGTERM)
    assert f"going on from step {killed_at}" in output
    assert f"SIGTERM: saved step {step}; the same command goes on" in errors
    assert last_words == f"SIGTERM: stopped after step {step}\n"
    assert line.count("\n") <= 1  # that it waits, where it came first
    assert run_json(tmp_path)["devices"] == {"distribution": "multi_worker", "replicas": 2, "processes": 2}
    assert_one_device_gets_there(tmp_path, tmp_path / "alone", *LIKE_ONE, *data)


@pytest.mark.exhaustive
def test_a_cluster_ends_where_one_device_does(tmp_path, data):
    ended = Cluster(tmp_path, *LIKE_ONE, *data, "--max_steps=20").end()
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert_one_device_gets_there(tmp_path, tmp_path / "alone", *LIKE_ONE, *data)


def flags_to_options(*arguments):
    return flags.parse(train.TrainOptions, ["train", *arguments])


@pytest.mark.exhaustive
def test_a_run_goes_on_with_another_number_of_devices(command, tmp_path):
    train.train(sample_options(train_dir=str(tmp_path / "run"), max_steps=1, batch_size=8))
    line = (f"--train_dir={tmp_path}/run", "--preset=sample", "--batch_size=8", "--max_steps=2")
    done = command("train", *line, "--distribution=mirrored", "--num_devices=2")
    assert done.returncode == 0, done.stderr
    assert "on the 2 CPUs" in done.stdout
    assert "distribution was auto, is now mirrored; num_devices was None, is now 2" in done.stdout
    assert run_json(tmp_path)["devices"] == {"distribution": "mirrored", "replicas": 2, "processes": 1}
    train.train(sample_options(train_dir=str(tmp_path / "run"), max_steps=3, batch_size=8))
    assert newest(tmp_path)[0] == 3


@pytest.mark.exhaustive
def test_what_the_chief_refuses_ends_the_others(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").write_text("precious")
    (chief, _, errors), (worker, _, last_words) = Cluster(tmp_path, "--preset=sample", "--max_steps=1").end()
    assert (chief, worker) == (2, 2)
    assert "holds 'checkpoint' but no run.json" in errors
    assert last_words.startswith("error: process 1 of 2 refuses: --train_dir=") and errors[7:] in last_words


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "of_worker, words",
    [
        (["--seed=1"], "process 2 of 2 does not fit the chief: --seed is 1, the chief's 0"),
        (["--train_data_pattern=/no/such/file"], "no file matches '/no/such/file'"),
    ],
)
def test_a_worker_that_does_not_fit_ends_the_others(of_worker, words, tmp_path):
    flags = ("--preset=sample", "--max_steps=1", "--use_mnist")
    for code, _, errors in Cluster(tmp_path, *flags, of_worker=of_worker).end():
        assert code == 2
        assert words in errors
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.exhaustive
def test_workers_stop_when_the_chief_is_killed(tmp_path):
    cluster = Cluster(tmp_path, "--preset=sample", "--num_epochs=100000", "--save_secs=0")
    cluster.await_steps(3)
    cluster.chief.kill()
    _, (worker, _, errors) = cluster.end()
    assert worker == 1
    assert errors.startswith("error: another process of the cluster is gone") and errors.count("\n") == 1
