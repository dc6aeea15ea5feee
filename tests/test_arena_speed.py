"""The benchmarks of the arena, and a guard of what they measure, as a ratio with a wide margin."""

import json
import statistics

import pytest

from benchmarks import arena_speed, league_speed, league_stages, turns
from benchmarks.__main__ import BenchOptions, measure
from gan.arena import house
from gan.errors import RunError


def test_loading_a_small_submission_is_the_lesser_part_of_a_workers_start():
    folder = house.sample_model((50, 50, 1))
    shares = []
    for _ in range(3):
        stages = []
        whole = turns.seconds_of(lambda stages=stages: stages.append(arena_speed.stages_of(folder)))
        shares.append(sum(stages[0].values()) / whole)
        assert {"copy", "parse", "cut", "check", "read the weights", "freeze"} < stages[0].keys()
    assert statistics.median(shares) < 0.6


def test_a_folder_that_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(RunError, match=f"{tmp_path} cannot be loaded: .*holds no submission"):
        arena_speed.stages_of(tmp_path)


def test_the_fit_finds_what_made_the_times():
    teams = [5, 10, 20, 50]
    a, b = league_speed.fitted(teams, [2 * n + 0.25 * n**2 for n in teams])
    assert (a, b) == pytest.approx((2, 0.25))
    assert league_speed.fitted(teams, [3 * n for n in teams]) == pytest.approx((3, 0))
    a, b = league_speed.fitted(teams, [n**1.5 for n in teams])
    assert a > 0 and b > 0
    assert league_speed.fitted(teams, [n**0.5 for n in teams])[1] == 0
    assert league_speed.fitted(teams, [n**3 for n in teams])[0] == 0


def test_growth_is_the_power_between_two_sizes():
    assert league_speed.growth({10: 3.0, 20: 6.0}) == pytest.approx(1)
    assert league_speed.growth({50: 25.0, 10: 1.0}) == pytest.approx(2)


@pytest.mark.exhaustive
def test_the_benchmark_of_leagues_shows_where_the_time_goes(tmp_path):
    measure(BenchOptions(folder=str(tmp_path), only="league_speed", turns=1, brief=True))
    rows = json.loads((tmp_path / "bench.json").read_text())["league_speed"]["rows"]
    assert [row["verdict"] for row in rows] == ["shown"] * 3
    assert rows[0]["measured"].keys() == {"2 teams", "4 teams"}
    assert all(stage in rows[0]["remark"] for stage in (league_stages.JUDGING, league_stages.PAGES))
    assert f"{league_stages.STARTS} 4" in rows[0]["remark"]
    assert (tmp_path / league_speed.PICTURE).read_bytes().startswith(b"\x89PNG")


@pytest.mark.exhaustive
def test_the_benchmark_of_contests_and_of_loading_runs(tmp_path):
    measure(BenchOptions(folder=str(tmp_path), only="arena_speed", turns=1, brief=True))
    rows = {row["what"]: row for row in json.loads((tmp_path / "bench.json").read_text())["arena_speed"]["rows"]}
    assert rows["knockout of 3 teams, 8 directions"]["number"] > 0
    assert rows["league of 3 teams, 6 directions"]["number"] > 0
    loading = rows["loading and freezing a submission of the preset sample"]
    assert set(loading["measured"]) == {"TF1 checkpoint", "SavedModel"}
    assert loading["verdict"] == "reached" and "freeze" in loading["remark"]
    assert "plain process" in rows["the start of a worker, to its first answer"]["measured"]
