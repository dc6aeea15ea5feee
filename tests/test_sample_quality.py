import json

import numpy as np
import pytest
from conftest import sample_options

from gan import digits, sample_quality, storage, train, training_log


@pytest.fixture
def watch(tmp_path):
    def begin(first_step=0):
        file = storage.path(str(tmp_path / "quality.json"))
        return sample_quality.SampleQuality(digits.load("train"), sample_options(batch_size=500), file, first_step)

    return begin


def real_images(noise):
    data = digits.load("train")
    rows = np.random.default_rng(1).permutation(len(data))[: len(noise)]
    return data.pixels.take(rows)


def one_image(noise):
    return np.repeat(real_images(noise[:1]), len(noise), axis=0)


def test_real_images_are_as_varied_as_real_images(watch, monkeypatch):
    monkeypatch.setattr(sample_quality, "NUM_MEASURED", 1000)
    found = watch().look(100, real_images, closely=True)
    assert found.variety == pytest.approx(1.0, abs=0.05)
    assert not found.collapsed
    assert found.kid < 0.02  # below 0, as both sides share images
    assert found.frechet < 2


def test_a_collapse_is_told_after_three_looks(watch):
    quality = watch()
    looks = [quality.look(step, one_image) for step in (100, 200, 300)]
    assert [look.variety for look in looks] == [pytest.approx(0, abs=1e-3)] * 3
    assert [look.collapsed for look in looks] == [False, False, True]
    assert not quality.look(400, real_images).collapsed


def test_the_first_images_of_a_run_are_alike_and_no_collapse(watch):
    quality = watch()
    assert not any(quality.look(step, one_image).collapsed for step in (0, 10, 20, 30, 39, 40, 50))
    assert quality.look(60, one_image).collapsed  # the third look after 20,000 images


def test_two_looks_at_one_step_are_one(watch):
    """A picture and an export may fall on the same step."""
    quality = watch()
    for step in (100, 200):
        quality.look(step, one_image)
        assert not quality.look(step, one_image, closely=True).collapsed


def test_a_resumed_run_goes_on_from_its_step(watch, tmp_path):
    quality = watch()
    for step in (100, 200, 300):
        quality.look(step, one_image)
    quality.write()
    kept = json.loads((tmp_path / "quality.json").read_text())
    assert kept["network"] == "digits"
    assert [look["step"] for look in kept["looks"]] == [100, 200, 300]
    resumed = watch(first_step=200)
    assert resumed.look(300, one_image).collapsed
    resumed.write()
    assert json.loads((tmp_path / "quality.json").read_text()) == kept


def test_the_log_warns_once_for_each_collapse(tmp_path, capsys):
    log = training_log.TrainingLog(storage.path(str(tmp_path)), storage.path(str(tmp_path)), (28, 28, 1), 0, 9, 8, 0)
    with log:
        for step, variety in enumerate((0.9, 0.1, 0.1, 0.9, 0.2)):
            log.quality(sample_quality.Look(step, variety, collapsed=variety < 0.5))
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(warnings) == 2
    assert "step 1: the generated images differ from each other only 10% as much as real ones" in warnings[0]


def test_a_run_keeps_its_quality(tmp_path):
    settings = {"train_dir": str(tmp_path / "run"), "batch_size": 8, "save_secs": 0.0, "export_model_steps": 2}
    train.train(sample_options(**settings, max_steps=3, export_image_steps=1))
    looks = json.loads((tmp_path / "run" / "quality.json").read_text())["looks"]
    assert [look["step"] for look in looks] == [0, 1, 2, 3]
    assert [look["kid"] is not None for look in looks] == [False, False, True, True]
    train.train(sample_options(**settings, max_steps=4, export_image_steps=1))
    resumed = json.loads((tmp_path / "run" / "quality.json").read_text())["looks"]
    assert resumed[:4] == looks
    assert resumed[4]["step"] == 4
