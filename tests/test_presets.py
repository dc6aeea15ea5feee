import dataclasses
import json
import re

import numpy as np
import pytest
from conftest import ROOT

from gan import eval as evaluation
from gan import flags, presets, storage, train, training_state
from gan.errors import InputError

NAMES = sorted(presets.own_names())
OPTIONS = {field.name: field for field in dataclasses.fields(train.TrainOptions)}


def parse(*line):
    return flags.parse(train.TrainOptions, ["train", *line])


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_sets_flags_that_exist_to_values_that_are_allowed(name):
    settings = presets.find(name).settings()
    options = parse(f"--preset={name}")
    assert {flag: getattr(options, flag) for flag in settings} == settings
    assert options.preset == name


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_a_preset_trains_goes_on_and_is_evaluated(name, tmp_path):
    small = {"feature_size": 4, "batch_size": 8, "held_out_images": 40, "export_generated_images": False}
    for folder, stops in (("straight", [6]), ("in two", [3, 6])):
        for stop in stops:
            run = {"train_dir": str(tmp_path / folder), "max_steps": stop}
            train.train(train.TrainOptions.of_preset(name, **small, **run))
    folders = [training_state.RunFolder(storage.path(str(tmp_path / folder))) for folder in ("straight", "in two")]
    straight, in_two = (folder.load(6) for folder in folders)
    assert list(straight) == list(in_two)
    for variable, value in straight.items():
        np.testing.assert_array_equal(value, in_two[variable], err_msg=variable)
    options = flags.parse(evaluation.EvalOptions, ["eval", f"--train_dir={tmp_path}/straight", "--num_generate=100"])
    evaluation.evaluate(options)
    found = json.loads((tmp_path / "straight" / "eval" / "step_6.json").read_text())
    assert found["metrics"]["kid"]["value"] > 0.1  # six steps make no digits
    assert found["step"] == 6


def test_a_flag_overrides_the_preset():
    options = parse("--preset=dcgan", "--batch_size=16")
    assert options.batch_size == 16
    assert options.generator_model == presets.DCGAN.generator_model


def test_a_flag_that_repeats_the_default_overrides_as_well():
    default = OPTIONS["batch_size"].default
    assert presets.Sample.batch_size != default
    assert parse("--preset=sample", f"--batch_size={default}").batch_size == default


def test_the_default_preset_is_what_the_flags_say():
    assert parse() == train.TrainOptions()


def test_the_frozen_baseline():
    """It is what others are measured by, so it never changes."""
    assert presets.find("dcgan").settings() == {
        "generator_model": "DCGAN4Generator",
        "discriminator_model": "DCGAN4Discriminator",
        "feature_size": 64,
        "label_loss": "CrossEntropyLoss",
        "gradient_penalties": "",
        "gradient_penalty_weight": 1.0,
        "gradient_penalty_interval": 1,
        "horizontal_flip": False,
        "augmentations": "",
        "augmentation_probability": 1.0,
        "adaptive_augmentation_target": None,
        "negatives": "",
        "shared_pass": False,
        "average_half_life": 0,
        "average_discriminator": False,
        "held_out_images": 0,
        "batch_size": 128,
        "optimizer": "AdamOptimizer",
        "base_learning_rate": 0.0002,
        "learning_rate_decay": 0.95,
        "learning_rate_decay_examples": 4_000_000,
        "discriminator_rate_factor": 1.0,
        "adam_beta1": 0.5,
        "adam_beta2": 0.999,
        "clip_gradient_norm": 0.0,
        "regularization_penalty": 1.0,
    }


def test_what_to_expect_is_what_the_readme_has_measured():
    rows = re.findall(
        r"^\| (\w+) \| [\d,]+ / [\d,]+ \| [\d,]+ \| ([\d.]+) \[", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    measured = dict(reversed(rows))  # of faces, which come first
    assert {"default", "dcgan", "sample"} <= set(measured)
    for name, kid in measured.items():
        said = re.search(rf"a KID x 1000 of (\d+), by `--preset={name} --max_steps=\d+`", presets.find(name).__doc__)
        assert said and int(said[1]) == round(float(kid)), name


def test_a_wrong_preset_lists_the_right_ones():
    with pytest.raises(InputError, match=r"--preset=nope: no such class; gan.presets has: .*DCGAN, .*Sample"):
        parse("--preset=nope")


def test_a_preset_of_ones_own_may_not_set_what_is_no_flag(tmp_path, monkeypatch):
    (tmp_path / "my_presets.py").write_text(
        "from gan import presets\nclass Mine(presets.Sample):\n    feature_size = 8\n"
        "class Wrong(presets.Sample):\n    batchsize = 8\nclass Text(presets.Sample):\n    batch_size = '8'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert parse("--preset=my_presets.Mine").feature_size == 8
    with pytest.raises(InputError, match="the preset sets batchsize, which is no flag"):
        parse("--preset=my_presets.Wrong")
    with pytest.raises(InputError, match="the preset sets batch_size to '8', which is no int"):
        parse("--preset=my_presets.Text")
