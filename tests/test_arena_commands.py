"""The organiser's commands in processes of their own: exit codes, a real kill, nothing left behind."""

import json
import signal
import subprocess
import sys
import time

import corpus
import pytest
import record_files
from conftest import ROOT

from gan.battle import BattleOptions, battle

SIZE = ("--image_height=4", "--image_width=3", f"--latent_size={corpus.CONTEST.latent_size}")


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    lines = ["name,submission"]
    for name in ("GOLD", "SILVER", "BRONZE", "PAPER"):
        corpus.team(folder / name, getattr(corpus, name))
        lines.append(f"{name.title()},{folder / name}")
    (folder / "teams.csv").write_text("\n".join(lines) + "\n")
    records = [record_files.example(row) for row in corpus.real_images(80)]
    record_files.write(folder / "real.tfrecords", records)
    return folder


def flags(field, sandbox_mode, *more):
    return (*SIZE, f"--input_data_pattern={field / 'real.tfrecords'}", f"--sandbox={sandbox_mode}", *more)


def test_a_battle_and_its_replay(field, sandbox_mode, tmp_path, command):
    pair = (f"--team_a=Ours={field / 'SILVER'}", f"--team_b=Theirs={field / 'GOLD'}", f"--output_dir={tmp_path / 'b'}")
    size = {"image_height": 4, "image_width": 3, "latent_size": corpus.CONTEST.latent_size}
    teams = {"team_a": f"A={field / 'GOLD'}", "team_b": f"B={field / 'BRONZE'}", "output_dir": str(tmp_path / "b")}
    real = str(field / "real.tfrecords")
    battle(BattleOptions(**size, **teams, input_data_pattern=real, sandbox=sandbox_mode))  # which the next one replaces
    done = command("battle", *pair, *flags(field, sandbox_mode, "--rounds=2", "--seed=5"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Theirs wins (score: " in done.stdout
    (result,) = (tmp_path / "b" / "matches").glob("*/match.json")
    assert json.loads(result.read_text())["winner"] == "b"
    assert len(json.loads(result.read_text())["rounds"]) == 2
    assert (tmp_path / "b" / "index.html").exists()
    done = command("replay", result, f"--sandbox={sandbox_mode}")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("equal: ")
    result.write_text(result.read_text().replace('"points": ', '"points": 1'))
    done = command("replay", result, f"--sandbox={sandbox_mode}")
    assert done.returncode == 1 and "differences" in done.stderr


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("battle", ["--team_a=Ours"], "--team_a=Ours: expected NAME=DIR"),
        ("battle", ["--team_a=A=x", "--team_b=A=y"], "two teams have the name 'A'"),
        ("tournament", [], "give one of --teams"),
        ("tournament", ["--teams=nowhere.csv"], "nowhere.csv"),
        ("referee", [], "action is missing"),
        ("replay", [], "result is missing"),
        ("replay", ["nowhere.json"], "expected the match.json of a contest"),
        ("replay", ["setup.py"], "is no result of a match"),
        ("check_submission", ["--sandbox=maybe"], "--sandbox=maybe: expected one of require, auto, off"),
        ("tournament", ["knockout"], "unexpected argument 'knockout'"),
    ],
)
def test_mistakes_end_with_2_and_one_line(name, arguments, words, command):
    done = command(name, *arguments)
    assert done.returncode == 2
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


def without_times(folder):
    files = folder.glob("matches/*/match.json")
    return {file.parent.name: {**json.loads(file.read_text()), "timing": None} for file in files}


def workers(folder):
    """Numbers of the processes that run a worker on a snapshot in `folder`."""
    listing = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in listing.splitlines() if "gan.arena.worker" in line and f"{folder}/" in line]
    return {line.split()[0] for line in lines}


@pytest.mark.exhaustive
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_tournament_that_is_stopped_goes_on_and_leaves_no_worker(end, field, sandbox_mode, tmp_path, command):
    arguments = flags(field, sandbox_mode, f"--teams={field / 'teams.csv'}", "--tie_break=seed", "--seed=9")
    assert command("tournament", *arguments, f"--output_dir={tmp_path / 'whole'}").returncode == 0
    line = [sys.executable, "-m", "gan.tournament", *arguments, f"--output_dir={tmp_path / 'stopped'}"]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "stopped").glob("matches/*/match.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(end)
    _, errors = process.communicate(timeout=30)
    if end != signal.SIGKILL and process.returncode:  # it may just have ended
        assert process.returncode == 128 + end, errors
        assert errors == "stopped; the same command goes on where it was\n"
    deadline = time.monotonic() + 20
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not workers(tmp_path)
    assert command("tournament", *arguments, f"--output_dir={tmp_path / 'stopped'}").returncode == 0
    assert without_times(tmp_path / "stopped") == without_times(tmp_path / "whole")


def test_a_script_runs_from_a_checkout(tmp_path):
    line = [sys.executable, str(ROOT / "gan" / "referee.py"), "--help"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "disqualify" in done.stdout and "ACTION" in done.stdout
