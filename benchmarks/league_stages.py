"""A league on a stopwatch: where its seconds go, and how many workers it started."""

import collections
import contextlib
import io
import threading
import time
import unittest.mock

from benchmarks import contests
from gan import spec, storage, tournament
from gan.arena import organiser, player, registration, sandbox, standings, table

TAKING_IN, LOADING = "snapshots and checks", "loading to play"
GENERATING, JUDGING = "G's passes", "D's passes"
SAVING, PAGES, RATING = "results", "pages", "ratings"
WHOLE, STARTS = "all", "workers started"


class _Watch:
    """Adds up seconds, those of threads at the same time too."""

    def __init__(self):
        self.seconds = collections.Counter()
        self.playing = False
        self._lock = threading.Lock()
        self._asked = set()

    def note(self, name, seconds):
        with self._lock:
            self.seconds[name] += seconds

    def timed(self, name, function):
        def call(*arguments, **settings):
            begin = time.perf_counter()
            try:
                return function(*arguments, **settings)
            finally:
                self.note(name, time.perf_counter() - begin)

        return call

    def asked(self, ask):
        """Tells the first question about a model, which loads it, from the others."""

        def call(team, role, batch=None):
            team.start()
            key = (id(team._worker), role)
            name = GENERATING if role is spec.GENERATOR else JUDGING
            name = name if key in self._asked else LOADING
            self._asked.add(key)
            return (self.timed(name, ask) if self.playing else ask)(team, role, batch)

        return call

    def entered(self, enter):
        def call(*arguments):
            found = self.timed(TAKING_IN, enter)(*arguments)
            self.playing = True
            return found

        return call


def play(options):
    """Plays a league.

    Args:
      options: `tournament.TournamentOptions`.

    Returns:
      {stage: seconds, or workers}. Seconds of passes and of loading are those of all threads together.
    """
    watch = _Watch()
    places = [
        (registration.Registrar, "enter", watch.entered),
        (player.Player, "_ask", watch.asked),
        (table.Table, "_save", lambda function: watch.timed(SAVING, function)),
        (organiser.Organiser, "publish", lambda function: watch.timed(PAGES, function)),
        (standings, "rate", lambda function: watch.timed(RATING, function)),
        (sandbox, "start", lambda function: _counted(watch, function)),
    ]
    with contextlib.ExitStack() as patches:
        patches.enter_context(contextlib.redirect_stdout(io.StringIO()))
        for owner, name, wrap in places:
            patches.enter_context(unittest.mock.patch.object(owner, name, wrap(getattr(owner, name))))
        watch.timed(WHOLE, tournament.tournament)(options)
    return dict(watch.seconds)


def _counted(watch, start):
    def call(*arguments):
        watch.note(STARTS, 1)
        return start(*arguments)

    return call


def league_of(folder, submissions):
    """Returns a function that plays a league between submissions, for `turns.in_processes`.

    Args:
      folder: local, a text; an earlier league in it goes.
      submissions: folders, texts.
    """
    place = storage.path(folder)

    def work():
        place.rmtree(missing_ok=True)
        contests.write_list(place / "teams.csv", submissions)
        return play(
            tournament.TournamentOptions(
                teams=str(place / "teams.csv"),
                format="league",
                output_dir=str(place / "league"),
                sandbox=contests.SANDBOX.partition("=")[2],
                house=False,
                seed=1,
            )
        )

    return work
