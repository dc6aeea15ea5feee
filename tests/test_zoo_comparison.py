"""What a comparison keeps: how long a minute is, what its results are about, what is forgotten."""

import dataclasses

import pytest
from zoo_results import comparison_in, results_in, speed

from benchmarks.zoo import presets
from benchmarks.zoo.comparison import steps_per_minute
from benchmarks.zoo.plans import Point
from gan.errors import InputError


@pytest.mark.parametrize(
    "rate, batch_size, scale, steps",
    [(240.0, 64, 1.0, 225), (30.0, 64, 1.0, 28), (240.0, 64, 0.1, 22), (0.1, 128, 1.0, 1), (12000.0, 128, 1.0, 5625)],
)
def test_a_minute_is_a_whole_number_of_steps(rate, batch_size, scale, steps):
    assert steps_per_minute(rate, batch_size, scale) == steps


def test_the_minutes_of_a_point_follow_from_the_median_of_the_turns(tmp_path):
    comparison = comparison_in(tmp_path)
    for turn, rate in enumerate((64.0, 128.0, 640.0)):
        comparison.results.keep("speed", f"sample/{turn}", ("sample",), speed(rate))
    point = Point("sample", 3, 10)
    assert comparison.steps(point) == 600
    assert comparison.submission(point) == comparison.folder / "sample-3" / "export" / "step_600"


def test_results_of_two_data_sets_lie_side_by_side(tmp_path):
    results_in(tmp_path).keep("check", "a", ("a",), {"failed": []})
    results_in(tmp_path, "digits").keep("check", "a", ("a",), {"failed": ["size"]})
    assert results_in(tmp_path).get("check", "a")["failed"] == []
    assert results_in(tmp_path, "digits").get("check", "a")["failed"] == ["size"]
    assert results_in(tmp_path).get("check", "b") is None


def test_one_folder_holds_results_of_one_kind(tmp_path):
    comparison_in(tmp_path).settle()
    comparison_in(tmp_path).settle()
    with pytest.raises(InputError, match=r"minutes_scale was 1.0, is now 0.5; name another --folder"):
        comparison_in(tmp_path, minutes_scale=0.5).settle()


def test_measuring_anew_moves_the_runs_of_a_preset_aside(tmp_path):
    comparison = comparison_in(tmp_path)
    for name in ("sample-0", "sample-12", "sampler-0", "other-0"):
        (comparison.folder / name).mkdir(parents=True)
    for kind, name, about in (
        ("speed", "sample/0", ("sample",)),
        ("train", "other-0-10", ("other",)),
        ("duel", "other-sample-10", ("other", "sample")),
    ):
        comparison.results.keep(kind, name, about, {})
    comparison.forget("sample")
    assert sorted(entry.name for entry in comparison.folder.iterdir()) == ["other-0", "previous", "sampler-0"]
    previous = comparison.folder / "previous"
    assert sorted(entry.name for entry in previous.iterdir()) == ["sample-0.1", "sample-12.1"]
    kept = results_in(tmp_path, "digits")
    assert [list(kept.of_kind(kind)) for kind in ("speed", "train", "duel")] == [[], ["other-0-10"], []]
    (comparison.folder / "sample-0").mkdir()
    comparison.forget("sample")
    assert (previous / "sample-0.2").exists()


def test_a_preset_that_has_changed_since_is_named(tmp_path):
    comparison = comparison_in(tmp_path)
    settings = dataclasses.asdict(presets.settings_of("sample"))
    comparison.results.keep("speed", "sample/0", ("sample",), speed(1.0, **settings, removed_since=1))
    assert comparison.changed_presets() == {}
    comparison.results.keep("speed", "sample/0", ("sample",), speed(1.0, **{**settings, "batch_size": 7}))
    assert comparison.changed_presets() == {"sample": {"batch_size": [7, settings["batch_size"]]}}


def test_a_preset_that_has_something_new_is_named(tmp_path):
    comparison = comparison_in(tmp_path, only="default")
    settings = dataclasses.asdict(presets.settings_of("default"))
    guards = settings.pop("negatives")
    comparison.results.keep("speed", "default/0", ("default",), speed(1.0, **settings))
    assert comparison.changed_presets() == {"default": {"negatives": ["", guards]}}
