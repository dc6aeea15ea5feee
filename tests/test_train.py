import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import record_files
from conftest import ROOT, sample_options
from PIL import Image

from gan import digits, pictures, readers, records, spec, storage, train, trainer, training_state
from gan.errors import InputError, RunError

STEP_LINE = re.compile(
    r"training step \d+ \| G Loss: -?\d+\.\d{4} \| D loss: -?\d+\.\d{4} \| Examples/sec: \d+\.\d\d"
    r"( \| D accuracy on G: [01]\.\d\d \| D accuracy on real: [01]\.\d\d)?"
)


def options(folder, **settings):
    defaults = {"batch_size": 16, "max_steps": 3, "image_dir": str(folder / "pictures"), "save_secs": 0.0}
    return sample_options(train_dir=str(folder / "run"), **{**defaults, **settings})


def weights(folder, step):
    return training_state.RunFolder(storage.path(str(folder / "run"))).load(step)


def assert_same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_run_leaves_what_teams_know(tiny_run):
    run, image_dir = tiny_run
    names = {entry.name for entry in run.iterdir()}
    assert {"checkpoint", "submission.json", "run.json", "resume", "train.log"} <= names
    for step in (4, 6):
        assert {f"model.ckpt-{step}.meta", f"model.ckpt-{step}.index"} <= names
        assert (run / "export" / f"step_{step}" / "saved_model.pb").exists()
    assert 'model_checkpoint_path: "model.ckpt-6"' in (run / "checkpoint").read_text()
    assert any(name.startswith("events.out.tfevents") for name in names)
    lines = [line for line in (run / "train.log").read_text().splitlines() if line.startswith("training step")]
    assert [int(line.split()[2]) for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(STEP_LINE.fullmatch(line) for line in lines)
    assert sorted(file.name for file in image_dir.iterdir()) == ["000.png", "001.png", "002.png", "training.gif"]
    assert Image.open(image_dir / "002.png").size == (112, 112)
    assert Image.open(image_dir / "training.gif").n_frames == 3


def test_submission_json_tells_where_the_models_come_from(tiny_run):
    facts = json.loads((tiny_run[0] / "submission.json").read_text())
    run = json.loads((tiny_run[0] / "run.json").read_text())
    assert facts["generator_model"] == "SampleGenerator"
    assert facts["image_shape"] == [28, 28, 1]
    assert facts["data_fingerprint"] == run["data_fingerprint"]
    assert (facts["step"], facts["seed"], facts["latent_size"]) == (6, 0, 100)


def test_tensorboard_shows_curves_and_pictures(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    train.train(options(tmp_path, max_steps=20))
    events = event_accumulator.EventAccumulator(str(tmp_path / "run")).Reload()
    assert {"generated", "g_loss", "d_loss", "d_accuracy_on_real", "learning_rate"} <= set(events.Tags()["tensors"])
    assert [event.step for event in events.Tensors("g_loss")] == [10, 20]


def test_training_learns(tmp_path):
    """The mean of the generated digits comes near that of the real ones, from which it starts far away."""

    train.train(options(tmp_path, max_steps=150, batch_size=64, export_image_steps=150, base_learning_rate=0.002))
    data = digits.load("train")
    target = data.pixels.take(np.arange(len(data))).mean()
    first, last = (pictures.decode((tmp_path / "pictures" / f"{i:03}.png").read_bytes()).mean() for i in (0, 1))
    assert abs(first - target) > 40
    assert abs(last - target) < 20


@pytest.mark.parametrize(
    "settings, step",
    [
        ({"max_steps": 2}, 2),
        ({"max_steps": None, "num_epochs": 1, "batch_size": 500}, 2),  # 1437 images make 2 whole batches
        ({"max_steps": 9, "num_epochs": 2, "batch_size": 500}, 5),
        ({"max_steps": None, "num_epochs": 2, "batch_size": 3000}, 1),
    ],
)
def test_training_ends_by_epochs_or_steps_whichever_comes_first(settings, step, tmp_path):
    train.train(options(tmp_path, export_generated_images=False, **settings))
    assert f'model_checkpoint_path: "model.ckpt-{step}"' in (tmp_path / "run" / "checkpoint").read_text()
    assert not (tmp_path / "pictures").exists()


def test_the_same_seed_gives_the_same_bits(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        settings = {"generator_model": "DCGANGenerator", "discriminator_model": "DCGANDiscriminator"}
        train.train(options(tmp_path / name, seed=seed, feature_size=2, **settings))
    assert_same(weights(tmp_path / "a", 3), weights(tmp_path / "b", 3))
    assert (tmp_path / "a/pictures/001.png").read_bytes() == (tmp_path / "b/pictures/001.png").read_bytes()
    assert not np.array_equal(*(weights(tmp_path / name, 3)["generator/000/kernel"] for name in "ac"))


NOISY = {"generator_model": "my_models.NoisyGenerator", "discriminator_model": "my_models.DropoutDiscriminator"}
# What else a run could forget: averages, lazy penalties and their draws, a probability that adapts, the fitted p.
NOISY |= {
    "average_half_life": 1000,
    "average_discriminator": True,
    "gradient_penalties": "R1Penalty,WassersteinPenalty",
    "gradient_penalty_interval": 2,
    "horizontal_flip": True,
    "augmentations": "Translation,BrightnessContrast",
    "adaptive_augmentation_target": 0.5,
    "held_out_images": 100,
    "negatives": "Grain,Ghost",
}


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    """Batch statistics, dropout, random numbers without a layer, optimizers: all are in the save."""
    train.train(options(tmp_path / "whole", max_steps=7, **NOISY))
    for steps in (2, 3, 7):
        train.train(options(tmp_path / "parts", max_steps=steps, **NOISY))
    assert_same(weights(tmp_path / "whole", 7), weights(tmp_path / "parts", 7))
    assert {name.split("/")[0] for name in weights(tmp_path / "whole", 7)} == {
        "generator",
        "discriminator",
        "generator_optimizer",
        "discriminator_optimizer",
        "generator_average",
        "discriminator_average",
        "guard",
        "guard_optimizer",
        "guard_average",
        "augmentation",
        "calibration",
        "other",
        "pictures_written",
    }


def spawn(folder, steps, *flags):
    line = [sys.executable, "-m", "gan.train", f"--train_dir={folder}/run", f"--image_dir={folder}/pictures"]
    line += ["--preset=sample", *(f"--{name}={value}" for name, value in NOISY.items())]
    line += [f"--max_steps={steps}", "--batch_size=16", "--save_secs=0", "--export_model_steps=7", *flags]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def newest_save(folder):
    return max(training_state.RunFolder(storage.path(str(folder / "run"))).saved_steps(), default=0)


@pytest.mark.exhaustive
def test_killed_at_random_moments_the_weights_are_the_same_bits(tmp_path):
    steps = 60
    assert spawn(tmp_path / "whole", steps).wait() == 0
    moments = random.Random(5)
    kills = 0
    while newest_save(tmp_path / "killed") < steps - 10:
        process = spawn(tmp_path / "killed", steps)
        goal = newest_save(tmp_path / "killed") + moments.randint(1, 25)
        while process.poll() is None and newest_save(tmp_path / "killed") < goal:
            time.sleep(moments.random() * 0.02)
        process.kill()
        process.wait()
        kills += 1
    assert kills >= 2
    assert spawn(tmp_path / "killed", steps).wait() == 0
    assert_same(weights(tmp_path / "whole", steps), weights(tmp_path / "killed", steps))
    hashes = [
        json.loads((tmp_path / name / "run" / "submission.json").read_text())["sha256"] for name in ("whole", "killed")
    ]
    assert hashes[0] == hashes[1], "the submissions are the same bytes"
    pictures_of = [sorted((tmp_path / name / "pictures").iterdir()) for name in ("whole", "killed")]
    for one, other in zip(*pictures_of, strict=True):
        assert one.read_bytes() == other.read_bytes(), other


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)])
def test_a_signal_saves_says_so_and_loses_nothing(number, tmp_path):
    process = spawn(tmp_path, 100000, "--save_secs=1000", "--num_epochs=100000")
    log = tmp_path / "run" / "train.log"
    while process.poll() is None and not (log.exists() and "training step" in log.read_text()):
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    step = newest_save(tmp_path)
    assert step > 0
    assert f"{number.name}: saved step {step}; the same command goes on" in output
    lines = [line for line in log.read_text().splitlines() if line.startswith("training step")]
    assert lines[-1].startswith(f"training step {step} ")
    assert "Traceback" not in output
    assert (tmp_path / "run" / f"model.ckpt-{step}.meta").exists(), "what was trained can be handed over"


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    train.train(options(folder, max_steps=2))
    return folder


@pytest.mark.parametrize(
    "change, words",
    [
        ({"generator_model": "DCGANGenerator"}, "--generator_model was SampleGenerator, is now DCGANGenerator"),
        ({"discriminator_model": "my_models.DropoutDiscriminator"}, "--discriminator_model was"),
        ({"batch_size": 17}, "--batch_size was 16, is now 17"),
        ({"seed": 9}, "--seed was 0, is now 9"),
        ({"optimizer": "SGD"}, "--optimizer was AdamOptimizer, is now SGD"),
        ({"latent_size": 50}, "--latent_size was 100, is now 50"),
        ({"feature_size": 8}, "--feature_size was 64, is now 8"),
    ],
)
def test_a_changed_flag_that_would_change_the_run_is_refused(change, words, begun):
    before = (begun / "run" / "run.json").read_text()
    with pytest.raises(InputError, match=words):
        train.train(options(begun, **{"max_steps": 4, **change}))
    assert (begun / "run" / "run.json").read_text() == before


def test_other_data_is_refused(begun, tmp_path, random_pixels):
    file = record_files.write_images(tmp_path / "f", random_pixels(20, 784))
    small = {"image_height": 28, "image_width": 28}
    with pytest.raises(InputError, match=r"the data of --train_data_pattern \(its fingerprint\) was .*, is now"):
        train.train(options(begun, train_data_pattern=file, **small))
    file = record_files.write_images(tmp_path / "g", random_pixels(20, 64))
    with pytest.raises(InputError, match=r"image_shape was \[28, 28, 1\], is now \[8, 8, 1\]"):
        train.train(options(begun, train_data_pattern=file, image_height=8, image_width=8))
    with pytest.raises(InputError, match="no file matches"):
        train.train(options(begun, train_data_pattern="/no/such/file"))


def test_a_run_of_an_older_version_is_refused_by_that_name(begun, tmp_path):
    import shutil

    shutil.copytree(begun / "run", tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    old = {name: value for name, value in run["options"].items() if name != "held_out_images"}
    (tmp_path / "run" / "run.json").write_text(json.dumps({**run, "gan_version": "1.1.0", "options": old}))
    with pytest.raises(InputError, match=r"was begun with gan 1\.1\.0, which saved less than this version needs"):
        train.train(options(tmp_path, max_steps=4))


def test_other_changes_are_taken_said_and_recorded(tmp_path, capsys):
    train.train(options(tmp_path, max_steps=1))
    train.train(options(tmp_path, max_steps=2, base_learning_rate=0.01))
    words = "changed since the last session: base_learning_rate was 0.0002, is now 0.01; max_steps was 1, is now 2"
    assert words in capsys.readouterr().out
    sessions = json.loads((tmp_path / "run" / "run.json").read_text())["sessions"]
    assert sessions[1] == {"step": 1, "changed": {"base_learning_rate": [0.0002, 0.01], "max_steps": [1, 2]}}
    rate = [value for name, value in weights(tmp_path, 2).items() if name.endswith("/learning_rate")]
    np.testing.assert_allclose(rate, 0.01)


def test_changed_model_code_is_refused(tmp_path, monkeypatch):
    import my_models

    from gan import models

    train.train(options(tmp_path, discriminator_model="my_models.RegularisedDiscriminator"))
    monkeypatch.setattr(my_models.RegularisedDiscriminator, "create_model", models.SampleDiscriminator.create_model)
    with pytest.raises(InputError, match=r"model has changed .*discriminator/000/kernel is now \(784, 128\), saved is"):
        train.train(options(tmp_path, discriminator_model="my_models.RegularisedDiscriminator", max_steps=5))


def test_a_finished_run_has_nothing_left_to_do(tmp_path, capsys):
    train.train(options(tmp_path))
    before = weights(tmp_path, 3)
    capsys.readouterr()
    train.train(options(tmp_path))
    assert "nothing left to train" in capsys.readouterr().out
    assert_same(before, weights(tmp_path, 3))


@pytest.mark.parametrize("lost", ["checkpoint", "submission.json", "export/step_3/submission.json"])
def test_a_lost_part_of_the_submission_is_written_again(lost, tmp_path):
    train.train(options(tmp_path))
    (tmp_path / "run" / lost).unlink()
    train.train(options(tmp_path))
    assert (tmp_path / "run" / lost).exists()


def test_start_new_model_moves_the_old_run_aside(tmp_path):
    train.train(options(tmp_path, max_steps=2))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    for _ in range(2):
        train.train(options(tmp_path, max_steps=1, start_new_model=True))
    run = tmp_path / "run"
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "previous" / "1" / "model.ckpt-2.meta").exists()
    assert (run / "previous" / "2" / "model.ckpt-1.meta").exists()
    assert not (run / "model.ckpt-2.meta").exists()
    assert newest_save(tmp_path) == 1


@pytest.mark.parametrize("start_new_model", [False, True])
def test_files_of_somebody_else_are_never_touched(start_new_model, tmp_path):
    (tmp_path / "run" / "export").mkdir(parents=True)
    (tmp_path / "run" / "export" / "mine").write_text("precious")
    with pytest.raises(InputError, match=r"holds 'export' but no run.json, so gan.train did not write it"):
        train.train(options(tmp_path, start_new_model=start_new_model))
    assert (tmp_path / "run" / "export" / "mine").read_text() == "precious"


def test_a_folder_is_trained_in_by_one_process_at_a_time(tmp_path):
    folder = training_state.RunFolder(storage.path(str(tmp_path / "run")))
    with storage.lock(folder.path), pytest.raises(InputError, match="in use by another process"):
        train.train(options(tmp_path))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_save(tmp_path):
    train.train(options(tmp_path, max_steps=2))
    before = weights(tmp_path, 2)
    with pytest.raises(RunError, match="step 3: g_loss is nan; the save of step 2 is kept; a lower"):
        train.train(options(tmp_path, max_steps=9, label_loss="my_models.NanLoss"))
    assert newest_save(tmp_path) == 2
    assert_same(before, weights(tmp_path, 2))


def test_disk_use_is_bounded(tmp_path):
    train.train(options(tmp_path, max_steps=9, keep_saves=2, export_model_steps=4))
    saves = training_state.RunFolder(storage.path(str(tmp_path / "run"))).saved_steps()
    assert saves == [8, 9]
    assert sorted(entry.name for entry in (tmp_path / "run" / "export").iterdir()) == ["step_4", "step_8", "step_9"]


def test_a_damaged_save_is_named(tmp_path):
    train.train(options(tmp_path, max_steps=2))
    file = tmp_path / "run" / "resume" / "step_2.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"step_2.npz is damaged .*delete it to go on from the save before"):
        train.train(options(tmp_path))
    file.unlink()
    train.train(options(tmp_path, max_steps=3))
    assert newest_save(tmp_path) == 3


def test_layer_regularisers_count(tmp_path):
    """Under a strong weight penalty the regularised kernel shrinks; with the penalty at 0 it does not."""
    norms = {}
    for penalty in (0.0, 50.0):
        folder = tmp_path / str(penalty)
        settings = {"discriminator_model": "my_models.RegularisedDiscriminator", "regularization_penalty": penalty}
        train.train(options(folder, max_steps=60, base_learning_rate=0.005, save_secs=100.0, **settings))
        norms[penalty] = np.linalg.norm(weights(folder, 60)["discriminator/000/kernel"])
    assert norms[50.0] < 0.5 * norms[0.0]


def test_the_learning_rate_decays_by_examples(tmp_path):
    train.train(options(tmp_path, max_steps=5, learning_rate_decay=0.5, learning_rate_decay_examples=32))
    rates = [value for name, value in weights(tmp_path, 5).items() if name.endswith("/learning_rate")]
    np.testing.assert_allclose(rates, 0.0002 * 0.5**2)  # the fifth step begins after 64 images


def test_gradients_are_clipped_by_their_common_norm(tmp_path):
    """Under plain gradient descent with rate 1 a step is as long as the clipped gradient."""
    lengths = {}
    for clip in (0.25, 0.0):
        settings = options(
            tmp_path, optimizer="GradientDescentOptimizer", base_learning_rate=1.0, clip_gradient_norm=clip
        )
        networks = trainer.Trainer(settings, (28, 28, 1))
        before = [variable.numpy() for variable in networks.discriminator.trainable_variables]
        rng = np.random.default_rng(0)
        networks.step(0, rng.random((16, 784), np.float32), rng.random((16, 100), np.float32), 1.0)
        after = [variable.numpy() for variable in networks.discriminator.trainable_variables]
        lengths[clip] = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(after, before, strict=True)))
    assert lengths[0.25] == pytest.approx(0.25, rel=1e-3)
    assert lengths[0.0] > 0.3


def test_a_wrong_optimizer_lists_the_right_ones(tmp_path):
    with pytest.raises(InputError, match=r"no such optimizer; there are: .*Adam, .*SGD"):
        train.train(options(tmp_path, optimizer="Adamm"))


def test_random_numbers_that_cannot_be_repeated_are_announced(tmp_path, monkeypatch, capsys):
    import keras
    import my_models
    import tensorflow as tf

    def run_model(self, model_input, is_training=True):
        x = model_input + tf.random.normal(keras.ops.shape(model_input), seed=1)
        return super(my_models.ForgetfulDiscriminator, self).run_model(x)

    monkeypatch.setattr(my_models.ForgetfulDiscriminator, "run_model", run_model)
    train.train(options(tmp_path, max_steps=1, discriminator_model="my_models.ForgetfulDiscriminator"))
    assert "RandomStandardNormal draws random numbers that a resumed run cannot" in capsys.readouterr().out


def test_a_run_may_live_on_a_remote_file_system():
    folder = storage.path("ram://remote_run")
    settings = {"train_dir": "ram://remote_run/run", "image_dir": "ram://remote_run/pictures", "batch_size": 8}
    for steps in (2, 3):
        train.train(sample_options(max_steps=steps, save_secs=0.0, **settings))
    train.train(sample_options(max_steps=1, start_new_model=True, **settings))
    assert (folder / "run" / "checkpoint").read_text().startswith('model_checkpoint_path: "model.ckpt-1"')
    assert (folder / "pictures" / "training.gif").exists()


def test_dry_run_prints_everything_and_writes_nothing(command, tmp_path):
    done = command("train", "--dry_run", f"--train_dir={tmp_path}/run", "--batch_size=7", "--preset=dcgan")
    assert done.returncode == 0, done.stderr
    assert "--batch_size=7" in done.stdout
    assert "--base_learning_rate=0.0002" in done.stdout
    assert "--horizontal_flip=False" in done.stdout
    assert "--held_out_images=0" in done.stdout
    assert "--deterministic=True" in done.stdout  # on a CPU, where no flag says otherwise
    assert "dcgan4_generator" in done.stdout
    assert not (tmp_path / "run").exists()


def test_the_command_explains_mistakes_without_a_traceback(command, tmp_path):
    for flag, words in (
        ("--generator_model=DCGAN", "DCGAN4Discriminator, DCGAN4Generator, DCGANDiscriminator, DCGANGenerator"),
        ("--train_data_pattern=/no/such/file", "no file matches '/no/such/file'"),
    ):
        done = command("train", flag, f"--train_dir={tmp_path}/run", "--max_steps=1")
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "mistake",
    [
        {"generator_model": "NoSuchModel"},
        {"label_loss": "NoSuchLoss"},
        {"optimizer": "NoSuchOptimizer"},
        {"discriminator_model": "my_models.LogitDiscriminator"},
    ],
)
def test_a_mistake_leaves_no_trace(mistake, tmp_path):
    """Neither in a new folder nor in that of a run, not even with --start_new_model."""
    with pytest.raises(InputError):
        train.train(options(tmp_path, **mistake))
    train.train(options(tmp_path, max_steps=2))
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    for start_new_model in (False, True):
        with pytest.raises(InputError):
            train.train(options(tmp_path, start_new_model=start_new_model, **mistake))
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"label_loss": "my_models.VectorLoss"}, r"VectorLoss returned a loss of shape \(16, 1\), not a scalar"),
        ({"label_loss": "my_models.RaisingLoss"}, r"the training step failed: AttributeError.*my_models.py, line"),
        (
            {"generator_model": "my_models.FixedShapeGenerator"},
            r"export with any batch size failed: TypeError.*my_models.py, line",
        ),
    ],
)
def test_a_mistake_in_a_teams_code_is_named_before_training(settings, words, tmp_path):
    with pytest.raises(InputError, match=words):
        train.train(options(tmp_path, **settings))
    assert newest_save(tmp_path) == 0


def test_a_loss_is_changed_by_its_one_method(tmp_path):
    found = []
    for loss in ("CrossEntropyLoss", "my_models.SmoothedLoss"):
        train.train(options(tmp_path / loss, label_loss=loss))
        found.append(weights(tmp_path / loss, 3)["discriminator/000/kernel"])
    assert not np.array_equal(*found)


def test_a_network_without_weights_is_allowed(tmp_path):
    train.train(options(tmp_path, discriminator_model="my_models.WeightlessDiscriminator"))
    assert newest_save(tmp_path) == 3


def test_an_export_of_other_weights_is_written_again(tmp_path):
    """The newest save is lost and the same step is reached with another learning rate."""
    train.train(options(tmp_path, max_steps=4))
    (tmp_path / "run" / "resume" / "step_4.npz").unlink()
    train.train(options(tmp_path, max_steps=4, base_learning_rate=0.1))
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(tmp_path / "run" / "model.ckpt-4"))
    saved = weights(tmp_path, 4)["generator/000/kernel"]
    (name,) = [key for key, shape in reader.get_variable_to_shape_map().items() if tuple(shape) == saved.shape]
    np.testing.assert_array_equal(reader.get_tensor(name), saved)


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def kill_at(monkeypatch, module, name, call):
    """Makes the call-th call of a function end the process, as it were."""
    calls = iter(range(1, 1000))
    original = getattr(module, name)

    def function(*args, **kwargs):
        if next(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, function)


def every_call(count):
    """The numbers of calls; `make test` takes the first, one between and the last."""
    sample = (1, 5, count)
    return [pytest.param(n, marks=[] if n in sample else pytest.mark.exhaustive) for n in range(1, count + 1)]


@pytest.mark.parametrize("call", every_call(10))
def test_a_move_aside_that_is_killed_is_finished(call, tmp_path, monkeypatch):
    train.train(options(tmp_path, max_steps=2))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, storage, "move", call)
        train.train(options(tmp_path, max_steps=1, start_new_model=True))
    train.train(options(tmp_path, max_steps=1))
    aside = tmp_path / "run" / "previous" / "1"
    names = {"run.json", "checkpoint", "submission.json", "model.ckpt-2.meta", "export", "resume", "train.log"}
    assert names <= {entry.name for entry in aside.iterdir()}
    assert [entry.name for entry in (tmp_path / "run" / "previous").iterdir()] == ["1"]
    assert newest_save(tmp_path) == 1
    assert not (tmp_path / "run" / "model.ckpt-2.meta").exists()


@pytest.mark.parametrize("call", every_call(9))
def test_an_export_that_is_killed_leaves_a_whole_submission(call, tmp_path, monkeypatch):
    from gan.arena import snapshot

    train.train(options(tmp_path, max_steps=2))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, storage, "copy_file", call)
        train.train(options(tmp_path, max_steps=3))
    run = tmp_path / "run"
    taken = snapshot.take(storage.path(str(run)), storage.path(str(tmp_path / "store")))
    assert taken.checkpoint in ("model.ckpt-2", "model.ckpt-3")
    if (run / "submission.json").exists():
        facts = json.loads((run / "submission.json").read_text())
        assert all(storage.sha256(storage.path(str(run / name))) == digest for name, digest in facts["sha256"].items())
    train.train(options(tmp_path, max_steps=3))
    assert json.loads((run / "submission.json").read_text())["step"] == 3
    assert json.loads((run / "export" / "step_3" / "submission.json").read_text())["step"] == 3
    assert not list(run.rglob("*.tmp"))


def test_a_folder_name_may_hold_wildcard_characters(tmp_path):
    folder = tmp_path / "run[1]*?"
    train.train(options(folder, max_steps=2))
    train.train(options(folder, max_steps=1, start_new_model=True))
    assert (folder / "run" / "previous" / "1" / "run.json").exists()


def test_a_damaged_record_of_a_run_is_named(tmp_path):
    train.train(options(tmp_path, max_steps=1))
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json cannot be used .*begin anew in another --train_dir"):
        train.train(options(tmp_path, max_steps=2))


def test_histograms_show_every_variable(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator

    train.train(options(tmp_path, max_steps=1, histograms=True, export_image_steps=1))
    tags = event_accumulator.EventAccumulator(str(tmp_path / "run")).Reload().Tags()["tensors"]
    assert {"generator/000/kernel", "discriminator/000/kernel"} <= set(tags)


def test_an_export_can_be_gone_on_from(tmp_path, monkeypatch):
    """A kill soon after an export, long before the next save by the clock."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, trainer.Trainer, "step", 4)
        train.train(options(tmp_path, max_steps=9, export_model_steps=3, save_secs=1000.0))
    assert newest_save(tmp_path) == 3


def test_a_submission_without_a_save_is_not_trained_over(tmp_path):
    import shutil

    train.train(options(tmp_path, max_steps=2))
    shutil.rmtree(tmp_path / "run" / "resume")
    with pytest.raises(InputError, match="holds a submission but no save in resume/ to go on from: --start_new_model"):
        train.train(options(tmp_path, max_steps=1))
    train.train(options(tmp_path, max_steps=1, start_new_model=True))
    assert (tmp_path / "run" / "previous" / "1" / "model.ckpt-2.meta").exists()


def test_pictures_belong_to_their_run(tmp_path):
    train.train(options(tmp_path, max_steps=2, image_dir=""))
    train.train(options(tmp_path, max_steps=1, image_dir="", start_new_model=True, seed=1))
    assert (tmp_path / "run" / "images" / "training.gif").exists()
    assert (tmp_path / "run" / "previous" / "1" / "images" / "000.png").exists()


def test_a_dry_run_refuses_what_the_run_would(begun):
    with pytest.raises(InputError, match="--batch_size was 16, is now 64"):
        train.train(options(begun, batch_size=64, dry_run=True))


@pytest.mark.exhaustive
@pytest.mark.parametrize("flag", ["--train_dir", "--image_dir"])
def test_a_file_where_a_folder_should_be_is_a_mistake(flag, command, tmp_path):
    (tmp_path / "file").write_text("mine")
    flags = [f"--train_dir={tmp_path}/run", "--max_steps=1", f"{flag}={tmp_path}/file"]
    done = command("train", *flags)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{tmp_path}/file" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_the_script_trains_with_a_model_of_the_folder_it_is_run_in(tmp_path):
    """`python gan/train.py` from the folder above the package, as teams know it."""
    (tmp_path / "gan").symlink_to(ROOT / "gan")
    (tmp_path / "team_models.py").write_text(
        "from gan.models import SampleGenerator\n\nclass Ours(SampleGenerator):\n    pass\n"
    )
    line = [sys.executable, "gan/train.py", "--train_dir=run", "--max_steps=1", "--preset=sample"]
    line.append("--generator_model=team_models.Ours")
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoint").exists()


def test_what_is_handed_over_is_the_average_with_the_fitted_p(tmp_path):
    import tensorflow as tf

    settings = {"average_half_life": 1000, "average_discriminator": True, "held_out_images": 100}
    train.train(options(tmp_path, base_learning_rate=0.01, max_steps=6, **settings))
    saved = weights(tmp_path, 6)

    def dense(owner, layer, x):
        return x @ saved[f"{owner}/{2 * layer:03}/kernel"] + saved[f"{owner}/{2 * layer + 1:03}/bias"]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    rng = np.random.default_rng(0)
    z, x = rng.uniform(-1, 1, (5, 100)).astype(np.float32), rng.random((5, 784)).astype(np.float32)
    images = sigmoid(dense("generator_average", 1, np.maximum(0, dense("generator_average", 0, z))))
    logits = dense("discriminator_average", 1, np.maximum(0, dense("discriminator_average", 0, x)))
    p = sigmoid(saved["calibration/000/scale"] * logits + saved["calibration/001/bias"])
    export = tmp_path / "run" / "export" / "step_6"
    signatures = tf.saved_model.load(str(export)).signatures
    np.testing.assert_allclose(signatures["generate"](tf.constant(z))["generated_images"], images, atol=1e-5)
    np.testing.assert_allclose(signatures["discriminate"](tf.constant(x))["p_for_data"], p, atol=1e-5)
    assert np.abs(images - sigmoid(dense("generator", 1, np.maximum(0, dense("generator", 0, z))))).max() > 1e-3
    fitted = json.loads((export / "submission.json").read_text())["calibration"]
    assert fitted["scale"] == pytest.approx(float(saved["calibration/000/scale"]), rel=1e-5)
    assert 0 <= fitted["accuracy_before"] <= fitted["accuracy_after"] <= 1


def test_held_out_images_are_in_no_batch():
    data = digits.load("train")
    batches = readers.Batches(data, 500, seed=3, held_out=100)
    held_out = {row.tobytes() for row in batches.held_out()}
    assert len(batches.held_out()) == 100
    used = {row.tobytes() for step in range(4) for row in batches[step]}
    everything = {row.tobytes() for row in spec.from_8bit(data.pixels.take(np.arange(len(data))))}
    assert not held_out & used
    assert held_out | used == everything


def test_labels_belong_to_their_images():
    data = digits.load("train")
    label_of = dict(zip((row.tobytes() for row in data.pixels.take(np.arange(len(data)))), data.labels, strict=True))
    batches = readers.Batches(data, 64, seed=3)
    for image, label in zip(spec.to_8bit(batches[5]), batches.classes(5), strict=True):
        assert label_of[image.tobytes()] == label


@pytest.mark.parametrize(
    "labels, numbers, names",
    [
        ([7, -3, 7, 40], [1, 0, 1, 2], [-3, 7, 40]),
        ([0, 2, 1, 0], [0, 2, 1, 0], [0, 1, 2]),
        (range(1001), None, []),
        (None, None, []),
    ],
)
def test_classes_are_the_labels_that_occur(labels, numbers, names, random_pixels):
    count = 4 if labels is None else len(labels)
    found, found_names = readers.class_numbers(records.from_arrays(random_pixels(count, 4), (2, 2, 1), labels))
    assert (None if found is None else found.tolist(), found_names) == (numbers, names)


CONDITIONAL = {
    **{"generator_model": "ConditionalDCGANGenerator", "discriminator_model": "ConditionalDCGANDiscriminator"},
    **{"image_height": 32, "image_width": 34, "image_channels": 3, "feature_size": 4, "max_steps": 1},
}


def test_classes_are_learned_from_images_of_any_size(tmp_path, random_pixels):
    pixels = random_pixels(8, 32 * 34 * 3)
    pattern = record_files.write_images(tmp_path / "of_two.tfrecords", pixels, [7, 9, 7, 9, 7, 9, 9, 9])
    train.train(options(tmp_path, train_data_pattern=pattern, **CONDITIONAL))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["classes"] == [7, 9]


def test_classes_that_are_needed_and_missing_are_named(tmp_path, random_pixels):
    pattern = record_files.write_images(tmp_path / "bare.tfrecords", random_pixels(8, 32 * 34 * 3))
    with pytest.raises(InputError, match=r"bare\.tfrecords: record 0 has no feature 'label'"):
        train.train(options(tmp_path, train_data_pattern=pattern, **CONDITIONAL))
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("count, held_out", [(2, 0), (15, 0), (199, 0), (250, 25)])
def test_few_images_are_not_held_out(count, held_out, tmp_path, random_pixels):
    pattern = record_files.write_images(tmp_path / "few.tfrecords", random_pixels(count, 784))
    settings = {"train_data_pattern": str(pattern), "image_height": 28, "image_width": 28, "held_out_images": 500}
    train.train(options(tmp_path, max_steps=1, **settings))
    assert (tmp_path / "run" / "checkpoint").exists()
    fitted = json.loads((tmp_path / "run" / "submission.json").read_text())["calibration"]
    assert (fitted is not None) == (held_out > 0)


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_image_is_refused(dry_run, tmp_path, random_pixels):
    pattern = record_files.write_images(tmp_path / "one.tfrecords", random_pixels(1, 784))
    with pytest.raises(InputError, match="there is one image alone"):
        train.train(options(tmp_path, train_data_pattern=pattern, image_height=28, image_width=28, dry_run=dry_run))
    assert not (tmp_path / "run" / "run.json").exists()


def test_an_epoch_is_what_is_not_held_out(tmp_path):
    train.train(options(tmp_path, max_steps=None, num_epochs=3, batch_size=100, held_out_images=100))
    assert (tmp_path / "run" / "export" / "step_40").exists()  # 3 x 1,337 images


@pytest.mark.parametrize(
    "settings, words",
    [
        (
            {"label_loss": "WassersteinLoss"},
            "WassersteinLoss has no threshold: p means nothing without --held_out_images",
        ),
        ({"label_loss": "WassersteinLoss"}, "WassersteinLoss needs --gradient_penalties=WassersteinPenalty"),
        ({"adaptive_augmentation_target": 0.5}, "adaptive_augmentation_target does nothing without --augmentations"),
        (
            {"adaptive_augmentation_target": 0.5, "augmentations": "Cutout", "augmentation_probability": 0.3},
            "--augmentation_probability does nothing beside --adaptive_augmentation_target",
        ),
        ({"gradient_penalty_interval": 4}, "gradient_penalty_interval does nothing without --gradient_penalties"),
        (
            {"gradient_penalties": "R1Penalty", "discriminator_model": "DCGANDiscriminator", "feature_size": 2},
            "batch normalisation in DCGANDiscriminator mixes the gradients",
        ),
    ],
)
def test_options_that_do_not_go_together_are_doubted(settings, words):
    networks = trainer.Trainer(sample_options(**settings), digits.SHAPE)
    assert any(words in doubt for doubt in networks.doubts(num_held_out=0))


def test_too_few_images_for_a_threshold_are_a_doubt():
    options = sample_options(label_loss="RelativisticLoss", held_out_images=500)
    networks = trainer.Trainer(options, digits.SHAPE)
    assert networks.doubts(num_held_out=500) == []
    assert networks.doubts(num_held_out=0) == [
        "these images are too few for --held_out_images: p is not fitted",
        "RelativisticLoss has no threshold: p means nothing without --held_out_images",
    ]


def test_doubts_are_said(tmp_path, capsys):
    train.train(options(tmp_path, max_steps=1, gradient_penalty_interval=4))
    assert "warning: --gradient_penalty_interval does nothing without" in capsys.readouterr().out


def test_a_changed_probability_of_augmentation_is_taken(tmp_path):
    settings = {"augmentations": "Cutout"}
    train.train(options(tmp_path, max_steps=1, augmentation_probability=0.3, **settings))
    train.train(options(tmp_path, max_steps=2, augmentation_probability=0.6, **settings))
    assert float(weights(tmp_path, 2)["augmentation/000/probability"]) == pytest.approx(0.6)
