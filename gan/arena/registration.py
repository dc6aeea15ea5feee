"""Takes in the teams: a snapshot of each submission, its check, and what plays if the newest one fails."""

from gan import storage
from gan.arena import check_report, snapshot
from gan.errors import SubmissionError


class Registrar:
    """Snapshots and checks submissions.

    Args:
      ledger: the `ledger.Ledger`.
      pool: the `pool.Pool`.
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
        self._checked = {}  # {slug: {digest: `check.Report`}}, of the last session, so that nothing is checked twice

    def enter(self, teams):
        """Takes a snapshot of each team's submission and checks it.

        Args:
          teams: `teams.Team`s.

        Returns:
          {slug: entry}, plain data: "name", "slug", "seed", "snapshot" (hash, or None), "taken", "forfeit" (reason, or
          None), "note" (what a reader should know, or None).
        """
        if self._examples.training_set is not None:
            _ = self._examples.other_neighbours  # made here, once, and not by the threads
        entries = list(self._pool.threads.map(self._enter, teams))
        return {entry["slug"]: entry for entry in entries}

    def verify(self, entries):
        """Makes sure that the settled snapshots are as they were taken.

        Raises:
          InputError: one is missing or has changed.
        """
        for entry in entries.values():
            if entry.get("snapshot"):
                snapshot.verified(self._ledger.store(entry["slug"]), entry["snapshot"])

    def _enter(self, team):
        entry = {"name": team.name, "slug": team.slug, "seed": team.seed, "forfeit": None, "note": None}
        newest, report = self._newest(team)
        playing, playing_report = (newest, report) if report.may_battle else self._step_in(team, newest)
        shown = (playing, playing_report) if playing else (newest, report)
        check_report.write(self._ledger.team_folder(team.slug), team, *shown, self._examples)
        if playing is None:
            self._say(f"FAIL  {team.name}: {report.first_failure()}")
            return {**entry, "snapshot": None, "taken": "", "forfeit": report.first_failure()}
        if playing is not newest:
            entry["note"] = f"plays its snapshot of {playing.taken}: the newest one fails ({report.first_failure()})"
        warned = entry["note"] or ", ".join(report.warned())
        self._say(f"{'WARN' if warned else 'PASS'}  {team.name}{f': {warned}' if warned else ''}")
        return {**entry, "snapshot": playing.digest, "taken": playing.taken}

    def _newest(self, team):
        """Returns (snapshot or None, report) of the submission as it is now."""
        try:
            files = snapshot.take(storage.path(team.submission), self._ledger.store(team.slug))
        except SubmissionError as error:  # our own paths are not shown
            return None, check_report.of_failure(
                str(error).replace(str(storage.path(team.submission)), "the submission")
            )
        return files, self._check(team, files)

    def _step_in(self, team, newest):
        """Returns (snapshot, report) of the newest earlier snapshot that passes, or (None, None)."""
        stores = [ledger.store(team.slug) for ledger in (self._ledger, *self._earlier)]
        found = {files.digest: files for store in stores for files in snapshot.all_in(store)}
        found.pop(newest.digest if newest else None, None)
        for files in sorted(found.values(), key=lambda files: files.taken, reverse=True):
            report = self._check(team, files)
            if report.may_battle:
                return snapshot.take(files.path, self._ledger.store(team.slug), files.taken), report
        return None, None

    def _check(self, team, files):
        known = self._checked.setdefault(team.slug, {})
        if files.digest not in known or not known[files.digest].may_battle:  # what failed may have been slow for once
            with self._pool.playing(team.slug, files) as player:
                report = check_report.of_snapshot(files, player, self._examples)
            self._checked[team.slug] = {files.digest: report}
            return report
        return known[files.digest]
