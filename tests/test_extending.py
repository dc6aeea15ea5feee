"""docs/extending.md, followed by a reader who has nothing but the page and the package."""

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, sample_options

from gan import flags, model_builder, presets, spec, train
from gan.augmentation import BaseAugmentation
from gan.errors import InputError, RunError
from gan.losses import BaseLoss
from gan.models import SampleDiscriminator, SampleGenerator

PAGE = (ROOT / "docs" / "extending.md").read_text()
STEPS = 12  # in place of the page's own, for each run
FEWER = {r"--max_steps=\d+": f"--max_steps={STEPS}", "gan.eval": "gan.eval --num_generate=60"}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands():
    return [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder outside of the package with the page's module in it."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "my_zoo.py").write_text("\n\n".join(blocks("python")))
    return folder


@pytest.fixture(scope="module")
def followed(folder):
    """Runs the page's commands in order; returns {command: what it left}."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = {}
    for command in commands():
        line = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
        for pattern, fewer in FEWER.items():
            line = re.sub(pattern, fewer, line)
        done[command] = subprocess.run(
            line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200
        )
    return done


@pytest.fixture(scope="module")
def my_zoo(folder):
    sys.path.insert(0, str(folder))
    yield importlib.import_module("my_zoo")
    sys.path.remove(str(folder))
    del sys.modules["my_zoo"]


@pytest.mark.exhaustive
def test_every_command_of_the_page_succeeds(followed):
    assert len(followed) >= 9
    failed = {line: result.stderr for line, result in followed.items() if result.returncode}
    assert not failed


@pytest.mark.exhaustive
def test_a_dry_run_shows_the_preset_and_both_networks(followed):
    (shown,) = (result.stdout for line, result in followed.items() if "--dry_run" in line)
    assert "--generator_model=my_zoo.CopyingGenerator" in shown
    assert "--gradient_penalty_weight=10.0" in shown
    assert "copying_generator" in shown
    assert "dropout_discriminator" in shown


@pytest.mark.exhaustive
@pytest.mark.parametrize("run, preset", [("mine", "Mine"), ("squared", "MineSquared")])
def test_a_run_records_the_classes_and_leaves_a_submission(followed, folder, my_zoo, run, preset):
    options = json.loads((folder / run / "run.json").read_text())["options"]
    settings = getattr(my_zoo, preset).settings()
    assert {name: options[name] for name in settings} == settings
    assert options["preset"] == f"my_zoo.{preset}"
    submission = json.loads((folder / run / "submission.json").read_text())
    assert submission["generator_model"] == "my_zoo.CopyingGenerator"
    assert submission["calibration"]["scale"] > 0
    assert (folder / run / "checkpoint").exists()


@pytest.mark.exhaustive
def test_an_export_needs_no_module(followed, folder):
    """Loaded in a process that cannot import the page's module."""
    code = (
        "import sys, tensorflow as tf; loaded = tf.saved_model.load(sys.argv[1]); "
        "made = loaded.signatures['generate'](tf.zeros([3, 100]))['generated_images']; print(made.shape)"
    )
    export = folder / "mine" / "export" / f"step_{STEPS}"
    line = [sys.executable, "-c", code, str(export)]
    result = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert result.stdout == "(3, 784)\n"


@pytest.mark.exhaustive
def test_the_check_passes_whatever_a_few_steps_can_pass(followed):
    (result,) = (result for line, result in followed.items() if "check_submission" in line)
    lines = re.findall(r"^([A-Z]+)  ((?:generator|discriminator): [\w ]+|\w+): ", result.stdout, re.MULTILINE)
    status = {rule: finding for finding, rule in lines}
    assert "FAIL" not in status.values()
    for rule in (
        "generator: contract",
        "generator: output",
        "generator: determinism",
        "generator: one by one",
        "generator: variety",
        "discriminator: contract",
        "discriminator: output",
        "discriminator: determinism",
        "discriminator: one by one",
    ):
        assert status[rule] == "PASS", rule
    assert "mine may battle" in result.stdout


@pytest.mark.exhaustive
def test_the_battle_and_the_league_are_played(followed, folder):
    (match,) = (folder / "battle" / "matches").glob("*/match.json")
    result = json.loads(match.read_text())
    assert [result["teams"][side]["name"] for side in "ab"] == ["Mine", "DCGAN"]
    assert [len(direction["p"]) for direction in result["rounds"][0]["directions"]] == [30, 30]
    (league,) = (result.stdout for line, result in followed.items() if "--format=league" in line)
    teams = league.split("teams (G and D together)")[1].split("generators  ")[0]
    assert all(re.search(rf"^ +{name} +\d+ ", teams, re.MULTILINE) for name in ("Mine", "Squared", "DCGAN"))


@pytest.mark.parametrize("image_shape", [(28, 28, 1), (50, 50, 1), (33, 21, 3)])
def test_the_pair_meets_the_contract_at_any_size(my_zoo, image_shape):
    contest = spec.ContestSpec(*image_shape)
    names = "my_zoo.CopyingGenerator", "my_zoo.DropoutDiscriminator"
    generator, _ = model_builder.build_pair(*names, contest, 4, 0)
    assert generator(np.zeros((5, 100)))["output"].shape == (5, contest.image_size)


def test_the_losses_are_those_of_their_papers(my_zoo):
    logits = {"real": [[3.0], [-1.0]], "generated": [[1.0], [0.0]]}  # means 1 and 0.5
    real, generated = ({"logits": tf.constant(logits[kind])} for kind in ("real", "generated"))
    loss = my_zoo.RelativisticAverageHingeLoss()
    # Real images: 2.5 and -1.5 over the mean of the generated; generated ones: 0 and -1 over that of the real.
    assert float(loss.discriminator_loss(real, generated)) == pytest.approx((0 + 2.5) / 2 + (1 + 0) / 2)
    assert float(loss.generator_loss(real, generated)) == pytest.approx((3.5 + 0) / 2 + (1 + 2) / 2)
    p, labels = tf.constant([[0.5], [1.0]]), tf.constant([[1.0], [0.0]])
    assert float(my_zoo.SquaredLoss().calculate_loss(p, labels)) == pytest.approx((0.25 + 1) / 2)


@pytest.mark.parametrize("slope, wanted", [(3.0, 4.0), (0.5, 0.0), (0.0, 0.0)])
def test_the_penalty_counts_slopes_over_one(my_zoo, slope, wanted):
    direction = tf.Variable([[0.6], [0.8], [0.0]])
    real, generated = tf.random.stateless_uniform([2, 4, 3], [1, 2])
    with tf.GradientTape() as tape:
        penalty = my_zoo.LipschitzPenalty().calculate_penalty(
            lambda images: slope * images @ direction,
            real,
            generated,
            lambda size: tf.random.stateless_uniform([4, size], [3, 4]),
        )
    assert float(penalty) == pytest.approx(wanted, abs=1e-5)
    assert np.all(np.isfinite(tape.gradient(penalty, direction, unconnected_gradients="zero")))


def test_the_noise_has_another_strength_for_each_image(my_zoo):
    images = tf.fill([64, 12, 12, 1], 0.5)
    seeds = tf.constant([3, 4]), tf.constant([3, 5])
    first, again, other = (my_zoo.Noise().augment(images, seed).numpy() for seed in (seeds[0], *seeds))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05
    strength = first.std(axis=(1, 2, 3))
    assert 0.0 < strength.min() < 0.02
    assert 0.08 < strength.max() < 0.12
    assert first.mean() == pytest.approx(0.5, abs=0.005)


def test_a_preset_of_the_page_sets_all_that_matters(my_zoo):
    assert set(my_zoo.Mine.settings()) == set(presets.Sample.settings())
    assert {**my_zoo.Mine.settings(), "label_loss": "my_zoo.SquaredLoss"} == my_zoo.MineSquared.settings()


class LayerInRunModel(SampleGenerator):
    def run_model(self, model_input, is_training=True):
        return {"output": keras.layers.Dense(784, activation="sigmoid")(model_input)}


class OutputByAnotherName(SampleGenerator):
    def run_model(self, model_input, is_training=True):
        return {"images": super().run_model(model_input)["output"]}


class FlatLogits(SampleDiscriminator):
    def run_model(self, model_input, is_training=True):
        logits = super().run_model(model_input)["logits"][:, 0]
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


class RawLogits(SampleDiscriminator):
    def run_model(self, model_input, is_training=True):
        logits = 0.5 + 0 * super().run_model(model_input)["logits"]  # within [0, 1] by chance
        return {"logits": logits, "predictions": logits}


class MissingArgument(SampleGenerator):
    def create_model(self, image_shape, latent):
        pass


class IndependentLoss(BaseLoss):
    def calculate_loss(self, predictions, labels):
        return keras.ops.mean(labels)


class NumpyLoss(BaseLoss):
    def calculate_loss(self, predictions, labels):
        return np.mean((predictions - labels) ** 2)


class CroppingAugmentation(BaseAugmentation):
    def augment(self, images, seed):
        return images[:, 1:-1]


class RoundingAugmentation(BaseAugmentation):
    def augment(self, images, seed):
        return tf.cast(tf.cast(255 * images, tf.int32), tf.float32) / 255


class UnseededAugmentation(BaseAugmentation):
    def augment(self, images, seed):
        return images + tf.random.normal(tf.shape(images))


class MisspeltPreset(presets.Preset):
    batchsize = 8


class TextPreset(presets.Preset):
    batch_size = "8"


class BatchedPlayer:
    """A submission whose G and D look at the whole batch."""

    def start_part(self):
        pass

    def input_size(self, role):
        return None

    def generate(self, noise):
        return np.repeat(np.abs(noise - noise.mean(axis=0)) / 2, 8, axis=1)[:, :784]

    def discriminate(self, images):
        return np.abs(images - images.mean(axis=0)).mean(axis=1, keepdims=True)


def findings_of_a_batched_submission():
    from gan.arena import check

    report = check.Report()
    check.run(BatchedPlayer(), check.Examples(spec.ContestSpec(28, 28, 1)), report)
    return "\n".join(finding.message for finding in report.findings)


HERE = __name__
MISTAKES = [
    {"generator_model": "not_there.Generator"},
    {"label_loss": "my_models.Hinge"},
    {"generator_model": "my_models.NotAModel"},
    {"generator_model": f"{HERE}.MissingArgument"},
    {"generator_model": f"{HERE}.OutputByAnotherName"},
    {"generator_model": "my_models.SquareGenerator"},
    {"generator_model": "my_models.TanhGenerator"},
    {"discriminator_model": f"{HERE}.FlatLogits"},
    {"discriminator_model": f"{HERE}.RawLogits"},
    {"generator_model": "my_models.FixedBatchGenerator"},
    {"label_loss": "my_models.VectorLoss"},
    {"label_loss": f"{HERE}.NumpyLoss"},
    {"label_loss": f"{HERE}.IndependentLoss"},
    {"augmentations": f"{HERE}.CroppingAugmentation"},
    {"generator_model": f"{HERE}.LayerInRunModel"},
    {"augmentations": f"{HERE}.RoundingAugmentation"},
    {"augmentations": f"{HERE}.UnseededAugmentation"},
    {"label_loss": "my_models.NanLoss"},
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the package says to each mistake."""
    words = [findings_of_a_batched_submission()]
    for preset in (MisspeltPreset, TextPreset):
        with pytest.raises(InputError) as caught:
            flags.parse(train.TrainOptions, ["train", f"--preset={HERE}.{preset.__name__}"])
        words.append(str(caught.value))
    for number, mistake in enumerate(MISTAKES):
        run = tmp_path_factory.mktemp("mistake") / str(number)
        settings = {"train_dir": str(run), "max_steps": 1, "batch_size": 8, "export_generated_images": False}
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                train.train(sample_options(**settings, **mistake))
        except (InputError, RunError) as error:
            words.append(str(error))
        else:
            words.append(printed.getvalue())
    return words


def messages():
    """The first column of the page's table of messages; each `...` as a pattern for anything."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.split("## When it says no")[1], re.MULTILINE)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row) if not message.startswith("gan.")]


def test_the_table_has_messages():
    assert len(messages()) >= len(MISTAKES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.build:UserWarning")  # Keras dislikes the layer in run_model, too
@pytest.mark.parametrize("message", messages())
def test_the_package_says_what_the_page_says(said, message):
    known = message.replace("my_zoo", "...")
    pattern = ".*".join(re.escape(part) for part in known.split("..."))
    assert any(re.search(pattern, words) for words in said), "\n".join(said)
