import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import record_files
from conftest import sample_options
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from gan import eval as gan_eval
from gan import train
from gan.errors import InputError

LINE = re.compile(
    r"epoch/eval number 6 \| Avg_D_acc_on_G: [01]\.\d{3} \| Avg_D_acc_on_real: [01]\.\d{3} \| "
    r"Avg_G_loss: \d+\.\d{3} \| Avg_D_loss: \d+\.\d{3}"
)


def evaluate(run, **settings):
    settings = {"num_generate": 0, **settings}  # without the comparison, which takes seconds
    return gan_eval.evaluate(gan_eval.EvalOptions(train_dir=str(run), **settings))


def test_the_line_the_file_and_the_pictures(tiny_run, capsys):
    result = evaluate(tiny_run[0])
    assert LINE.fullmatch(capsys.readouterr().out.split("\n")[0])
    folder = tiny_run[0] / "eval"
    assert json.loads((folder / "step_6.json").read_text()) == result
    assert result["images"] == 360
    assert Image.open(folder / "generate.png").size == (224, 224)
    assert Image.open(folder / "p_histogram.png").size[0] > 500


def test_the_numbers_do_not_depend_on_the_batch_size(tiny_run):
    small, large = evaluate(tiny_run[0], batch_size=7), evaluate(tiny_run[0], batch_size=360)
    assert small.pop("data_fingerprint") == large.pop("data_fingerprint")
    assert small == pytest.approx(large, rel=1e-5)
    assert evaluate(tiny_run[0], seed=1) != large


def test_samples_are_compared_with_real_images(tiny_run, capsys):
    result = evaluate(tiny_run[0], num_generate=100)
    assert result["feature_network"] == "digits"
    measured = result["metrics"]
    assert {"kid", "frechet_distance", "precision", "coverage", "memorisation_distance", "variety"} <= set(measured)
    for name, estimate in measured.items():
        assert estimate["low"] <= estimate["value"] <= estimate["high"], name
    assert measured["kid"]["low"] > 0.1  # after six steps
    assert measured["two_sample_accuracy"]["value"] > 0.9
    tensorboard = event_accumulator.EventAccumulator(str(tiny_run[0] / "eval")).Reload()
    assert {"kid", "kid/low", "kid/high"} <= set(tensorboard.Tags()["tensors"])
    number = r"\d[\d.e+]*"
    assert re.search(rf"  kid +{number} \({number} to {number}\)", capsys.readouterr().out)


def test_few_images_are_not_compared_and_that_is_said(tiny_run, capsys):
    assert "metrics" not in evaluate(tiny_run[0], num_generate=39)
    assert "39 images are too few for a comparison: at least 40 are needed" in capsys.readouterr().out


def run_of_one_step(tmp_path, discriminator, **settings):
    """Trains on 64 bright images of 2x2 with a rate so small that nothing changes, and returns the run's folder."""
    folder = tmp_path / "run"
    settings |= {"image_height": 2, "image_width": 2, "base_learning_rate": 1e-9, "batch_size": 64, "max_steps": 1}
    settings |= {"train_dir": str(folder), "train_data_pattern": pixels_file(tmp_path / "t", [255] * 64)}
    train.train(sample_options(discriminator_model=discriminator, **settings))
    return folder


def test_the_numbers_are_right(tmp_path, capsys):
    """A discriminator with known answers: p = 0.8 for what has a bright first pixel, 0.1 for the rest."""
    folder = run_of_one_step(tmp_path, "test_eval.FirstPixel", label_loss="my_models.SquaredLoss")
    result = evaluate(folder, eval_data_pattern=pixels_file(tmp_path / "v", [255] * 6 + [0] * 2))
    # the untrained generator's pixels lie around a half: never bright
    assert result["d_accuracy_on_real"] == 0.75
    assert result["d_accuracy_on_generated"] == 1.0
    assert result["d_auc"] == pytest.approx(0.75 + 0.25 / 2)
    assert result["g_loss"] == pytest.approx(0.81, rel=1e-4)
    assert result["d_loss"] == pytest.approx(0.75 * 0.04 + 0.25 * 0.81 + 0.01, rel=1e-4)
    evaluate(folder, eval_data_pattern=pixels_file(tmp_path / "dark", [0] * 8))
    assert "swapped" not in capsys.readouterr().out


def test_swapped_labels_are_noticed(tmp_path, capsys):
    folder = run_of_one_step(tmp_path, "test_eval.Swapped")
    assert evaluate(folder, eval_data_pattern=pixels_file(tmp_path / "t", [255]))["d_auc"] == 0
    assert "an AUC under 0.5 is worse than guessing: your labels look swapped" in capsys.readouterr().out


def pixels_file(path, values):
    return record_files.write_images(path, np.repeat(np.array(values, np.uint8)[:, None], 4, axis=1))


def models():
    import keras

    from gan.models import BaseModel

    class FirstPixel(BaseModel):
        bright, dark = 0.8, 0.1

        def create_model(self, **unused_params):
            self.unused = keras.layers.Dense(1)

        def run_model(self, model_input, is_training=True):
            bright = keras.ops.cast(model_input[:, :1] > 0.9, "float32")
            p = bright * self.bright + (1 - bright) * self.dark + 0 * self.unused(model_input)
            return {"logits": keras.ops.log(p / (1 - p)), "predictions": p}

    class Swapped(FirstPixel):
        bright, dark = 0.1, 0.8

    return FirstPixel, Swapped


FirstPixel, Swapped = models()


def test_nothing_to_evaluate_is_an_error(command, tmp_path):
    done = command("eval", f"--train_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == f"error: --train_dir={tmp_path} holds no saved step; train with gan.train first\n"


def test_another_model_or_size_than_the_run_has_is_refused(tiny_run, tmp_path, random_pixels):
    with pytest.raises(InputError, match="--generator_model=DCGANGenerator: this run has SampleGenerator"):
        evaluate(tiny_run[0], generator_model="DCGANGenerator")
    file = record_files.write_images(tmp_path / "f", random_pixels(3, 2500))
    with pytest.raises(InputError, match=r"2500 pixel values, expected 784 \(28x28x1\)"):
        evaluate(tiny_run[0], eval_data_pattern=file)


def test_a_run_on_other_images_needs_a_pattern(tmp_path, random_pixels):
    file = record_files.write_images(tmp_path / "f", random_pixels(64, 12))
    size = {"image_height": 2, "image_width": 2, "image_channels": 3}
    options = sample_options(
        train_dir=str(tmp_path / "run"), image_dir=str(tmp_path), max_steps=1, train_data_pattern=file, **size
    )
    train.train(options)
    assert evaluate(tmp_path / "run", eval_data_pattern=file)["images"] == 64
    with pytest.raises(InputError, match="trained on files: give --eval_data_pattern"):
        evaluate(tmp_path / "run")


@pytest.mark.slow
def test_watching_evaluates_each_new_save(tmp_path):
    def go_on(steps):
        folder = str(tmp_path / "run")
        train.train(sample_options(train_dir=folder, image_dir=str(tmp_path), max_steps=steps, batch_size=8))

    line = [sys.executable, "-m", "gan.eval", f"--train_dir={tmp_path}/run", "--norun_once", "--sleep_secs=0.2"]
    watcher = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for step in (1, 2):
            go_on(step)
            deadline = time.monotonic() + 90
            while not (tmp_path / "run" / "eval" / f"step_{step}.json").exists():
                assert watcher.poll() is None, watcher.stdout.read()
                assert time.monotonic() < deadline, "the watcher saw nothing"
                time.sleep(0.1)
    finally:
        watcher.terminate()
        watcher.wait()
