"""What each kind of job does: the commands that it runs, and what it makes of their results."""

import itertools
import math
import signal
import subprocess
import sys

import pytest
from zoo_results import comparison_in, keep_rates

import gan.battle
import gan.check_submission
import gan.tournament
import gan.train
from benchmarks.zoo import commands, plans
from benchmarks.zoo.jobs import check, duel, goal, league, speed, train
from benchmarks.zoo.judge import Judge
from benchmarks.zoo.plans import Goal, Plan, Point
from gan import flags, guard, storage
from gan.errors import Interrupted, RunError

OPTIONS = {
    "train": gan.train.TrainOptions,
    "check_submission": gan.check_submission.CheckSubmissionOptions,
    "tournament": gan.tournament.TournamentOptions,
    "battle": gan.battle.BattleOptions,
}
MATCH = {
    "rounds": [
        {"directions": [{"discriminator": "b", "points": 20}, {"discriminator": "a", "points": 25}]},
        {"directions": [{"discriminator": "a", "points": 11}, {"discriminator": "b", "points": 11}]},
    ]
}


@pytest.fixture
def seen(monkeypatch):
    """Parses the flags of every command in place of running it, and lets each leave what is looked at."""
    found = []

    def run(name, *arguments, fine=(0,)):
        parsed = flags.parse(OPTIONS[name], ["gan", *arguments])
        found.append((name, parsed))
        if name in LEFT:
            LEFT[name](parsed)

    monkeypatch.setattr(commands, "run", run)
    return found


def leave_check(options):
    rows = [("size", "PASS", "small"), ("time", "FAIL", "slow"), ("generator: memorisation", "WARN", "copies?")]
    findings = [dict(zip(("rule", "status", "message"), row, strict=True)) for row in rows]
    storage.write_json(storage.path(options.output_dir) / "check.json", {"findings": findings})


def leave_battle(options):
    folder = storage.path(options.output_dir)
    storage.write_json(folder / "tournament.json", {"matches": [{"folder": "matches/x"}]})
    storage.write_json(folder / "matches" / "x" / "match.json", MATCH)


def leave_league(options):
    teams = [line.split(",")[0] for line in storage.path(options.teams).read_text().splitlines()[1:]]
    rows = [[f"{g}@0", f"{d}@0", 20, 30] for g, d in itertools.permutations(teams, 2)]
    contest = {"teams": [{"slug": team, "name": team} for team in teams], "matches": [{"directions": rows}]}
    storage.write_json(storage.path(options.output_dir) / "tournament.json", contest)


LEFT = {"check_submission": leave_check, "battle": leave_battle, "tournament": leave_league}


def test_a_failed_command_ends_the_comparison_with_its_last_line():
    with pytest.raises(RunError, match=r"gan.train ended with exit code 2: error: .*nonsense"):
        commands.run("train", "--nonsense=1")


def test_rates_are_those_of_the_steps_alone():
    log = (
        "a new run in x: Examples/sec: 7\n"
        "training step 1 | G Loss: 0.1 | D loss: 0.2 | Examples/sec: 12.50\n"
        "quality step 1 | variety: 1.0000\n"
        "training step 2 | G Loss: 0.1 | D loss: 0.2 | Examples/sec: 250.00 | D accuracy on G: 0.50\n"
    )
    assert speed.logged_rates(log) == [12.5, 250.0]


def test_a_slow_step_that_comes_regularly_counts_and_one_that_comes_once_does_not():
    quick, slow, hiccup = 10.0, 2.0, 0.1  # images per second, 1, 5 and 100 seconds
    assert speed.rate_of([quick] * 20 + [hiccup], 10, 1) == pytest.approx(10.0)
    rates = [quick, slow, quick, quick] * 5
    assert speed.rate_of(rates, 10, 4) == pytest.approx(5.0)
    assert speed.rate_of([hiccup, *rates[1:], quick], 10, 4) == pytest.approx(5.0)


def test_a_stopped_command_is_listened_to_until_it_has_saved(tmp_path, monkeypatch):
    program = (
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        "    for number in range(1000):\n"
        "        print('saving', number, flush=True)\n"
        "    pathlib.Path(sys.argv[1]).write_text('saved')\n"
        "    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('begun', flush=True)\n"
        "time.sleep(100)\n"
    )

    class Python(subprocess.Popen):
        def __init__(self, line, **settings):
            super().__init__([sys.executable, "-c", program, str(tmp_path / "save")], **settings)

    shown = commands._show

    def interrupted_once(lines):
        monkeypatch.setattr(commands, "_show", shown)
        assert next(lines) == "begun\n"
        raise Interrupted("stopped", signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Python)
    monkeypatch.setattr(commands, "_show", interrupted_once)
    with pytest.raises(Interrupted):
        commands.run("train")
    assert (tmp_path / "save").read_text() == "saved"


@pytest.mark.parametrize("every", [1, 4, 36])
def test_speed_is_that_of_whole_rounds_after_a_run_has_begun(every, tmp_path, monkeypatch):
    """100 steps a second, and every round ends with one that takes a second."""
    comparison = comparison_in(tmp_path)
    trained = []

    def run(comparison, preset, seed, folder, steps, steps_between_exports):
        first = trained[-1] if trained else 0
        rates = [128 / (1.0 if step % every == 0 and every > 1 else 0.01) for step in range(first + 1, steps + 1)]
        lines = [f"training step {step} | Examples/sec: {rate:.2f}\n" for step, rate in enumerate(rates, first + 1)]
        folder.mkdir(parents=True, exist_ok=True)
        before = (folder / "train.log").read_text() if first else ""
        (folder / "train.log").write_text(before + "".join(lines))
        trained.append(steps)

    monkeypatch.setattr(speed.train, "run", run)
    monkeypatch.setattr(speed, "round_of", lambda options: every)
    monkeypatch.setattr(speed, "count_parameters", lambda folder: [1, 2])
    found = speed.measure(comparison, "sample")
    seconds = 0.01 if every == 1 else 1.0 + 0.01 * (every - 1)
    assert found["images_per_second"] == pytest.approx(128 * every / seconds, rel=1e-3)
    assert trained[0] >= speed.FIRST_STEPS and trained[0] % every == 0
    counted = (trained[1] - trained[0]) * seconds / every
    assert counted == pytest.approx(speed.WARM_UP_SECONDS + speed.COUNTED_SECONDS, rel=0.2)


def test_a_round_of_steps_has_all_that_waits_for_some_steps():
    lazy = {"gradient_penalties": "R1Penalty", "gradient_penalty_interval": 6}
    rounds = [speed.round_of(gan.train.TrainOptions(**given)) for given in ({"negatives": ""}, {}, {**lazy})]
    assert rounds == [1, guard.EVERY, math.lcm(6, guard.EVERY)]


def test_training_goes_to_the_step_of_the_point_and_exports_on_the_way_to_a_goal(tmp_path, seen, monkeypatch):
    plan = Plan(goal=Goal("sample", "dcgan", target_minutes=60, every=2, until=14))
    monkeypatch.setitem(plans.PLANS, "digits", plan)
    comparison = comparison_in(tmp_path)
    keep_rates(comparison, "sample")
    for seed, minutes in ((0, 14), (0, 30), (1, 10)):
        value = train.train_to(comparison, Point("sample", seed, minutes))
        assert value == {"steps": 60 * minutes, "images": 60 * minutes * 128}
    found = [(o.preset, o.seed, o.train_dir, o.max_steps, o.export_model_steps) for _, o in seen]
    folder = str(comparison.folder)
    assert found == [
        ("sample", 0, f"{folder}/sample-0", 840, 120),
        ("sample", 0, f"{folder}/sample-0", 1800, 1800),
        ("sample", 1, f"{folder}/sample-1", 600, 600),
    ]
    assert all(o.num_epochs * 1000 // 128 > o.max_steps for _, o in seen)  # it is the steps that end the run


def test_the_data_are_named_to_every_command(tmp_path, seen):
    comparison = comparison_in(tmp_path, train_data_pattern="t*", validation_data_pattern="v*")
    keep_rates(comparison, "sample")
    train.train_to(comparison, plans.first_point("sample"))
    check.check(comparison, plans.first_point("sample"))
    (_, trained), (_, checked) = seen
    assert (trained.train_data_pattern, trained.use_mnist) == ("t*", True)
    assert (checked.input_data_pattern, checked.train_data_pattern, checked.use_mnist) == ("v*", "t*", True)
    assert checked.train_dir == str(comparison.folder / "sample-0" / "export" / "step_600")


def test_a_check_keeps_what_fails_and_what_warns(tmp_path, seen):
    comparison = comparison_in(tmp_path)
    keep_rates(comparison, "sample")
    found = check.check(comparison, plans.first_point("sample"))
    assert (found["failed"], found["warned"]) == (["time"], ["generator: memorisation"])
    assert found["messages"]["time"] == "slow"


def test_a_league_is_played_several_times_and_rated_at_once(tmp_path, seen):
    field = ("sample", "dcgan", "default")
    comparison = comparison_in(tmp_path, only=",".join(field))
    keep_rates(comparison, *field)
    value = league.play(comparison, field)
    assert [(name, o.format, o.house, o.seed) for name, o in seen] == [
        ("tournament", "league", False, seed) for seed in range(3)
    ]
    lines = storage.path(seen[0][1].teams).read_text().splitlines()
    assert lines[:2] == ["name,submission", f"sample,{comparison.folder / 'sample-0' / 'export' / 'step_600'}"]
    assert set(value["generators"]) == set(value["discriminators"]) == set(field)
    rating, low, high = value["generators"]["sample"]
    assert rating == pytest.approx(1500) and low < rating < high


def test_scores_of_a_league_bear_the_names_of_the_presets():
    contest = {
        "teams": [{"slug": "a-1", "name": "alpha"}, {"slug": "b-2", "name": "beta"}],
        "matches": [{"directions": [["a-1@0123", "b-2@4567", 21, 30], ["b-2@4567", "a-1@0123", 17, 30]]}],
    }
    scores = [(s.generator, s.discriminator, s.points, s.out_of) for s in league.scores(contest)]
    assert scores == [("alpha", "beta", 21, 30), ("beta", "alpha", 17, 30)]


def test_a_duel_is_as_many_battles_as_the_real_images_allow(tmp_path, seen):
    comparison = comparison_in(tmp_path, duel_rounds=60)
    keep_rates(comparison, "sample", "dcgan")
    value = duel.play(comparison, [Point("sample", 0, 30), Point("dcgan", 0, 30)])
    found = [o for _, o in seen]
    assert [o.rounds for o in found] == [23, 23, 14]  # 360 validation images: 24 lots of 15, one for an extra round
    assert [o.seed for o in found] == [0, 1, 2]
    assert len({o.output_dir for o in found}) == 3
    assert [team.submission for team in found[0].pair] == [
        str(comparison.folder / f"{preset}-0" / "export" / "step_1800") for preset in ("sample", "dcgan")
    ]
    assert (value["minutes"], value["won"], value["tied"], value["rounds"]) == (30, 3, 3, 6)


def test_battles_share_the_rounds():
    assert duel.battle_sizes(200, 44) == [44, 44, 44, 44, 24]
    assert duel.battle_sizes(40, 40) == [40]


def test_points_of_a_round_are_those_of_the_discriminators():
    assert duel.round_points(MATCH) == [(25, 20), (11, 11)]


def test_rounds_are_counted_with_ties_as_half():
    counted = duel.won_share([(20, 10)] * 5 + [(15, 15)] * 3 + [(9, 28)] * 2)
    share, low, high = counted.pop("share")
    assert counted == {"rounds": 10, "won": 5, "tied": 3, "lost": 2}
    # Wilson: (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n) with p = 0.65, n = 10, z = 1.95996
    assert (share, low, high) == pytest.approx((0.65, 0.353671, 0.863069), abs=1e-6)
    assert duel.won_share([(1, 0)] * 200)["share"] == pytest.approx([1.0, 0.981155, 1.0], abs=1e-6)


def test_a_goal_is_reached_at_the_first_point_that_is_no_worse(tmp_path, monkeypatch):
    comparison = comparison_in(tmp_path)
    keep_rates(comparison, "sample", "dcgan")
    comparison.results.keep("measure", "sample-0-20", ("sample",), {"training": {"kid": [0.01, 0.0, 0.1]}})
    comparison.results.keep("measure", "dcgan-0-60", ("dcgan",), {"training": {"kid": [0.2, 0.1, 0.3]}})
    kids = {120: 0.5, 240: 0.2, 360: 0.3}
    monkeypatch.setattr(Judge, "generate", lambda _, folder: int(folder.name.removeprefix("step_")))
    monkeypatch.setattr(Judge, "kid", lambda _, step: kids[step])
    job = goal.job(Goal("sample", "dcgan", target_minutes=60, every=2, until=6), (20,))
    assert job.needs == (("train", "sample-0-6"), ("measure", "dcgan-0-60"), ("measure", "sample-0-20"))
    expected = {"kids": [(2, 0.5), (4, 0.2), (6, 0.3), (20, 0.01)], "minutes": 4, "target_minutes": 60}
    assert job.work(comparison) == expected
    kids[240] = 0.21
    assert job.work(comparison)["minutes"] == 20
