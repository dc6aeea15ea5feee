"""A table at which matches are played, on the organiser's machine or on another one that sees the contest's folder."""

import contextlib
import dataclasses

from gan import storage
from gan.arena import match, sandbox, sittings, snapshot
from gan.errors import InputError


@dataclasses.dataclass(frozen=True)
class Pairing:
    """A match that is to be played.

    Attributes:
      folder: the match's folder in the ledger.
      fixture: the `match.Fixture`.
      entries: {"a": entry, "b": entry} of the teams, see `registration.Registrar.enter`.
      forfeits: {"a": reason or None, "b": ...}: why a team may not play.
    """

    folder: str
    fixture: match.Fixture
    entries: dict
    forfeits: dict


class Table:
    """What matches need: images, workers, house opponents.

    Args:
      ledger: the `ledger.Ledger`; the teams' snapshots lie in it, and results go there.
      terms: the `rounds.Terms`.
      reals: the pool of real images, `records.Records`.
      workers: the `pool.Pool`.
      sandboxed: whether its workers are.

    Attributes:
      house: {slug: generator} of the house opponents that need no worker.
    """

    def __init__(self, ledger, terms, reals, workers, sandboxed):
        self.house = {}
        self._ledger = ledger
        self._terms = terms
        self._reals = reals
        self._workers = workers
        self._sandboxed = sandboxed

    def play(self, pairing):
        """Plays a match, writes its result and returns it."""
        with contextlib.ExitStack() as resources:
            contestants = {
                side: resources.enter_context(self._contestant(entry, pairing.forfeits[side]))
                for side, entry in pairing.entries.items()
            }
            result, sheets = match.play(pairing.fixture, contestants, self._reals, self._terms)
        return self._save(pairing, result, sheets)

    def play_together(self, pairings):
        """Plays matches of a league in which nobody forfeits, each team loaded but once or twice for all of them.

        Args:
          pairings: `Pairing`s.

        Yields:
          The pairings, each when its result is written.
        """
        played = sittings.play(
            pairings,
            self._reals,
            self._terms,
            lambda entry: entry["slug"] not in self.house,
            self._player,
            self._workers.threads,
        )
        for pairing, result, sheets in played:
            self._save(pairing, result, sheets)
            yield pairing

    def _save(self, pairing, result, sheets):
        result["sandboxed"] = self._sandboxed
        self._ledger.save_result(pairing.folder, result, sheets)
        return result

    @contextlib.contextmanager
    def _contestant(self, entry, forfeit):
        name, slug, digest = entry["name"], entry["slug"], entry.get("snapshot") or ""
        if forfeit:
            yield match.Contestant(name, slug, None, digest, forfeit)
        else:
            with self._player(entry) as player:
                yield match.Contestant(name, slug, player, digest)

    @contextlib.contextmanager
    def _player(self, entry):
        slug = entry["slug"]
        if slug in self.house:
            yield self.house[slug]
        else:
            files = snapshot.read(snapshot.folder_of(self._ledger.store(slug), entry["snapshot"]))
            with self._workers.playing(slug, files) as player:
                yield player


def resolve_sandbox(options, output):
    """Returns whether workers run inside bubblewrap on this machine.

    Args:
      options: an `options.PlayOptions`.
      output: the contest's folder.

    Raises:
      InputError: bubblewrap is required and does not work, or it would show the teams what they must not see.
    """
    sandboxed = sandbox.resolve(options.sandbox)
    if sandboxed:
        _refuse_exposed([output, *data_files(options)])
    return sandboxed


def data_files(options):
    """Returns the files of the pool of real images; none for the embedded digits."""
    return storage.expand(options.input_data_pattern) if options.input_data_pattern else []


def _refuse_exposed(paths):
    """Keeps ground truth, seeds and other teams' models out of the folders that workers may read."""
    for path in paths:
        if storage.is_local(path) and (folder := sandbox.exposes(path)):
            raise InputError(f"{path} lies in {folder}, which every team's worker may read: keep it somewhere else")
