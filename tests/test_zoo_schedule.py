"""The jobs of a comparison: which there are, their order, and which are left."""

import itertools

from zoo_results import PLAN, comparison_in, options_in, speed

from benchmarks.zoo import parts, schedule
from benchmarks.zoo.jobs import train
from benchmarks.zoo.plans import Plan


def names_of(jobs, kind=None):
    return [job.name if kind else f"{job.kind} {job.name}" for job in jobs if kind in (None, job.kind)]


def test_jobs_stand_in_an_order_in_which_all_can_be_done(tmp_path):
    chosen = ["new", "plain", "old"]
    jobs = schedule.planned_jobs(PLAN, chosen, chosen, options_in(tmp_path))
    assert names_of(jobs)[:12] == [
        *("speed new/0", "speed plain/0", "speed old/0", "speed new/1", "speed plain/1", "speed old/1"),
        *("speed new/2", "speed plain/2", "speed old/2", "reference reals", "train new-0-10", "measure new-0-10"),
    ]
    assert names_of(jobs, "duel") == ["new-plain-30", "new-old-10"]
    assert names_of(jobs, "goal") == ["new-old-0-60"]
    assert "new-0-14" in names_of(jobs, "train") and "new-0-14" not in names_of(jobs, "measure")
    assert len({(job.kind, job.name) for job in jobs}) == len(jobs)
    done = set()
    for job in jobs:
        assert set(job.needs) <= done, job.name
        done.add((job.kind, job.name))


def test_nothing_is_planned_for_presets_that_are_not_there(tmp_path):
    jobs = schedule.planned_jobs(PLAN, ["other"], ["other", "plain"], options_in(tmp_path))
    assert names_of(jobs) == [
        *("speed other/0", "speed other/1", "speed other/2", "reference reals"),
        *("train other-0-10", "measure other-0-10", "check other"),
    ]


def test_what_a_part_brings_comes_last_and_plays_no_league(tmp_path):
    changed = parts.names()[0]
    plan = Plan(seeds={"default": (1,)}, parts=True)
    chosen = ["default", "sample", "dcgan", changed]
    comparison = comparison_in(tmp_path, only=",".join(chosen), jobs="league")
    (league,) = schedule.jobs_left(comparison)
    assert league.presets == ("dcgan", "default", "sample")
    jobs = schedule.planned_jobs(plan, chosen, list(league.presets), options_in(tmp_path))
    assert names_of(jobs)[-4:] == [
        *("train default-1-10", "measure default-1-10", f"train {changed}-0-10", f"measure {changed}-0-10"),
    ]
    assert changed not in names_of(jobs, "check")


def test_a_longer_point_takes_only_the_minutes_since_the_one_before(tmp_path):
    jobs = schedule.planned_jobs(PLAN, ["new"], ["new"], options_in(tmp_path))
    minutes = {job.name: job.minutes - train.STARTUP_MINUTES for job in jobs if job.kind == "train"}
    assert minutes == {"new-0-10": 10, "new-0-14": 4, "new-0-30": 16, "new-0-60": 30, "new-1-10": 10, "new-2-10": 10}


def test_what_is_kept_is_not_done_again(tmp_path):
    comparison = comparison_in(tmp_path, only="sample,dcgan", jobs="speed,check")
    for turn, preset in itertools.product((0, 1), ("sample", "dcgan")):
        comparison.results.keep("speed", f"{preset}/{turn}", (preset,), speed(100.0))
    comparison.results.keep("check", "sample", ("sample",), {"failed": [], "warned": []})
    again = comparison_in(tmp_path, only="sample,dcgan", jobs="speed,check")
    assert names_of(schedule.jobs_left(again)) == ["speed sample/2", "speed dcgan/2", "check dcgan"]
    part = comparison_in(tmp_path, only="dcgan", jobs="speed,check")
    assert names_of(schedule.jobs_left(part)) == ["speed dcgan/2", "check dcgan"]


def test_a_league_is_played_anew_once_there_is_another_preset(tmp_path):
    comparison = comparison_in(tmp_path, only="sample,dcgan,default", jobs="league")
    comparison.results.keep("league", "league", ("dcgan", "default", "sample"), {"generators": {}})
    assert schedule.jobs_left(comparison) == []
    comparison.results.keep("train", "r3gan-0-10", ("r3gan",), {"steps": 7})
    (job,) = schedule.jobs_left(comparison)
    assert job.presets == ("dcgan", "default", "r3gan", "sample")


def test_of_two_presets_there_is_no_league(tmp_path):
    assert schedule.jobs_left(comparison_in(tmp_path, only="sample,dcgan", jobs="league")) == []
