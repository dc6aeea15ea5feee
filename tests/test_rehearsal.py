"""The rehearsal of a whole contest in buckets."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.exhaustive
def test_a_whole_contest_is_rehearsed_by_one_command(tmp_path):
    folder = tmp_path / "rehearsal"
    line = [sys.executable, "-m", "examples.rehearsal", f"--folder={folder}", "--steps=5"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    contest = json.loads((folder / "page" / "tournament.json").read_text())
    assert contest["status"] == "finished" and len(contest["matches"]) == 1
    assert {team["name"] for team in contest["teams"]} == {"Alpha", "Beta"}
    for team in ("alpha", "beta"):
        receipt = json.loads((folder / team / "submitted.json").read_text())
        assert any(entry["snapshot"] == receipt["snapshot"] for entry in contest["teams"])
    assert f"published: gs://contest-page/final; a copy to open: {folder}/page/index.html" in done.stdout
    assert not {"private", "snapshots"} & {entry.name for entry in (folder / "page").iterdir()}
    again = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1) and "is there already" in again.stderr
