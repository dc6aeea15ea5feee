"""Copies of submissions."""

import itertools
import shutil

import corpus
import numpy as np
import pytest

from gan import spec, storage
from gan.arena import player, snapshot
from gan.errors import SubmissionError


@pytest.fixture
def team(tmp_path):
    corpus.team(tmp_path / "team", corpus.GOLD)
    return tmp_path / "team"


def take(folder, store):
    return snapshot.take(storage.path(str(folder)), storage.path(str(store)))


def test_a_snapshot_is_named_by_its_content(team, tmp_path):
    one = take(team, tmp_path / "store")
    assert take(team, tmp_path / "store") == one, "nothing is copied twice"
    shutil.copytree(team, tmp_path / "copy")
    assert take(tmp_path / "copy", tmp_path / "other").digest == one.digest
    (team / "source").mkdir()
    (team / "source" / "train.py").write_text("print('ours')")
    two = take(team, tmp_path / "store")
    assert two.digest != one.digest and "source/train.py" in two.sha256
    assert {entry.name for entry in (tmp_path / "store").iterdir()} == {one.digest[:16], two.digest[:16]}
    assert snapshot.read(two.path) == two
    (team / "notes.txt").write_text("not part of a submission")
    assert take(team, tmp_path / "store").digest == two.digest


def test_a_changed_snapshot_is_noticed(team, tmp_path):
    files = take(team, tmp_path / "store")
    assert snapshot.difference(files) is None
    (files.path / "checkpoint").write_text("other")
    assert "checkpoint has changed since it was taken" in snapshot.difference(files)
    (files.path / "checkpoint").unlink()
    assert "checkpoint is missing" in snapshot.difference(files)


def test_a_submission_that_changes_under_the_copy_is_refused(team, tmp_path, monkeypatch):
    generations = itertools.count()
    monkeypatch.setattr(storage, "size_and_generation", lambda file: (file.stat().length, next(generations)))
    with pytest.raises(SubmissionError, match="checkpoint changed while it was copied; stop the run that writes it"):
        take(team, tmp_path / "store")


def test_object_generations_are_recorded(team, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "size_and_generation", lambda file: (file.stat().length, 17))
    assert set(take(team, tmp_path / "store").generations.values()) == {17}


def test_a_remote_store_serves_a_worker(team):
    files = take(team, "ram://store_of_snapshots")
    noise = np.zeros((2, corpus.CONTEST.latent_size), np.float32)
    with player.Player(files, False, 60) as team_player:
        assert team_player.generate(noise).shape == (2, corpus.CONTEST.image_size)
        assert team_player.input_size(spec.DISCRIMINATOR) == corpus.CONTEST.image_size
