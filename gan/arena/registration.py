"""Takes in the teams: a snapshot of each submission, its check, and what plays if the newest one fails."""

import collections
import concurrent.futures
import dataclasses
import os
import threading

import numpy as np

from gan import pictures, storage
from gan.arena import check, snapshot
from gan.arena.player import Player
from gan.errors import SubmissionError

_COLUMNS = 8


class Pool:
    """Keeps the workers of the teams that played last; the others end and would start again.

    Args:
      sandboxed, time_limit: as for `Player`.
      size: workers kept.

    Attributes:
      threads: an executor, one thread a core. It lives as long as the workers do, because bubblewrap ends a worker
        together with the thread that started it.
    """

    def __init__(self, sandboxed, time_limit, size):
        self._make = lambda files: Player(files, sandboxed, time_limit)
        self._size = size
        self._players = collections.OrderedDict()
        self._lock = threading.Lock()
        self.threads = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def player(self, slug, files):
        """Returns the `Player` of a team's snapshot."""
        key = (slug, files.digest)
        with self._lock:
            player = self._players.pop(key, None) or self._make(files)
            self._players[key] = player
            idle = [self._players.popitem(last=False)[1] for _ in range(len(self._players) - self._size)]
        for other in idle:
            other.close()
        return player

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.threads.shutdown(cancel_futures=True)
        for player in self._players.values():
            player.close()
        self._players.clear()


class Registrar:
    """Snapshots and checks submissions.

    Args:
      ledger: the `ledger.Ledger`.
      pool: the `Pool`.
      examples: the `check.Examples`.
      earlier: ledgers of earlier contests, whose snapshots step in for a submission that fails.
      say: called with one line for each team.
    """

    def __init__(self, ledger, pool, examples, earlier=(), say=print):
        self._ledger = ledger
        self._pool = pool
        self._examples = examples
        self._earlier = earlier
        self._say = say
        self._findings = {}  # {(slug, digest): `check.Report` without pictures}, so that nothing is checked twice

    def enter(self, teams):
        """Takes a snapshot of each team's submission and checks it.

        Returns:
          {slug: entry}, plain data: "name", "slug", "seed", "snapshot" (hash, or None), "taken", "forfeit" (reason, or
          None), "note" (what a reader should know, or None).
        """
        # Made here, once, and not by the threads.
        if self._examples.training_set is not None:
            _ = self._examples.other_neighbours
        entries = list(self._pool.threads.map(self._enter, teams))
        return {entry["slug"]: entry for entry in entries}

    def files(self, entry):
        """Returns the `snapshot.Snapshot` that an entry plays."""
        return snapshot.read(self._ledger.store(entry["slug"]) / entry["snapshot"][:16])

    def _enter(self, team):
        entry = {"name": team.name, "slug": team.slug, "seed": team.seed, "forfeit": None, "note": None}
        try:
            newest = snapshot.take(storage.path(team.submission), self._ledger.store(team.slug))
            report = self._check(team, newest)
        except SubmissionError as error:
            words = str(error).replace(str(storage.path(team.submission)), "the submission")  # our paths are not shown
            newest, report = None, check.Report([check.Finding("files", check.FAIL, words)])
            self._save(team, None, report)
        playing = newest if report.may_battle else self._step_in(team, newest)
        if playing is None:
            self._say(f"FAIL  {team.name}: {report.first_failure()}")
            return {**entry, "snapshot": None, "taken": "", "forfeit": report.first_failure()}
        if playing is not newest:
            entry["note"] = f"plays its snapshot of {playing.taken}: the newest one fails ({report.first_failure()})"
        warned = entry["note"] or ", ".join(report.warned())
        self._say(f"{'WARN' if warned else 'PASS'}  {team.name}{f': {warned}' if warned else ''}")
        return {**entry, "snapshot": playing.digest, "taken": playing.taken}

    def _step_in(self, team, newest):
        """Returns the newest earlier snapshot that passes the check, or None."""
        stores = [ledger.store(team.slug) for ledger in (self._ledger, *self._earlier)]
        folders = [folder for store in stores if store.exists() for folder in store.iterdir() if folder.is_dir()]
        found = {files.digest: files for files in map(snapshot.read, folders)}
        found.pop(newest.digest if newest else None, None)
        for files in sorted(found.values(), key=lambda files: files.taken, reverse=True):
            if self._check(team, files, save=False).may_battle:
                return snapshot.take(files.path, self._ledger.store(team.slug), files.taken)
        return None

    def _check(self, team, files, save=True):
        key = (team.slug, files.digest)
        if key not in self._findings:
            report = report_on(files, self._pool.player(team.slug, files), self._examples)
            self._findings[key] = check.Report(report.findings)
            if save:
                self._save(team, files, report)
        return self._findings[key]

    def _save(self, team, files, report):
        self._ledger.save_check(
            team.slug,
            as_data(team, files, report),
            memorisation_as_data(report.memorisation),
            drawn(report, self._examples),
        )


def report_on(files, player, examples):
    """Checks one snapshot: returns a `check.Report`."""
    sizes = sum((files.path / name).stat().length for name in files.sha256)
    report = check.files_report(files, sizes)
    check.run(player, examples, report)
    return report


def as_data(team, files, report):
    """Returns a report as plain data, as the page and `--json` show it."""
    return {
        "format": 1,
        "name": team.name,
        "slug": team.slug,
        "snapshot": files.digest if files else "",
        "may_battle": report.may_battle,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "files": files.sha256 if files else {},
        "generations": files.generations if files else {},
        "source": [name for name in files.sha256 if name.startswith("source/")] if files else [],
    }


def memorisation_as_data(found):
    """Returns a `metrics.Memorisation` as plain data, or None where there is none."""
    if found is None:
        return None
    return {
        "format": 1,
        "sentence": check.memorisation_sentence(found),
        "sheet": "memorisation.png",
        "threshold": found.thresholds[0],
        "isolation_threshold": found.thresholds[1],
        "flagged": found.flagged,
        "close": int(found.close.sum()),
        "of": len(found.close),
        "p_value": found.p_value,
        "nearest": [
            {"index": int(index), "distance": float(distance), "isolation": float(isolation), "close": bool(close)}
            for index, distance, isolation, close in zip(
                found.neighbours.index, found.neighbours.distance, found.neighbours.isolation, found.close, strict=True
            )
        ],
    }


def drawn(report, examples):
    """Returns {file name: PNG} of what a report shows: generated images, and the nearest training image of each."""
    if report.samples is None:
        return {}
    shape = examples.contest.image_shape
    files = {"samples.png": pictures.encode(pictures.grid(report.samples, shape, _COLUMNS), "PNG")}
    if report.memorisation:
        found = report.memorisation
        nearest = examples.training_images(found.neighbours.index)
        worst = np.argsort(found.neighbours.isolation)[: 2 * _COLUMNS]
        files["memorisation.png"] = pictures.encode(
            pictures.neighbours_sheet(
                report.samples[worst].reshape(-1, *shape),
                nearest[worst].reshape(-1, *shape),
                found.neighbours.distance[worst],
                found.close[worst],
            ),
            "PNG",
        )
    return files
