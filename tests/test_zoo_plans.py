"""What is compared: points of training, and the presets that fit the data."""

import dataclasses

import pytest
from zoo_results import PLAN

from benchmarks.zoo import parts, plans
from benchmarks.zoo import presets as zoo_presets
from gan import presets
from gan.errors import InputError


def test_what_matters_most_is_trained_first():
    points = plans.planned_points(PLAN, ["new", "plain", "old", "other"])
    assert [point.name for point in points] == [
        *("new-0-10", "plain-0-10", "old-0-10", "other-0-10"),
        *("new-0-14", "new-0-30", "plain-0-30", "old-0-30", "new-0-60", "old-0-60"),
        *("new-1-10", "old-1-10", "new-2-10", "old-2-10"),
    ]


@pytest.mark.parametrize("point", [plans.Point("sample", 0, 10), plans.Point("my-zoo.Mine", 12, 30)])
def test_a_name_says_which_point_it_is(point):
    assert plans.Point.of_name(point.name) == point


def test_presets_that_need_labels_are_for_digits(tmp_path, monkeypatch):
    (tmp_path / "zoo_presets.py").write_text(
        "from gan import models, presets\n"
        "class Labelled(models.SampleGenerator):\n    uses_labels = True\n"
        "class Told(presets.Sample):\n    generator_model = 'zoo_presets.Labelled'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(presets, "own_names", lambda: {"sample": "Sample", "zoo_presets.Told": "zoo_presets.Told"})
    assert zoo_presets.chosen("", "digits") == ["sample", "zoo_presets.Told"]
    assert zoo_presets.chosen("", "faces") == ["sample", *parts.names()]
    with pytest.raises(InputError, match=r"--only=zoo_presets\.Told: learns from labels, and faces have none"):
        zoo_presets.chosen("zoo_presets.Told", "faces")


@pytest.mark.parametrize("name", parts.names())
def test_a_part_is_default_with_little_changed(name):
    own, default = zoo_presets.settings_of(name), zoo_presets.settings_of("default")
    before, after = (dataclasses.asdict(options) for options in (default, own))
    changed = {key for key in before if before[key] != after[key]} - {"preset"}
    assert 1 <= len(changed) <= 3
    assert presets.find(name).__doc__.strip() == presets.find(name).__doc__


def test_a_preset_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="nonesuch"):
        zoo_presets.chosen("sample,nonesuch", "digits")
