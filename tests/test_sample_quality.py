import json

import numpy as np
import pytest
from conftest import sample_options

from gan import digits, sample_quality, storage, tracking, train, training_log


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
    assert found.distinctness == pytest.approx(1.0, abs=0.1)
    assert not found.collapsed
    assert found.kid < 0.02  # below 0, as both sides share images
    assert found.frechet < 2


def test_a_collapse_is_told_when_it_lasts(watch):
    """For 15,000 images, after the first 20,000."""
    quality = watch()
    looks = [quality.look(step, one_image) for step in (50, 60, 70, 80)]
    assert [look.variety for look in looks] == [pytest.approx(0, abs=1e-3)] * 4
    assert [look.collapsed for look in looks] == [False, False, False, True]
    assert not quality.look(90, real_images).collapsed
    assert not quality.look(100, one_image).collapsed
    assert quality.look(1000, one_image).collapsed  # looks may be rare


@pytest.mark.parametrize("count", [2, 5, 10, 20])
def test_few_different_images_again_and_again_are_a_collapse(count, watch):
    def few_images(noise):
        images = np.resize(real_images(noise[:count]), (len(noise), 784)).astype(float)
        return np.clip(images + np.random.default_rng(0).normal(0, 5, images.shape), 0, 255).astype(np.uint8)

    quality = watch()
    assert not quality.look(50, few_images).collapsed
    found = quality.look(90, few_images, closely=True)
    assert found.collapsed
    assert found.distinctness < 0.3
    quality.write()
    assert json.loads(quality._file.read_text())["looks"][-1]["collapsed"] is True


def test_the_first_images_of_a_run_are_alike_and_no_collapse(watch):
    quality = watch()
    assert not any(quality.look(step, one_image).collapsed for step in (0, 10, 20, 30, 39, 40, 50, 60))
    assert quality.look(70, one_image).collapsed  # 35,000 images


def test_two_looks_at_one_step_are_one(watch):
    """A picture and an export may fall on the same step."""
    quality = watch()
    for step in (50, 60):
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
            log.quality(sample_quality.Look(step, variety, collapsed=variety < 0.5, distinctness=0.05))
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(warnings) == 2
    said = "step 1: a generated image differs from others 10% as much as a real one, and from the one most like it 5%"
    assert said in warnings[0]
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [" COLLAPSED" in line for line in lines if line.startswith("quality")] == [False, True, True, False, True]


class Recording(tracking.BaseTracker):
    def __init__(self):
        self.told = []

    def scalars(self, step, values):
        self.told.append((step, values))


def test_a_collapse_is_marked_wherever_one_looks(tmp_path, capsys):
    tracker = Recording()
    folder = storage.path(str(tmp_path))
    step = {"g_loss": 1.0, "d_loss": 1.0, "d_accuracy_on_generated": 0.5, "d_accuracy_on_real": 0.5}
    with training_log.TrainingLog(folder, folder, (28, 28, 1), 0, 20, 8, 0, [tracker]) as log:
        log.step(10, step, 1e-3)
        log.quality(sample_quality.Look(15, 0.1, collapsed=True, distinctness=0.05))
        log._line_time = 0.0
        log.step(20, step, 1e-3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("training step")]
    assert [line.partition("real: ")[2] for line in lines] == ["0.50", "0.50 | variety 10% COLLAPSED"]
    assert dict(tracker.told)[15] == {"variety": 0.1, "distinctness": 0.05, "collapsed": 1.0}


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
