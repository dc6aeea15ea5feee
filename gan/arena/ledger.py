"""A contest's folder: what is settled, what was played, what the organiser decided.

    tournament.json       overview, from which the pages are drawn (`overview`)
    matches/NAME/         match.json and the sheets of images that it names
    teams/SLUG/           check.json, samples.png, memorisation.json and .png
    decisions.json        what the referee did
    entries.json          which snapshot each team plays, and who forfeits
    seeding.json          the order of the seeds in a knock-out
    snapshots/            the submissions, as they were taken     } `PRIVATE`: not to be published
    private/              settings, the master seed and its nonce } before the end

A match's folder is named by its id and its two teams, so its result is found again whatever happens to the bracket
around it, and no result is ever deleted.
"""

import datetime
import hashlib
import pathlib
import secrets

from gan import storage
from gan.errors import InputError

PRIVATE = ("private/", "snapshots/")
_SETTINGS = "private/settings.json"


def now():
    """Returns the time, UTC, in ISO 8601 with seconds."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


class Ledger:
    """The files of one contest.

    Args:
      output: its folder, an `epath.Path`.
    """

    def __init__(self, output):
        self.output = output

    # What is settled when a contest begins.

    def settled(self):
        """Whether the folder holds a contest with its private part."""
        return (self.output / _SETTINGS).exists()

    def settle(self, settings, notes):
        """Records the settings of a new contest, or compares them with those of the one that is going on.

        Args:
          settings: plain data that must not change.
          notes: plain data that may, for a later replay.

        Returns:
          {"settings", "notes", "nonce", "begun"}, as recorded when the contest began.

        Raises:
          InputError: the contest in this folder has other settings.
        """
        self.compare(settings)
        if not self.settled():
            if storage.is_local(self.output):  # the seed is nobody else's business before the end
                pathlib.Path(self.output / _SETTINGS).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            begun = {"settings": settings, "notes": notes, "nonce": secrets.token_hex(16), "begun": now()}
            storage.write_json(self.output / _SETTINGS, begun)
        return self.recorded()

    def compare(self, settings):
        """Makes sure that a contest with these settings may begin, or go on, in the folder.

        Raises:
          InputError: it holds something else.
        """
        if self.output.exists() and not self.output.is_dir():
            raise InputError(f"{self.output} is a file; name a folder")
        if not self.settled():
            others = [entry.name for entry in self.output.iterdir()] if self.output.exists() else []
            others = [name for name in others if not name.startswith(".")]
            if others:
                raise InputError(
                    f"{self.output} holds no contest ({_SETTINGS}), but {others[0]} and the like: name another folder"
                )
            return
        recorded = self.recorded()["settings"]
        for name, value in settings.items():
            before = recorded.get(name)
            if before != value:
                raise InputError(
                    f"{self.output} holds a contest with {name}={before!r}, now it is {value!r}: give the same, or "
                    "name another --output_dir"
                )

    def recorded(self):
        """Returns what `settle` recorded.

        Raises:
          InputError: the folder holds no contest.
        """
        if not self.settled():
            raise InputError(f"{self.output} holds no contest (no {_SETTINGS})")
        return storage.read_json(self.output / _SETTINGS)

    def make_room(self, kind):
        """Removes an earlier contest of this kind from the folder.

        Raises:
          InputError: the folder holds a contest of another kind.
        """
        if not self.settled():
            return
        found = self.recorded()["settings"]["kind"]
        if found != kind:
            raise InputError(f"{self.output} holds a contest of the kind {found}: name another --output_dir")
        contents = [entry for entry in self.output.iterdir() if not entry.name.startswith(".")]
        for entry in sorted(contents, key=lambda entry: entry.name == "private"):  # what names the contest goes last
            if entry.is_dir():
                entry.rmtree()
            else:
                entry.unlink(missing_ok=True)

    # Teams.

    def entries(self):
        """Returns {slug: entry} of the teams whose snapshots are settled."""
        return self._read("entries.json", {})

    def save_entries(self, entries):
        storage.write_json(self.output / "entries.json", entries)

    def store(self, slug):
        """Returns the folder of a team's snapshots."""
        return self.output / "snapshots" / slug

    def team_folder(self, slug):
        """Returns the folder of a team's check and pictures."""
        return self.output / "teams" / slug

    def seeding(self):
        """Returns the slugs in the order of the bracket's seeds, once that is settled, else None."""
        return self._read("seeding.json", None)

    def save_seeding(self, order):
        storage.write_json(self.output / "seeding.json", order)

    # Matches.

    @staticmethod
    def match_folder(match_id, slug_a, slug_b, attempt=1, forfeit=False):
        """Returns the name of a match's folder."""
        end = "--forfeit" if forfeit else "" if attempt == 1 else f"--{attempt}"
        return f"matches/{match_id}--{slug_a}--{slug_b}{end}"

    def result(self, folder):
        """Returns a match's result, or None where it was not played yet."""
        return self._read(f"{folder}/match.json", None)

    def begun_matches(self):
        """Returns the folders of the matches of which anything was written, by one listing."""
        matches = self.output / "matches"
        return {f"matches/{entry.name}" for entry in matches.iterdir()} if matches.exists() else set()

    def save_result(self, folder, result, sheets):
        """Writes a match; match.json comes last, so a kill leaves a whole match or none."""
        for name, png in sheets.items():
            storage.write_bytes(self.output / folder / name, png)
        storage.write_json(self.output / folder / "match.json", result)

    # The referee.

    def decisions(self):
        """Returns what the referee decided, oldest first."""
        return self._read("decisions.json", [])

    def add_decision(self, action, subject, reason):
        """Records a decision; two referees at once do not lose one another's."""
        entry = {"time": now(), "action": action, "subject": subject, "reason": reason}
        storage.update_json(self.output / "decisions.json", lambda before: [*before, entry], [])

    def disqualified(self, decisions=None):
        """Returns {team name: reason} of the teams that are disqualified now, or after the decisions that are given."""
        reasons = {}
        for decision in self.decisions() if decisions is None else decisions:
            if decision["action"] == "disqualify":
                reasons[decision["subject"]] = decision["reason"]
            elif decision["action"] == "reinstate":
                reasons.pop(decision["subject"], None)
        return reasons

    @staticmethod
    def attempt(match_id, decisions):
        """Returns the number of the attempt at a match that counts: 1, and one more for each rematch."""
        return 1 + sum(d["action"] == "rematch" and d["subject"] == match_id for d in decisions)

    def _read(self, name, default):
        file = self.output / name
        return storage.read_json(file) if file.exists() else default


def commitment(seed, nonce):
    """Returns the hash that is published before the contest: SHA-256 of the text "SEED/NONCE"."""
    return hashlib.sha256(f"{seed}/{nonce}".encode()).hexdigest()
