"""Contests between four small teams of known strength, through the functions of the commands."""

import collections
import hashlib
import itertools
import json
import shutil
import signal

import corpus
import numpy as np
import pytest
import record_files

from gan import stop_signals, storage
from gan.arena import ledger, organiser, sandbox
from gan.errors import InputError, RunError
from gan.referee import RefereeOptions, referee
from gan.replay import ReplayOptions, replay
from gan.tournament import TournamentOptions, tournament

STRENGTHS = {"Gold": corpus.GOLD, "Silver": corpus.SILVER, "<b>Bronze</b>": corpus.BRONZE, "Paper": corpus.PAPER}


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A folder with four submissions and record files of real images."""
    folder = tmp_path_factory.mktemp("field")
    for number, strength in enumerate(STRENGTHS.values()):
        corpus.team(folder / str(number), strength)
    for name, seed in (("real", 0), ("train", 1)):
        images = corpus.real_images(90, seed)
        record_files.write(folder / f"{name}.tfrecords", [record_files.example(row) for row in images])
    write_list(folder / "teams.csv", {name: folder / str(i) for i, name in enumerate(STRENGTHS)})
    return folder


def write_list(file, teams, columns="name,submission"):
    file.write_text(columns + "\n" + "".join(f"{name},{folder}\n" for name, folder in teams.items()))


@pytest.fixture
def options(field, tmp_path, sandbox_mode):
    """Makes `TournamentOptions` for the field; `output` is the folder's name."""

    def make(output="contest", **settings):
        return TournamentOptions(
            **{
                "teams": str(field / "teams.csv"),
                "input_data_pattern": str(field / "real.tfrecords"),
                "image_height": corpus.CONTEST.height,
                "image_width": corpus.CONTEST.width,
                "latent_size": corpus.CONTEST.latent_size,
                "tie_break": "seed",
                "output_dir": str(tmp_path / output),
                "sandbox": sandbox_mode,
                "seed": 3,
                **settings,
            }
        )

    return make


def places(overview):
    return {team["name"]: team["place"] for team in overview["teams"]}


def match_files(folder):
    return {
        str(file.relative_to(folder)): file for file in sorted(folder.glob("matches/*/*")) if file.suffix != ".html"
    }


def without_times(file):
    if file.suffix != ".json":
        return file.read_bytes()
    result = json.loads(file.read_text())
    assert set(result["timing"]) in ({"a", "b"}, set())
    return {**result, "timing": None}


def test_the_strongest_team_wins_and_everything_is_written(options, tmp_path, capsys):
    overview = tournament(options())
    assert overview["status"] == "finished"
    assert places(overview)["Gold"] == 1
    assert sorted(places(overview).values()) == [1, 2, 3, 3]
    final = json.loads((tmp_path / "contest" / overview["matches"][-1]["folder"] / "match.json").read_text())
    assert (final["id"], len(final["rounds"]), final["out_of"]) == ("final", 3, 90)
    used = list(itertools.chain.from_iterable(r["reals"] for r in final["rounds"]))
    assert len(set(used)) == 45, "fresh reals in each round"
    assert final["format"] == 1 and final["seed"] != 3
    revealed = overview["revealed"]
    digest = hashlib.sha256(f"{revealed['seed']}/{revealed['nonce']}".encode()).hexdigest()
    assert digest == overview["commitment"]["seed_sha256"]
    assert overview["commitment"]["data"] == [
        {"file": "real.tfrecords", "sha256": storage.sha256(storage.path(options().input_data_pattern))}
    ]
    text = capsys.readouterr().out
    assert "final: " in text and "Gold wins (score: " in text and "   1.  Gold" in text
    index = (tmp_path / "contest" / "index.html").read_text()
    assert "&lt;b&gt;Bronze&lt;/b&gt;" in index and "<b>Bronze" not in index
    assert str(tmp_path) not in index


def test_two_runs_with_one_seed_are_equal_and_a_replay_agrees(options, tmp_path, capsys):
    for name in ("one", "two"):
        tournament(options(name))
    one, two = (match_files(tmp_path / name) for name in ("one", "two"))
    assert list(one) == list(two)
    assert len(one) >= 3 + 2 * 5
    for name, file in one.items():
        assert without_times(file) == without_times(two[name]), name
    for file in one.values():
        if file.name == "match.json":
            replay(ReplayOptions(result=str(file), sandbox=options().sandbox))
    assert capsys.readouterr().out.count("equal: ") == 3


def test_a_replay_says_where_it_differs(options, field, tmp_path, capsys):
    overview = tournament(options())
    folder = tmp_path / "contest" / overview["matches"][0]["folder"]
    result = json.loads((folder / "match.json").read_text())
    result["rounds"][0]["directions"][0]["p"][3] = 0.25
    (folder / "match.json").write_text(json.dumps(result))
    (folder / "round_1_b_to_a.png").write_bytes(b"another picture")
    replayed = ReplayOptions(result=str(folder / "match.json"), sandbox=options().sandbox)
    with pytest.raises(RunError, match="2 differences"):
        replay(replayed)
    text = capsys.readouterr().out
    assert "differs: rounds[0].directions[0].p[3]: 0.25 then, " in text
    assert "differs: picture round_1_b_to_a.png" in text
    with pytest.raises(InputError, match="fingerprint"):
        replay(ReplayOptions(result=replayed.result, input_data_pattern=str(field / "train.tfrecords"), sandbox="off"))
    snapshot = next((tmp_path / "contest" / "snapshots").glob("*/*/checkpoint"))
    snapshot.write_text("changed")
    with pytest.raises(InputError, match="has changed since it was taken"):
        for match in overview["matches"]:
            result = tmp_path / "contest" / match["folder"] / "match.json"
            if result.parent != folder:
                replay(ReplayOptions(result=str(result), sandbox="off"))


class Killed(Exception):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("call", [1, pytest.param(3, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("moment", ["before", pytest.param("after", marks=pytest.mark.exhaustive)])
def test_a_killed_tournament_goes_on_with_the_same_results(call, moment, options, tmp_path, monkeypatch):
    tournament(options("whole"))
    calls = []
    save = ledger.Ledger.save_result

    def saved_until_killed(self, *arguments):
        calls.append(arguments[0])
        if len(calls) == call:
            if moment == "after":
                save(self, *arguments)
            raise Killed
        save(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "save_result", saved_until_killed)
        with pytest.raises(Killed):
            tournament(options("killed"))
    begun = match_files(tmp_path / "killed")
    stamps = {name: file.stat().st_mtime_ns for name, file in begun.items() if file.name == "match.json"}
    tournament(options("killed"))
    whole, killed = (match_files(tmp_path / name) for name in ("whole", "killed"))
    assert {n: without_times(f) for n, f in whole.items()} == {n: without_times(f) for n, f in killed.items()}
    assert all(killed[name].stat().st_mtime_ns == stamp for name, stamp in stamps.items()), "nothing is played twice"


def test_other_settings_and_a_second_process_are_refused(options, field, tmp_path):
    tournament(options())
    with pytest.raises(InputError, match="seed=3, now it is 4"):
        tournament(options(seed=4))
    with pytest.raises(InputError, match="tie_break='seed', now it is 'time'"):
        tournament(options(tie_break="time"))
    handlers = [signal.getsignal(number) for number in stop_signals.STOPS]
    with (
        storage.lock(storage.path(str(tmp_path / "contest"))),
        pytest.raises(InputError, match="in use by another process"),
    ):
        tournament(options())
    assert [signal.getsignal(number) for number in stop_signals.STOPS] == handlers


def test_the_referee_changes_the_bracket_and_nothing_is_lost(options, tmp_path, capsys):
    output = str(tmp_path / "contest")
    first = tournament(options())
    played = match_files(tmp_path / "contest")
    referee(RefereeOptions(action="disqualify", output_dir=output, team="Gold", reason="trained on <the test>"))
    second = tournament(options())
    assert places(second)["Gold"] > 1
    assert next(team for team in second["teams"] if team["name"] == "Gold")["disqualified"] == "trained on <the test>"
    assert sum(match["decided_by"] == "forfeit" for match in second["matches"]) == 1
    assert "disqualified: trained on <the test>" in capsys.readouterr().out
    assert set(played) <= set(match_files(tmp_path / "contest"))
    page = (tmp_path / "contest" / "index.html").read_text()
    assert "trained on &lt;the test&gt;" in page
    referee(RefereeOptions(action="reinstate", output_dir=output, team="Gold", reason="it was not"))
    third = tournament(options())
    assert places(third) == places(first)
    referee(RefereeOptions(action="rematch", output_dir=output, match="final", reason="power cut"))
    fourth = tournament(options())
    assert fourth["matches"][-1]["folder"] == first["matches"][-1]["folder"] + "--2"
    results = [
        json.loads((tmp_path / "contest" / m["matches"][-1]["folder"] / "match.json").read_text())
        for m in (first, fourth)
    ]
    assert results[0]["seed"] != results[1]["seed"]
    assert results[0]["rounds"][0]["reals"] != results[1]["rounds"][0]["reals"]
    assert [d["action"] for d in fourth["decisions"]] == ["disqualify", "reinstate", "rematch"]


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"action": "disqualify", "team": "Nobody", "reason": "x"}, "no such team"),
        ({"action": "reinstate", "team": "Gold", "reason": "x"}, "Gold is not disqualified"),
        ({"action": "rematch", "match": "round-of-16-1", "reason": "x"}, "not played in .*; played are: semi-final-1"),
        ({"action": "rematch", "team": "Gold", "reason": "x"}, "rematch needs --match"),
        ({"action": "disqualify", "team": "Gold"}, "disqualify needs a --reason"),
        ({"action": "disqualify", "team": "Gold", "reason": "x", "output_dir": "/nowhere"}, "holds no contest"),
        ({"action": "shoot", "team": "Gold", "reason": "x"}, "one of disqualify, reinstate, rematch"),
    ],
)
def test_the_referee_refuses(settings, words, options, tmp_path):
    if "no contest" not in words and "needs" not in words:
        tournament(options())
    with pytest.raises(InputError, match=words):
        referee(RefereeOptions(**{"output_dir": str(tmp_path / "contest"), **settings}))


def test_a_decision_during_the_tournament_counts(options, tmp_path, monkeypatch):
    play = organiser.Organiser.play

    def play_and_decide(self, match_id, *arguments):
        result = play(self, match_id, *arguments)
        if match_id == "semi-final-2" and not self.ledger.decisions():
            self.ledger.add_decision("disqualify", "Gold", "seen copying")
        return result

    monkeypatch.setattr(organiser.Organiser, "play", play_and_decide)
    overview = tournament(options())
    assert places(overview)["Gold"] == 3


def test_a_broken_submission_forfeits_with_its_reason(options, field, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    teams = {"Gold": field / "0", "Silver": field / "1", "Empty": tmp_path / "empty"}
    write_list(tmp_path / "teams.csv", teams)
    overview = tournament(options(teams=str(tmp_path / "teams.csv")))
    assert places(overview)["Gold"] == 1
    (forfeit,) = [match for match in overview["matches"] if match["decided_by"] == "forfeit"]
    result = json.loads((tmp_path / "contest" / forfeit["folder"] / "match.json").read_text())
    assert "holds no submission" in result["reason"]
    assert "holds no submission" in capsys.readouterr().out
    assert "holds no submission" in (tmp_path / "contest" / "index.html").read_text()
    with pytest.raises(RunError, match="no submission passes the check"):
        write_list(tmp_path / "broken.csv", {"A": tmp_path / "empty", "B": tmp_path / "nowhere"})
        tournament(options("broken", teams=str(tmp_path / "broken.csv")))


def test_frozen_submissions_are_played_whatever_happens_to_them_later(options, field, tmp_path):
    for number in range(2):
        shutil.copytree(field / str(number), tmp_path / str(number))
    write_list(tmp_path / "teams.csv", {"Gold": tmp_path / "0", "Silver": tmp_path / "1"})
    settings = {"teams": str(tmp_path / "teams.csv")}
    frozen = tournament(options(freeze=True, **settings))
    assert frozen["status"] == "frozen" and not frozen["matches"] and frozen["revealed"] is None
    assert (tmp_path / "contest" / "index.html").exists()
    shutil.rmtree(tmp_path / "0")
    shutil.copytree(tmp_path / "1", tmp_path / "0")
    overview = tournament(options(**settings))
    assert places(overview) == {"Gold": 1, "Silver": 2}
    assert overview["commitment"] == frozen["commitment"]


def test_a_dry_run_draws_and_checks_and_writes_nothing(options, tmp_path, capsys):
    assert tournament(options(dry_run=True)) is None
    text = capsys.readouterr().out
    assert "PASS  Gold" in text and "winner of semi-final-2" in text
    assert "4 of 4 submissions may battle" in text
    assert list(tmp_path.iterdir()) == []


def test_seeds_of_the_list_draw_the_bracket(options, field, tmp_path):
    lines = "".join(f"{name},{field / str(i)},{4 - i}\n" for i, name in enumerate(STRENGTHS))
    (tmp_path / "teams.csv").write_text("name,submission,seed\n" + lines)
    overview = tournament(options(teams=str(tmp_path / "teams.csv")))
    assert {team["name"]: team["seed"] for team in overview["teams"]} == {
        "Gold": 4, "Silver": 3, "<b>Bronze</b>": 2, "Paper": 1,
    }  # fmt: skip
    first = overview["bracket"][0]
    slugs = {team["name"]: team["slug"] for team in overview["teams"]}
    assert (first["a"]["team"], first["b"]["team"]) == (slugs["Paper"], slugs["Gold"])


def test_mock_battles_seed_a_knockout_and_their_snapshots_step_in(options, field, tmp_path, capsys):
    for number in range(2):
        shutil.copytree(field / str(number), tmp_path / str(number))
    write_list(tmp_path / "teams.csv", {"Silver": tmp_path / "1", "Gold": tmp_path / "0"})
    settings = {"teams": str(tmp_path / "teams.csv")}
    for sessions in (1, 2):
        mock = tournament(options("mock", format="mock", **settings))
        assert len(mock["matches"]) == sessions
    assert [row["name"] for row in mock["ratings"]["teams"]] == ["Gold", "Silver"]
    (tmp_path / "0" / "model.ckpt-7.meta").write_bytes(b"lost")
    knockout = tournament(options(mock_dir=str(tmp_path / "mock"), **settings))
    assert {team["name"]: team["seed"] for team in knockout["teams"]} == {"Gold": 1, "Silver": 2}
    assert places(knockout) == {"Gold": 1, "Silver": 2}
    assert any("Gold plays its snapshot of" in warning for warning in knockout["warnings"])
    for match in knockout["matches"]:
        replay(ReplayOptions(result=str(tmp_path / "contest" / match["folder"] / "match.json"), sandbox="off"))


def test_a_league_rates_generators_and_discriminators_apart(options, field, tmp_path, capsys):
    overview = tournament(options(format="league", train_data_pattern=str(field / "train.tfrecords")))
    names = {
        key: [row["name"] for row in overview["ratings"][key]] for key in ("teams", "generators", "discriminators")
    }
    assert names["teams"][0] == "Gold" and names["teams"][-1] == "Paper"
    assert set(names["generators"]) == {*STRENGTHS, "House: Noise", "House: Mean", "House: Replay"}
    assert set(names["discriminators"]) == set(STRENGTHS)
    assert names["generators"][0] in ("House: Mean", "House: Replay")
    assert names["generators"].index("Gold") < names["generators"].index("Paper")
    for row in overview["ratings"]["teams"]:
        assert row["low"] < row["rating"] < row["high"]
    assert (tmp_path / "contest" / "matrix.png").exists()
    assert len(overview["matches"]) == 4 * 3 / 2 + 4 * 3
    assert "95 % interval" in capsys.readouterr().out
    house = next(m for m in overview["matches"] if m["b"] == "house-replay")
    assert house["score"][1] is None
    replay(ReplayOptions(result=str(tmp_path / "contest" / house["folder"] / "match.json"), sandbox="off"))


def test_a_runs_own_exports_play_a_league(tiny_run, tmp_path, sandbox_mode, capsys):
    overview = tournament(
        TournamentOptions(checkpoints_of=str(tiny_run[0]), output_dir=str(tmp_path / "self"), sandbox=sandbox_mode)
    )
    assert {team["name"] for team in overview["teams"]} == {"step_4", "step_6"}
    assert "submit step_" in capsys.readouterr().out


def test_without_bubblewrap_strangers_models_are_refused_with_advice(options, monkeypatch):
    monkeypatch.setattr(sandbox, "obstacle", lambda: "bubblewrap (bwrap) is not installed")
    with pytest.raises(InputError, match=r"not installed; install it .apt-get install bubblewrap.*--sandbox=off"):
        tournament(options(sandbox="require"))
    assert tournament(options("auto", sandbox="auto"))["sandbox"] is False


def test_teams_come_and_go_between_mock_sessions(options, field, tmp_path):
    folders = {name: field / str(i) for i, name in enumerate(STRENGTHS)}
    settings = {"format": "mock", "teams": str(tmp_path / "teams.csv")}
    for names in (("Gold", "Silver", "Paper"), ("Gold", "Silver"), ("Gold", "Silver", "<b>Bronze</b>")):
        write_list(tmp_path / "teams.csv", {name: folders[name] for name in names})
        overview = tournament(options("mock", **settings))
    assert {team["name"] for team in overview["teams"]} == {"Gold", "Silver", "Paper", "<b>Bronze</b>"}
    assert {row["name"] for row in overview["ratings"]["teams"]} == {"Gold", "Silver", "Paper", "<b>Bronze</b>"}
    assert len(overview["matches"]) == 2 + 1 + 2


def test_a_pool_smaller_than_the_field(options):
    assert places(tournament(options(workers=2)))["Gold"] == 1


def test_a_later_contest_plays_the_snapshots_of_an_earlier_one(options, field, tmp_path):
    first = tournament(options())
    again = {"teams": "", "snapshots_of": str(tmp_path / "contest"), "format": "league", "seed": 4, "house": False}
    league = tournament(options("league", **again))
    digests = [{team["name"]: team["snapshot"] for team in overview["teams"]} for overview in (first, league)]
    assert digests[0] == digests[1]


def test_a_frozen_snapshot_that_was_changed_is_noticed(options, tmp_path):
    tournament(options(freeze=True))
    record = next((tmp_path / "contest" / "snapshots").glob("*/*/snapshot.json"))
    checkpoint = record.parent / "checkpoint"
    checkpoint.write_text(checkpoint.read_text() + "\n")
    facts = json.loads(record.read_text())
    facts["sha256"]["checkpoint"] = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    record.write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"snapshot.json has changed since it was taken"):
        tournament(options())


@pytest.mark.exhaustive
def test_the_seeding_is_settled_with_the_submissions(options, field, tmp_path):
    mock = {"format": "mock", "tie_break": "seed"}
    tournament(options("mock", **mock))
    frozen = tournament(options(freeze=True, mock_dir=str(tmp_path / "mock")))
    assert frozen["bracket"][0]["a"]["team"]
    tournament(options("mock", **mock))
    overview = tournament(options(mock_dir=str(tmp_path / "mock")))
    assert [row["seed"] for row in overview["teams"]] == [row["seed"] for row in frozen["teams"]]


def test_what_a_kill_left_of_a_snapshot_does_no_harm(options, field, tmp_path):
    tournament(options("mock", format="mock"))
    store = next((tmp_path / "mock" / "snapshots").iterdir())
    (store / ".0123456789abcdef.tmp").mkdir()
    shutil.copytree(field, tmp_path / "field")
    write_list(tmp_path / "teams.csv", {name: tmp_path / "field" / str(i) for i, name in enumerate(STRENGTHS)})
    for number in range(4):
        (tmp_path / "field" / str(number) / "model.ckpt-7.meta").write_bytes(b"lost")
    overview = tournament(options(teams=str(tmp_path / "teams.csv"), mock_dir=str(tmp_path / "mock")))
    assert places(overview)["Gold"] == 1 and len(overview["warnings"]) >= 4


def test_a_league_takes_note_of_the_referee(options, tmp_path, monkeypatch):
    play = organiser.Organiser.play

    def play_and_decide(self, match_id, *arguments):
        result = play(self, match_id, *arguments)
        if not self.ledger.decisions():
            self.ledger.add_decision("disqualify", "Gold", "seen copying")
        return result

    monkeypatch.setattr(organiser.Organiser, "play", play_and_decide)
    overview = tournament(options(format="league", house=False))
    assert {row["name"] for row in overview["ratings"]["teams"]} == set(STRENGTHS) - {"Gold"}


def test_output_where_workers_can_read_it_is_refused(options, field, tmp_path, bubblewrap, monkeypatch):
    monkeypatch.setattr(sandbox, "_shown_folders", lambda: [tmp_path])
    with pytest.raises(InputError, match=r"contest lies in .*, which every team's worker may read"):
        tournament(options())


def test_a_league_without_any_match(options, field, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    write_list(tmp_path / "teams.csv", {"Gold": field / "0", "Empty": tmp_path / "empty"})
    overview = tournament(options(format="league", house=False, teams=str(tmp_path / "teams.csv")))
    assert overview["ratings"] is None
    assert "no ratings" in capsys.readouterr().out


def test_a_remote_folder_holds_a_contest(options):
    overview = tournament(options(output_dir="ram://contest_of_four"))
    assert places(overview)["Gold"] == 1
    assert storage.path("ram://contest_of_four/index.html").exists()


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"teams": ""}, "give one of --teams"),
        ({"every": "2h"}, "belong to --format=mock"),
        ({"format": "mock", "every": "soon"}, "--every=soon: expected a number and s, m, h or d"),
        ({"format": "mock", "at": "25:00"}, "--at=25:00: expected a time of day"),
        ({"format": "mock", "freeze": True}, "--freeze belongs to"),
        ({"teams": "/nowhere.csv"}, "/nowhere.csv: no such file; expected a CSV file"),
        ({"checkpoints_of": "/nowhere", "teams": ""}, "holds 0 exports"),
        ({"num_total_images": 15}, "expected more than --num_generate=15"),
        ({"num_generate": 80, "num_total_images": 160}, "320 real images are needed, the data holds 90"),
        ({"mock_dir": "/nowhere"}, "no contest there"),
    ],
)
def test_mistakes_are_named(settings, words, options, tmp_path):
    with pytest.raises(InputError, match=words):
        tournament(options(**settings))


def test_real_images_of_one_match_are_all_different(options, tmp_path):
    overview = tournament(options(disguise=True, num_generate=20, num_total_images=35))
    result = json.loads((tmp_path / "contest" / overview["matches"][0]["folder"] / "match.json").read_text())
    (played, *_) = result["rounds"]
    assert played["directions"][0]["out_of"] == 35 and len(set(played["reals"])) == 15
    assert np.sum(played["directions"][0]["truth"]) == 15


def test_a_league_loads_a_team_a_few_times_however_few_are_kept(options, field, tmp_path, monkeypatch):
    """The time of loading grows as the teams do: for the check, for its images, for its verdicts."""
    started, start = collections.Counter(), sandbox.start

    def noted(folder, *arguments):
        started[folder] += 1
        return start(folder, *arguments)

    monkeypatch.setattr(sandbox, "start", noted)
    write_list(tmp_path / "teams.csv", {f"Team {i}": field / str(i % 4) for i in range(7)})
    overview = tournament(options(teams=str(tmp_path / "teams.csv"), format="league", house=False, workers=2))
    assert len(overview["matches"]) == 21 and len(started) == 7
    assert max(started.values()) <= 3
    played = tmp_path / "contest" / overview["matches"][-1]["folder"] / "match.json"
    replay(ReplayOptions(result=str(played), sandbox="off"))


def test_results_of_earlier_versions_are_replayed(options, tmp_path, capsys):
    overview = tournament(options())
    file = tmp_path / "contest" / overview["matches"][0]["folder"] / "match.json"
    result = json.loads(file.read_text())
    assert result.pop("noise_seed") is None
    file.write_text(json.dumps(result))
    replay(ReplayOptions(result=str(file), sandbox=options().sandbox))
    assert "equal: " in capsys.readouterr().out
