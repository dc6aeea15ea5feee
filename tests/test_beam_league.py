"""A league that Apache Beam plays: the same files as the local run, whoever plays, and whatever is stopped."""

import json
import shutil
import subprocess
import sys

import corpus
import pytest
import record_files
from conftest import ROOT

from gan import storage
from gan.arena import beam_league, ledger, rounds, sandbox
from gan.errors import InputError, RunError
from gan.tournament import TournamentOptions, tournament

MATCHES = 4 * 3 // 2 + 4 * 3  # each pair of teams, and each team against three house opponents


@pytest.fixture(scope="module")
def make_options(tmp_path_factory, sandbox_mode):
    """Makes `TournamentOptions` for a league of four teams; the D of one of them fails in every match."""
    folder = tmp_path_factory.mktemp("field")
    corpus.team(folder / "Gold", corpus.GOLD)
    corpus.saved_model(folder / "Silver", corpus.SILVER)
    corpus.team(folder / "Bronze", corpus.BRONZE)
    corpus.ENTRIES["ranks_the_batch_of_a_match"].build(folder / "Ranker", None)
    names = ("Gold", "Silver", "Bronze", "Ranker")
    (folder / "teams.csv").write_text("name,submission\n" + "".join(f"{name},{folder / name}\n" for name in names))
    for name, seed in (("real", 0), ("train", 1)):
        images = corpus.real_images(90, seed)
        record_files.write(folder / f"{name}.tfrecords", [record_files.example(row) for row in images])

    def make(output, **settings):
        given = {
            "teams": str(folder / "teams.csv"),
            "input_data_pattern": str(folder / "real.tfrecords"),
            "train_data_pattern": str(folder / "train.tfrecords"),
            "image_height": corpus.CONTEST.height,
            "image_width": corpus.CONTEST.width,
            "latent_size": corpus.CONTEST.latent_size,
            "format": "league",
            "output_dir": str(output),
            "sandbox": sandbox_mode,
            "seed": 3,
            "workers": 24,
        }
        return TournamentOptions(**given | settings)

    return make


@pytest.fixture(scope="module")
def frozen(make_options, tmp_path_factory):
    """A folder in which the league is frozen: submissions are checked, no match is played."""
    folder = tmp_path_factory.mktemp("frozen") / "league"
    tournament(make_options(folder, freeze=True))
    return folder


@pytest.fixture(scope="module", autouse=True)
def clock_stands_still():
    """The one that a page shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "now", lambda: "2030-01-01T12:00:00+00:00")
        yield


@pytest.fixture(scope="module")
def played_here(frozen, make_options):
    """The league, played on this machine without Beam."""
    folder = shutil.copytree(frozen, frozen.parent / "here")
    tournament(make_options(folder))
    return folder


@pytest.fixture
def begun(frozen, tmp_path):
    """A copy of the frozen league."""
    return shutil.copytree(frozen, tmp_path / "league")


def content(folder):
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(".lock"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def match_files(folder):
    return sorted(folder.glob("matches/*/match.json"))


def test_beam_leaves_the_same_files_as_the_local_run(played_here, begun, make_options, capsys, monkeypatch):
    capsys.readouterr()
    started, start = [], sandbox.start

    def noted(folder, *arguments):
        started.append(folder)
        return start(folder, *arguments)

    monkeypatch.setattr(sandbox, "start", noted)
    overview = tournament(make_options(begun, runner="beam"))
    assert len(started) == len(set(started)) == 4, "one worker for each team that has models"
    assert content(begun) == content(played_here)
    assert (overview["status"], len(overview["matches"]), len(match_files(begun))) == ("finished", MATCHES, MATCHES)
    reasons = [match["reason"] for match in overview["matches"] if match["reason"]]
    assert len(reasons) == 6
    assert all("Ranker's discriminator failed in round 1: p depends on the other images" in text for text in reasons)
    printed = capsys.readouterr().out
    assert f"Apache Beam plays {MATCHES} matches in 1 block(s)\n" in printed
    assert printed.count("league-") == MATCHES


@pytest.mark.exhaustive
def test_processes_that_share_nothing_but_files_play_the_same(played_here, begun, make_options):
    """The real command, two processes of Beam, three blocks."""
    options = make_options(begun)
    names = ("teams", "input_data_pattern", "train_data_pattern", "image_height", "image_width", "latent_size", "seed")
    flags = [f"--{name}={getattr(options, name)}" for name in (*names, "sandbox", "format", "output_dir")]
    beam = ["--runner=beam", "--beam_options=--direct_num_workers=2 --direct_running_mode=multi_processing"]
    line = [sys.executable, "-m", "gan.tournament", *flags, *beam, "--workers=4", "--nohouse"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Apache Beam plays 6 matches in 3 block(s)\n" in done.stdout
    assert len(match_files(begun)) == 6
    for file in match_files(begun):
        assert file.read_bytes() == (played_here / file.relative_to(begun)).read_bytes()
    assert not list((begun / "private").glob("tasks*"))


@pytest.mark.exhaustive
def test_a_stopped_pipeline_goes_on_with_what_is_missing(played_here, begun, make_options, monkeypatch):
    save = ledger.Ledger.save_result

    def save_three(self, *arguments):
        if len(match_files(begun)) == 3:
            raise RunError("the machine has gone")
        save(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "save_result", save_three)
        with pytest.raises(RunError) as error:
            tournament(make_options(begun, runner="beam"))
    assert str(error.value) == "Apache Beam: the machine has gone; the same command goes on where it was"
    stamps = {file: file.stat().st_mtime_ns for file in match_files(begun)}
    assert len(stamps) == 3
    tournament(make_options(begun, runner="beam"))
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items()), "nothing is played twice"
    assert content(begun) == content(played_here)
    tournament(make_options(begun))  # nor by the other runner
    assert content(begun) == content(played_here)


def test_a_remote_folder_is_where_the_machines_meet(played_here, frozen, make_options):
    remote = storage.path("ram://beam_league")
    for name, data in content(frozen).items():
        storage.write_bytes(remote / name, data)
    overview = tournament(make_options(remote, runner="beam"))
    assert overview == json.loads((played_here / "tournament.json").read_text())
    for file in match_files(played_here):
        assert (remote / file.relative_to(played_here)).read_bytes() == file.read_bytes()
    assert not [entry for entry in (remote / "private").iterdir() if entry.name.startswith("tasks")]


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"runner": "beam", "format": "knockout"}, "--runner=beam plays a league; in a knockout, matches wait"),
        ({"runner": "beam", "format": "mock"}, "--runner=beam plays a league; in a mock, matches wait"),
        ({"beam_options": "--region=x"}, "--beam_options are for --runner=beam"),
        ({"runner": "flink"}, "--runner=flink: expected one of local, beam"),
        ({"runner": "beam", "beam_options": "--runner=Flunk"}, "--beam_options=--runner=Flunk: Unexpected pipeline"),
    ],
)
def test_a_runner_that_cannot_be_used_is_refused_before_anything_is_checked(settings, words, make_options, tmp_path):
    with pytest.raises(InputError, match=words):
        tournament(make_options(tmp_path / "new", **settings))
    assert not (tmp_path / "new").exists()


def test_a_machine_that_does_not_see_the_contest_says_so(frozen, make_options, tmp_path):
    terms = rounds.Terms(corpus.CONTEST, timed=False)
    with pytest.raises(RunError, match=r"does not see .*elsewhere: give --output_dir, .* for instance gs://"):
        beam_league.PlayBlock(str(tmp_path / "elsewhere"), make_options(frozen), terms, "", False).start_bundle()
    with pytest.raises(RunError, match="sees other images: --input_data_pattern="):
        beam_league.PlayBlock(str(frozen), make_options(frozen), terms, "of others", False).start_bundle()
