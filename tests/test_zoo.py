"""The comparison of the presets: what is planned, kept and written. One slow test trains and measures a preset."""

import importlib.util
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import gan.battle
import gan.check_submission
import gan.tournament
import gan.train
from gan import flags, presets, storage
from gan.errors import InputError, RunError

OPTIONS = {
    "train": gan.train.TrainOptions,
    "check_submission": gan.check_submission.CheckSubmissionOptions,
    "tournament": gan.tournament.TournamentOptions,
    "battle": gan.battle.BattleOptions,
}
PLAN = {
    "longer": {"new": (30, 60), "old": (30, 60), "plain": (30,)},
    "seeds": {"new": (1, 2), "old": (1, 2)},
    "duels": (("new", "plain", 30), ("new", "old", 10)),
}
ESTIMATES = {"kid": [0.0421, 0.04, 0.0444], "frechet_distance": [3.456, 3.4, 3.5]}
MATCH = {
    "rounds": [
        {"directions": [{"discriminator": "b", "points": 20}, {"discriminator": "a", "points": 25}]},
        {"directions": [{"discriminator": "a", "points": 11}, {"discriminator": "b", "points": 11}]},
    ]
}


@pytest.fixture(scope="module")
def zoo():
    spec = importlib.util.spec_from_file_location("zoo", ROOT / "benchmarks" / "zoo.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module  # where `flags` looks for the types of options
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(zoo, tmp_path):
    """Makes a `Zoo` in a folder of its own, on the embedded digits."""

    def made(**settings):
        return zoo.Zoo(options(zoo, tmp_path, **settings))

    return made


def options(zoo, folder, **settings):
    return zoo.ZooOptions(**{"folder": str(folder), "data": "digits", "only": "sample", **settings})


def results(zoo, folder, data="faces"):
    return zoo.Results(storage.path(str(folder)) / "results.json", data)


def speed(rate, preset="sample", **settings):
    machine = "a machine; a Python"
    known = {"batch_size": 128, **settings}
    return {"images_per_second": rate, "parameters": [1234, 567], "settings": known, "machine": machine}


def plan_of(zoo, goal=True):
    return zoo.Plan(**PLAN, goal=zoo.Goal("new", "old", minutes=60, every=2, until=14) if goal else None)


def names_of(jobs, kind=None):
    return [job.name if kind else f"{job.kind} {job.name}" for job in jobs if kind in (None, job.kind)]


@pytest.mark.parametrize(
    "rate, batch_size, scale, steps",
    [(240.0, 64, 1.0, 225), (30.0, 64, 1.0, 28), (240.0, 64, 0.1, 22), (0.1, 128, 1.0, 1), (12000.0, 128, 1.0, 5625)],
)
def test_a_minute_is_a_whole_number_of_steps(zoo, rate, batch_size, scale, steps):
    assert zoo.steps_per_minute(rate, batch_size, scale) == steps


def test_the_minutes_of_a_point_follow_from_the_median_of_the_turns(make):
    it = make()
    for turn, rate in enumerate((64.0, 128.0, 640.0)):
        it.results.keep("speed", f"sample/{turn}", ("sample",), speed(rate))
    point = sys.modules["zoo"].Point("sample", 3, 10)
    assert it.steps(point) == 600
    assert it.submission(point) == it.folder / "sample-3" / "export" / "step_600"


def test_rates_are_those_of_the_steps_alone(zoo):
    log = (
        "a new run in x: Examples/sec: 7\n"
        "training step 1 | G Loss: 0.1 | D loss: 0.2 | Examples/sec: 12.50\n"
        "quality step 1 | variety: 1.0000\n"
        "training step 2 | G Loss: 0.1 | D loss: 0.2 | Examples/sec: 250.00 | D accuracy on G: 0.50\n"
    )
    assert zoo.logged_rates(log) == [12.5, 250.0]


def test_a_slow_step_that_comes_regularly_counts_and_one_that_comes_once_does_not(zoo):
    quick, slow, hiccup = 10.0, 2.0, 0.1  # images per second, 1, 5 and 100 seconds
    assert zoo.rate_of([quick] * 20 + [hiccup], 10, 1) == pytest.approx(10.0)
    rates = [quick, slow, quick, quick] * 5
    assert zoo.rate_of(rates, 10, 4) == pytest.approx(5.0)
    assert zoo.rate_of([hiccup, *rates[1:], quick], 10, 4) == pytest.approx(5.0)


def test_what_matters_most_is_trained_first(zoo):
    points = zoo.planned_points(plan_of(zoo), ["new", "plain", "old", "other"])
    assert [point.name for point in points] == [
        *("new-0-10", "plain-0-10", "old-0-10", "other-0-10"),
        *("new-0-14", "new-0-30", "plain-0-30", "old-0-30", "new-0-60", "old-0-60"),
        *("new-1-10", "old-1-10", "new-2-10", "old-2-10"),
    ]


def test_jobs_stand_in_an_order_in_which_all_can_be_done(zoo, tmp_path):
    chosen = ["new", "plain", "old"]
    jobs = zoo.planned_jobs(plan_of(zoo), chosen, chosen, options(zoo, tmp_path))
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


def test_nothing_is_planned_for_presets_that_are_not_there(zoo, tmp_path):
    jobs = zoo.planned_jobs(plan_of(zoo), ["other"], ["other", "plain"], options(zoo, tmp_path))
    assert names_of(jobs) == [
        *("speed other/0", "speed other/1", "speed other/2", "reference reals"),
        *("train other-0-10", "measure other-0-10", "check other"),
    ]


def test_a_longer_point_takes_only_the_minutes_since_the_one_before(zoo, tmp_path):
    jobs = zoo.planned_jobs(plan_of(zoo), ["new"], ["new"], options(zoo, tmp_path))
    minutes = {job.name: job.minutes - zoo.STARTUP_MINUTES for job in jobs if job.kind == "train"}
    assert minutes == {"new-0-10": 10, "new-0-14": 4, "new-0-30": 16, "new-0-60": 30, "new-1-10": 10, "new-2-10": 10}


def test_what_is_kept_is_not_done_again(make, zoo):
    it = make(only="sample,dcgan", jobs="speed,check")
    for turn, preset in itertools.product((0, 1), ("sample", "dcgan")):
        it.results.keep("speed", f"{preset}/{turn}", (preset,), speed(100.0))
    it.results.keep("check", "sample", ("sample",), {"failed": [], "warned": []})
    again = make(only="sample,dcgan", jobs="speed,check")
    assert names_of(again.jobs()) == ["speed sample/2", "speed dcgan/2", "check dcgan"]
    assert names_of(make(only="dcgan", jobs="speed,check").jobs()) == ["speed dcgan/2", "check dcgan"]


def test_a_league_is_played_anew_once_there_is_another_preset(make, zoo):
    it = make(only="sample,dcgan,default", jobs="league")
    it.results.keep("league", "league", ("dcgan", "default", "sample"), {"generators": {}})
    assert it.jobs() == []
    it.results.keep("train", "r3gan-0-10", ("r3gan",), {"steps": 7})
    (job,) = it.jobs()
    assert job.presets == ("dcgan", "default", "r3gan", "sample")


def test_of_two_presets_there_is_no_league(make):
    assert make(only="sample,dcgan", jobs="league").jobs() == []


def test_a_stopped_comparison_goes_on(zoo, tmp_path, monkeypatch, capsys):
    done, broken = [], ["b"]

    def job(name, *needs):
        def work(it):
            if name in broken:
                raise RunError(f"{name} failed")
            done.append(name)
            return {"value": name}

        return zoo.Job("train", name, (), work, tuple(("train", need) for need in needs))

    monkeypatch.setattr(zoo, "planned_jobs", lambda *_: [job("a"), job("b", "a"), job("c", "missing"), job("d", "b")])
    with pytest.raises(RunError, match="b failed"):
        zoo.compare(options(zoo, tmp_path))
    assert done == ["a"]
    assert json.loads((tmp_path / "results.json").read_text())["digits"]["train"]["a"]["value"] == "a"
    broken.clear()
    zoo.compare(options(zoo, tmp_path))
    assert done == ["a", "b", "d"]
    printed = capsys.readouterr().out
    assert "[1/3] train b" in printed
    assert "[2/3] train c: left out, because train missing is not done" in printed


def test_a_dry_run_lists_what_is_left_and_leaves_nothing(zoo, tmp_path, capsys):
    zoo.compare(options(zoo, tmp_path / "new", dry_run=True, jobs="train,check"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["10.5", "min", "train", "sample-0-10"],
        ["0.5", "min", "check", "sample"],
        ["11", "min", "for", "2", "jobs"],
    ]
    assert not (tmp_path / "new").exists()


def test_one_folder_holds_results_of_one_kind(make, zoo, tmp_path):
    make().settle()
    make().settle()
    with pytest.raises(InputError, match=r"minutes_scale was 1.0, is now 0.5; name another --folder"):
        make(minutes_scale=0.5).settle()


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"jobs": "speed,trian"}, "--jobs=trian: expected some of speed, reference, train"),
        ({"data": "faces"}, "--data=faces needs --train_data_pattern"),
        ({"train_data_pattern": "x"}, "go together"),
        ({"minutes_scale": 0.0}, "more than 0"),
    ],
)
def test_options_that_cannot_be_are_refused(zoo, tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        options(zoo, tmp_path, **settings)


def test_presets_that_need_labels_are_for_digits(zoo, tmp_path, monkeypatch):
    (tmp_path / "zoo_presets.py").write_text(
        "from gan import models, presets\n"
        "class Labelled(models.SampleGenerator):\n    uses_labels = True\n"
        "class Told(presets.Sample):\n    generator_model = 'zoo_presets.Labelled'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(presets, "own_names", lambda: {"sample": "Sample", "zoo_presets.Told": "zoo_presets.Told"})
    patterns = {"train_data_pattern": "t", "validation_data_pattern": "v"}
    faces = {"data": "faces", **patterns}
    assert zoo.chosen_presets(options(zoo, tmp_path, only="")) == ["sample", "zoo_presets.Told"]
    assert zoo.chosen_presets(options(zoo, tmp_path, only="", **faces)) == ["sample"]
    with pytest.raises(InputError, match=r"--only=zoo_presets\.Told: learns from labels, and faces have none"):
        zoo.chosen_presets(options(zoo, tmp_path, only="zoo_presets.Told", **faces))


def test_a_preset_that_does_not_exist_is_refused(zoo, tmp_path):
    with pytest.raises(InputError, match="nonesuch"):
        zoo.chosen_presets(options(zoo, tmp_path, only="sample,nonesuch"))


def test_results_of_two_data_sets_lie_side_by_side(zoo, tmp_path):
    results(zoo, tmp_path).keep("check", "a", ("a",), {"failed": []})
    results(zoo, tmp_path, "digits").keep("check", "a", ("a",), {"failed": ["size"]})
    assert results(zoo, tmp_path).get("check", "a")["failed"] == []
    assert results(zoo, tmp_path, "digits").get("check", "a")["failed"] == ["size"]
    assert results(zoo, tmp_path).get("check", "b") is None


def test_measuring_anew_moves_the_runs_of_a_preset_aside(make, zoo):
    it = make()
    for name in ("sample-0", "sample-12", "sampler-0", "other-0"):
        (it.folder / name).mkdir(parents=True)
    for kind, name, about in (
        ("speed", "sample/0", ("sample",)),
        ("train", "other-0-10", ("other",)),
        ("duel", "other-sample-10", ("other", "sample")),
    ):
        it.results.keep(kind, name, about, {})
    it.forget("sample")
    assert sorted(entry.name for entry in it.folder.iterdir()) == ["other-0", "previous", "sampler-0"]
    assert sorted(entry.name for entry in (it.folder / "previous").iterdir()) == ["sample-0.1", "sample-12.1"]
    kept = results(zoo, it.folder.parent, "digits")
    assert [list(kept.of_kind(kind)) for kind in ("speed", "train", "duel")] == [[], ["other-0-10"], []]
    (it.folder / "sample-0").mkdir()
    it.forget("sample")
    assert (it.folder / "previous" / "sample-0.2").exists()


def test_a_preset_that_has_changed_since_is_named(make):
    it = make()
    batch_size = sys.modules["zoo"].settings_of("sample").batch_size
    it.results.keep("speed", "sample/0", ("sample",), speed(1.0, batch_size=batch_size, removed_since=1))
    assert it.changed_presets() == {}
    it.results.keep("speed", "sample/0", ("sample",), speed(1.0, batch_size=7))
    assert it.changed_presets() == {"sample": {"batch_size": [7, batch_size]}}


def test_rounds_are_counted_with_ties_as_half(zoo):
    counted = zoo.won_share([(20, 10)] * 5 + [(15, 15)] * 3 + [(9, 28)] * 2)
    share, low, high = counted.pop("share")
    assert counted == {"rounds": 10, "won": 5, "tied": 3, "lost": 2}
    # Wilson: (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n) with p = 0.65, n = 10, z = 1.95996
    assert (share, low, high) == pytest.approx((0.65, 0.353671, 0.863069), abs=1e-6)
    assert zoo.won_share([(1, 0)] * 200)["share"] == pytest.approx([1.0, 0.981155, 1.0], abs=1e-6)


def test_points_of_a_round_are_those_of_the_discriminators(zoo):
    assert zoo.round_points(MATCH) == [(25, 20), (11, 11)]


def test_battles_share_the_rounds(zoo):
    assert zoo.battle_sizes(200, 44) == [44, 44, 44, 44, 24]
    assert zoo.battle_sizes(40, 40) == [40]


def test_scores_of_a_league_bear_the_names_of_the_presets(zoo):
    contest = {
        "teams": [{"slug": "a-1", "name": "alpha"}, {"slug": "b-2", "name": "beta"}],
        "matches": [{"directions": [["a-1@0123", "b-2@4567", 21, 30], ["b-2@4567", "a-1@0123", 17, 30]]}],
    }
    scores = [(s.generator, s.discriminator, s.points, s.out_of) for s in zoo.league_scores(contest)]
    assert scores == [("alpha", "beta", 21, 30), ("beta", "alpha", 17, 30)]


def test_a_failed_command_ends_the_comparison_with_its_last_line(zoo):
    with pytest.raises(RunError, match=r"gan.train ended with exit code 2: error: .*nonsense"):
        zoo.run_command("train", "--nonsense=1")


@pytest.fixture
def commands(zoo, monkeypatch):
    """Parses the flags of every command in place of running it, and lets each leave what is looked at."""
    seen = []

    def run(name, *arguments, fine=(0,)):
        parsed = flags.parse(OPTIONS[name], ["gan", *arguments])
        seen.append((name, parsed))
        if name == "check_submission":
            found = [
                ("size", "PASS", "small"),
                ("time", "FAIL", "slow"),
                ("generator: memorisation", "WARN", "copies?"),
            ]
            findings = [dict(zip(("rule", "status", "message"), row, strict=True)) for row in found]
            storage.write_json(storage.path(parsed.output_dir) / "check.json", {"findings": findings})
        elif name == "battle":
            folder = storage.path(parsed.output_dir)
            storage.write_json(folder / "tournament.json", {"matches": [{"folder": "matches/x"}]})
            storage.write_json(folder / "matches" / "x" / "match.json", MATCH)
        elif name == "tournament":
            teams = [line.split(",")[0] for line in storage.path(parsed.teams).read_text().splitlines()[1:]]
            rows = [[f"{g}@0", f"{d}@0", 20, 30] for g, d in itertools.permutations(teams, 2)]
            contest = {"teams": [{"slug": team, "name": team} for team in teams], "matches": [{"directions": rows}]}
            storage.write_json(storage.path(parsed.output_dir) / "tournament.json", contest)

    monkeypatch.setattr(zoo, "run_command", run)
    return seen


def with_rates(it, *names):
    for preset, turn in itertools.product(names, range(3)):
        it.results.keep("speed", f"{preset}/{turn}", (preset,), speed(128.0))
    return it


def test_training_goes_to_the_step_of_the_point_and_exports_on_the_way_to_a_goal(make, zoo, commands, monkeypatch):
    monkeypatch.setitem(zoo.PLANS, "digits", zoo.Plan(goal=zoo.Goal("sample", "dcgan", minutes=60, every=2, until=14)))
    it = with_rates(make(), "sample")
    for seed, minutes in ((0, 14), (0, 30), (1, 10)):
        value = zoo.train_to(it, zoo.Point("sample", seed, minutes))
        assert value == {"steps": 60 * minutes, "images": 60 * minutes * 128}
    found = [(o.preset, o.seed, o.train_dir, o.max_steps, o.export_model_steps) for _, o in commands]
    folder = str(it.folder)
    assert found == [
        ("sample", 0, f"{folder}/sample-0", 840, 120),
        ("sample", 0, f"{folder}/sample-0", 1800, 1800),
        ("sample", 1, f"{folder}/sample-1", 600, 600),
    ]
    assert all(o.num_epochs * 1000 // 128 > o.max_steps for _, o in commands)  # it is the steps that end the run


def test_the_data_are_named_to_every_command(make, zoo, commands):
    it = with_rates(make(train_data_pattern="t*", validation_data_pattern="v*"), "sample")
    zoo.train_to(it, zoo.first_point("sample"))
    zoo.check_point(it, zoo.first_point("sample"))
    (_, trained), (_, checked) = commands
    assert (trained.train_data_pattern, trained.use_mnist) == ("t*", True)
    assert (checked.input_data_pattern, checked.train_data_pattern, checked.use_mnist) == ("v*", "t*", True)
    assert checked.train_dir == str(it.folder / "sample-0" / "export" / "step_600")


def test_a_check_keeps_what_fails_and_what_warns(make, zoo, commands):
    found = zoo.check_point(with_rates(make(), "sample"), zoo.first_point("sample"))
    assert (found["failed"], found["warned"]) == (["time"], ["generator: memorisation"])
    assert found["messages"]["time"] == "slow"


def test_a_duel_is_as_many_battles_as_the_real_images_allow(make, zoo, commands):
    it = with_rates(make(duel_rounds=60), "sample", "dcgan")
    value = zoo.play_duel(it, [zoo.Point("sample", 0, 30), zoo.Point("dcgan", 0, 30)])
    found = [o for _, o in commands]
    assert [o.rounds for o in found] == [23, 23, 14]  # 360 validation images: 24 lots of 15, one for an extra round
    assert [o.seed for o in found] == [0, 1, 2]
    assert len({o.output_dir for o in found}) == 3
    assert [team.submission for team in found[0].pair] == [
        str(it.folder / f"{preset}-0" / "export" / "step_1800") for preset in ("sample", "dcgan")
    ]
    assert (value["minutes"], value["won"], value["tied"], value["rounds"]) == (30, 3, 3, 6)


def test_a_league_is_played_several_times_and_rated_at_once(make, zoo, commands):
    field = ("sample", "dcgan", "default")
    it = with_rates(make(only=",".join(field)), *field)
    value = zoo.play_league(it, field)
    assert [(name, o.format, o.house, o.seed) for name, o in commands] == [
        ("tournament", "league", False, seed) for seed in range(3)
    ]
    lines = storage.path(commands[0][1].teams).read_text().splitlines()
    assert lines[:2] == ["name,submission", f"sample,{it.folder / 'sample-0' / 'export' / 'step_600'}"]
    assert set(value["generators"]) == set(value["discriminators"]) == set(field)
    rating, low, high = value["generators"]["sample"]
    assert rating == pytest.approx(1500) and low < rating < high


def test_a_goal_is_reached_at_the_first_point_that_is_no_worse(make, zoo, monkeypatch):
    plan = zoo.Plan(longer={"sample": (20,)}, goal=zoo.Goal("sample", "dcgan", minutes=60, every=2, until=6))
    monkeypatch.setitem(zoo.PLANS, "digits", plan)
    it = with_rates(make(), "sample", "dcgan")
    it.results.keep("measure", "sample-0-20", ("sample",), {"training": {"kid": [0.01, 0.0, 0.1]}})
    it.results.keep("measure", "dcgan-0-60", ("dcgan",), {"training": {"kid": [0.2, 0.1, 0.3]}})
    kids = {120: 0.5, 240: 0.2, 360: 0.3}
    monkeypatch.setattr(zoo.Judge, "generate", lambda _, folder: int(folder.name.removeprefix("step_")))
    monkeypatch.setattr(zoo.Judge, "kid", lambda _, step: kids[step])
    (job,) = [
        job
        for job in zoo.planned_jobs(it.plan, ["sample", "dcgan"], ["sample", "dcgan"], it.options)
        if job.kind == "goal"
    ]
    assert job.needs == (("train", "sample-0-6"), ("measure", "dcgan-0-60"), ("measure", "sample-0-20"))
    expected = {"kids": [(2, 0.5), (4, 0.2), (6, 0.3), (20, 0.01)], "minutes": 4, "target_minutes": 60}
    assert job.work(it) == expected
    kids[240] = 0.21
    assert job.work(it)["minutes"] == 20


def made_up(zoo, folder):
    """Results of two presets, one of which has only been timed, and of a longer run of the other."""
    found = results(zoo, folder)
    settings = {"minutes_scale": 1.0, "num_generated": 5000, "duel_rounds": 200, "embedded": False}
    found.keep("settings", "settings", (), settings)
    found.keep(
        "reference",
        "reals",
        (),
        {"training": {"kid": [0.001, -0.002, 0.004]}, "images": {"train": 11479, "validation": 689}},
    )
    for turn, rate in enumerate((199.0, 200.4, 230.0)):
        found.keep("speed", f"slow/{turn}", ("slow",), speed(rate, "slow"))
    found.keep("speed", "new/0", ("new",), speed(1234.5, "new"))
    for name, kid in (("new-0-10", 0.0421), ("new-1-10", 0.0521), ("new-2-10", 0.0621), ("new-0-30", 0.03)):
        found.keep("measure", name, ("new",), {"training": {**ESTIMATES, "kid": [kid, kid - 0.002, kid + 0.002]}})
    found.keep("check", "new", ("new",), {"failed": [], "warned": ["generator: memorisation", "time"]})
    found.keep("check", "slow", ("slow",), {"failed": ["time"], "warned": []})
    ratings = {"generators": {"new": [1612.4, 1590.1, 1634.7]}, "discriminators": {"new": [1400.0, 1380.0, 1420.0]}}
    found.keep("league", "league", ("new", "old", "slow"), ratings)
    found.keep(
        "duel",
        "new-slow-30",
        ("new", "slow"),
        {"minutes": 30, "rounds": 200, "won": 150, "tied": 1, "lost": 49, "share": [0.7525, 0.688307, 0.807176]},
    )
    found.keep(
        "goal",
        "new-slow-0-60",
        ("new", "slow"),
        {"kids": [[2, 0.09], [10, 0.0421], [30, 0.03]], "minutes": 10, "target_minutes": 60},
    )
    rows = storage.path(str(folder)) / "faces" / "rows"
    storage.write_bytes(rows / "new-0-10.png", b"a picture")
    storage.write_bytes(rows / "new-0-30.png", b"another")
    storage.write_bytes(rows / "slow-0-10.png", b"one of a run that was moved aside")


def test_the_table_shows_what_is_there(zoo, tmp_path, capsys):
    made_up(zoo, tmp_path)
    (tmp_path / "README.md").write_text("text\n<!-- zoo -->\nold\n<!-- end -->\n<!-- flags of x -->\n<!-- end -->\n")
    zoo.compare(options(zoo, tmp_path, table=True, readme=str(tmp_path / "README.md")))
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("text\n<!-- zoo -->\n**Faces** (11,479 images to train on, 689 others) after 10 minutes")
    assert text.endswith("\n<!-- end -->\n<!-- flags of x -->\n<!-- end -->\n")
    assert "old\n" not in text
    assert (
        "on a machine; a Python by\n`python benchmarks/zoo.py --folder=zoo --data=faces --train_data_pattern=... "
        in text
    )
    lines = text.splitlines()
    expected = (
        "| *other real images* | - | - | 1.0 [-2.0, 4.0] | - | - | - | - | - |",
        "| new | 1,234 / 567 | 1,234 | 42.1 [40.1, 44.1] | 3.46 [3.40, 3.50] | 1612 [1590, 1635] | 1400 [1380, 1420] "
        "| passes, copies? | ![generated by new](pics/zoo/faces_new.png) |",
        "| slow | 1,234 / 567 | 200 | - | - | - | - | refused: time | - |",
        "| 2 | 90.0 |",
        "| 10 | 42.1 [40.1, 44.1] |",
        "| 30 | 30.0 [28.0, 32.0] |",
        "| KID x 1000 of new | 42.1 [40.1, 44.1] | 52.1 [50.1, 54.1] | 62.1 [60.1, 64.1] | 52.1 ± 10.0 |",
        "| new against slow | 30 | 200 | 150 | 1 | 49 | 75.2 % [68.8 %, 80.7 %] |",
        "After 10 minutes, new has reached the KID that slow has after 60.",
    )
    assert [line for line in lines if line in expected] == list(expected)
    assert [line for line in lines if line.startswith("| old |")] == ["| old | - | - | - | - | - | - | - | - |"]
    assert (tmp_path / "pics/zoo/faces_new.png").read_bytes() == b"a picture"
    assert len(list((tmp_path / "pics/zoo").iterdir())) == 1


def test_writing_the_table_twice_changes_nothing(zoo, tmp_path):
    made_up(zoo, tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- zoo -->\n<!-- end -->\n")
    texts = []
    for _ in range(2):
        zoo.compare(options(zoo, tmp_path, table=True, readme=str(readme)))
        texts.append(readme.read_text())
    assert texts[0] == texts[1]


def test_without_markers_the_table_is_printed_and_nothing_written(zoo, tmp_path, capsys):
    made_up(zoo, tmp_path)
    (tmp_path / "README.md").write_text("text\n")
    zoo.compare(options(zoo, tmp_path, table=True, readme=str(tmp_path / "README.md")))
    assert "| new | 1,234 / 567 |" in capsys.readouterr().out
    assert (tmp_path / "README.md").read_text() == "text\n"
    assert not (tmp_path / "pics").exists()


def test_without_results_there_is_no_table(zoo, tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        zoo.compare(options(zoo, tmp_path / "nothing", table=True))


def test_a_goal_that_is_not_reached_is_told(zoo):
    value = {"presets": ["new", "old"], "kids": [[2, 0.5], [60, 0.4]], "minutes": None, "target_minutes": 60}
    assert zoo.goal_text(value) == "After 60 minutes, new has not reached the KID that old has after 60."


@pytest.mark.slow
def test_a_preset_is_compared_by_one_command_and_not_twice(tmp_path):
    folder, readme = tmp_path / "zoo", tmp_path / "README.md"
    small = (f"--folder={folder}", "--data=digits", "--only=sample", "--minutes_scale=0.0005", "--num_generated=200")

    def run(*more):
        line = [sys.executable, str(ROOT / "benchmarks" / "zoo.py"), *small, *more]
        # The script lies beside the package, not in it, and a checkout need not be installed.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=600, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run()
    assert "[7/7] check sample" in printed and printed.count(" images/s\n") == 3
    kept = json.loads((folder / "results.json").read_text())["digits"]
    assert kept["speed"]["sample/0"]["parameters"] == [114064, 100609]
    steps = kept["train"]["sample-0-10"]["steps"]
    assert (folder / "digits" / "sample-0" / "export" / f"step_{steps}" / "saved_model.pb").exists()
    kid, low, high = kept["measure"]["sample-0-10"]["training"]["kid"]
    assert low < kid < high and np.isfinite([low, high]).all()
    assert (
        kept["reference"]["reals"]["training"]["kid"][0] < kid
    )  # after a few steps, real images are more like real ones
    assert kept["check"]["sample"]["failed"] == []
    assert "[1/" not in run()
    readme.write_text("<!-- zoo -->\n<!-- end -->\n")
    run("--table", f"--readme={readme}")
    assert "| sample | 114,064 / 100,609 |" in readme.read_text()
    assert (tmp_path / "pics" / "zoo" / "digits_sample.png").read_bytes().startswith(b"\x89PNG")
