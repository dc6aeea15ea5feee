"""Plays the matches of a contest and keeps its ledger and its pages up to date; the formats build on it."""

import contextlib
import dataclasses
import functools
import pathlib
import signal
import threading
import time

from gan import storage
from gan.arena import (
    check,
    house,
    ledger,
    match,
    overview,
    page,
    pool,
    registration,
    rounds,
    rules,
    sandbox,
    snapshot,
    terminal,
)
from gan.errors import InputError, Interrupted

_SMALL_SEED = 1 << 40
_PUBLISH_SECONDS = 1.0  # a league plays many matches a second; nobody can look at all of these pages


@dataclasses.dataclass
class Images:
    """The images of a contest, `records.Records`: the pool that is shown, what teams train on, what they do not."""

    reals: object
    training: object = None
    validation: object = None


@dataclasses.dataclass
class Standing:
    """How a contest stands.

    Attributes:
      status: "running", "frozen", "paused" (mock battles between sessions) or "finished".
      played: {folder: summary} of the matches that count, in the order of play.
      bracket: see `knockout.drawn_bracket`.
      ranks, places: {slug: number}, of the seeding and of the result.
      ratings: see `standings.rate`.
    """

    status: str = "running"
    played: dict = dataclasses.field(default_factory=dict)
    bracket: list = dataclasses.field(default_factory=list)
    ranks: dict = dataclasses.field(default_factory=dict)
    places: dict = dataclasses.field(default_factory=dict)
    ratings: dict | None = None


class Organiser:
    """One contest that is going on. Use it in a `with` block, which ends all workers.

    In the block, SIGINT and SIGTERM raise `Interrupted`.

    Args:
      output: the contest's folder, an `epath.Path`.
      kind: "knockout", "mock", "league" or "battle".
      options: an `options.PlayOptions`.
      earlier: folders of earlier contests, whose snapshots may step in.
      say: called with each line for the terminal.

    Attributes:
      entries: {slug: entry} of the teams, see `registration.Registrar.enter`.
      standing: the `Standing`.
    """

    def __init__(self, output, kind, options, earlier=(), say=print):
        self.kind = kind
        self.options = options
        self.say = say
        self.ledger = ledger.Ledger(output)
        timed = kind != "league"  # where nobody has to win, nothing needs to be timed
        self.terms = rounds.Terms(
            options.contest, options.num_generate, options.num_reals, options.disguise, timed, options.time_limit
        )
        self.entries = {}
        self.standing = Standing()
        self.sandboxed = sandbox.resolve(options.sandbox)
        if self.sandboxed:
            _refuse_exposed([output, *_files(options.input_data_pattern)])
        self.images = Images(options.load_reals(), options.load_training(), options.load_validation())
        self._earlier = [ledger.Ledger(folder) for folder in earlier]
        self._house = {}
        self._unpublished = []
        self._published = 0.0
        self._resources = contextlib.ExitStack()

    def __enter__(self):
        options = self.options
        self._resources.enter_context(_signals_interrupt())
        self._resources.enter_context(storage.lock(self.ledger.output))
        self._pool = self._resources.enter_context(pool.Pool(self.sandboxed, options.time_limit, options.workers))
        examples = check.Examples(
            options.contest, self.images.reals, self.images.training, self.images.validation, options.seed
        )
        self._registrar = registration.Registrar(self.ledger, self._pool, examples, self._earlier, self.say)
        return self

    def __exit__(self, *_):
        self._resources.close()

    def require_reals(self, number_of_rounds):
        """Makes sure that there are real images for a match of so many rounds.

        Raises:
          InputError: there are too few.
        """
        needed, found = match.reals_needed(number_of_rounds, self.terms), len(self.images.reals)
        if found < needed:
            raise InputError(f"{needed} real images are needed, the data holds {found}")

    def settle(self, teams):
        """Begins the contest, or goes on with the one in the folder.

        Args:
          teams: the `teams.Team`s whose names and seeds must not change, or none.

        Raises:
          InputError: the contest in the folder has other settings.
        """
        names = ("input_data_pattern", "train_data_pattern", "max_bad_records")
        notes = {name: getattr(self.options, name) for name in names}
        self._recorded = self.ledger.settle(self._settings(teams), notes)

    def compare(self, teams, output):
        """Makes sure that `settle` would accept a folder, without writing anything.

        Raises:
          InputError: it would not.
        """
        ledger.Ledger(output).compare(self._settings(teams))

    def _settings(self, teams):
        terms = dataclasses.asdict(self.terms)
        return {
            "kind": self.kind,
            "seed": self.options.seed,
            "tie_break": None if self.kind == "league" else self.options.tie_break,
            "teams": [[team.name, team.seed] for team in teams],
            "data": self.images.reals.fingerprint,
            "training_data": self.images.training and self.images.training.fingerprint,
            **terms.pop("contest"),
            **terms,
        }

    def enter(self, teams):
        """Takes in the teams; if they are settled already, their snapshots are verified.

        Raises:
          InputError: a settled snapshot is missing or has changed.
        """
        self.entries = self.ledger.entries()
        if self.entries:
            self._registrar.verify(self.entries)
            return
        self.say(f"checking {len(teams)} submissions:")
        self.entries = self._registrar.enter(teams)
        self.ledger.save_entries(self.entries)

    def enter_anew(self, teams):
        """Returns the entries of the teams' submissions as they are now, beside those of teams that are gone."""
        entries = self._registrar.enter(teams)
        self.entries = {**self.entries, **entries}
        return entries

    def enter_house(self):
        """Adds the house opponents that can play with these images."""
        contest = self.terms.contest
        self._house = {house.slug(n): g for n, g in house.generators(contest, self.images.training).items()}
        for name in house.GENERATORS:
            slug = house.slug(name)
            if slug in self._house:
                self.entries[slug] = {"name": house.title(name), "slug": slug, "house": True}
            else:
                self.say(f"house opponent {name} stays away: it needs --train_data_pattern")
        folder = house.sample_model(contest.image_shape) if contest.latent_size == house.LATENT_SIZE else None
        if folder is None:
            self.say(f"house opponent Sample stays away: it is not made for images of {contest}")
            return
        slug = house.slug("Sample")
        digest = snapshot.take(folder, self.ledger.store(slug)).digest
        self.entries[slug] = {"name": house.title("Sample"), "slug": slug, "house": True, "snapshot": digest}

    def has_discriminator(self, slug):
        """Whether a team, or a house opponent, has a D."""
        return slug not in self._house

    def forfeit_of(self, slug):
        """Returns why a team may not play, or None."""
        entry = self.entries[slug]
        reason = self.ledger.disqualified().get(entry["name"])
        return f"disqualified: {reason}" if reason else entry.get("forfeit")

    def play(self, match_id, stage, a, b, number_of_rounds, tie_break, better_seed="a"):
        """Returns the summary of a match between the teams with the slugs `a` and `b`: found, or played now."""
        forfeits = [self.forfeit_of(slug) for slug in (a, b)]
        attempt = self.ledger.attempt(match_id)
        folder = self.ledger.match_folder(match_id, a, b, attempt, any(forfeits))
        result = None if any(forfeits) else self.ledger.result(folder)
        if result is None:
            self.publish()  # what a slow moment held back is shown while this match is played
            seed = rules.match_seed(self.options.seed, match_id, attempt)
            fixture = match.Fixture(self.kind, match_id, stage, seed, number_of_rounds, tie_break, better_seed, attempt)
            with self._contestant(a, forfeits[0]) as side_a, self._contestant(b, forfeits[1]) as side_b:
                contestants = {"a": side_a, "b": side_b}
                result, sheets = match.play(fixture, contestants, self.images.reals, self.terms)
            result["sandboxed"] = self.sandboxed
            self.ledger.save_result(folder, result, sheets)
            self.say(terminal.match_line(result))
            self._unpublished.append(folder)
        self.standing.played[folder] = overview.summary(folder, result)
        return self.standing.played[folder]

    def play_until_settled(self, play_all):
        """Goes through all matches, again if the referee decides something meanwhile; only what is new is played.

        Args:
          play_all: called with a function that says whether the referee has decided something since.
        """
        while True:
            decisions = self.ledger.decisions()
            self.standing.played = {}

            def decided(before=decisions):
                return self.ledger.decisions() != before

            play_all(decided)
            if not decided():
                return
            self.say("the referee has decided; going through the matches again")

    @contextlib.contextmanager
    def _contestant(self, slug, forfeit):
        entry = self.entries[slug]
        if slug in self._house:
            yield match.Contestant(entry["name"], slug, self._house[slug])
        elif forfeit:
            yield match.Contestant(entry["name"], slug, None, entry["snapshot"] or "", forfeit)
        else:
            files = self._registrar.files(entry)
            with self._pool.playing(slug, files) as player:
                yield match.Contestant(entry["name"], slug, player, files.digest)

    def finish(self):
        """Publishes the end, with the seed and its nonce."""
        self.standing.status = "finished"
        self.publish(now=True)

    def publish(self, now=False):
        """Writes the overview and the pages of what was played since, unless that was done a moment ago.

        With `now`, all pages are written in any case: at the beginning and at the end.
        """
        if not now and time.monotonic() - self._published < _PUBLISH_SECONDS:
            return
        storage.write_json(self.ledger.output / "tournament.json", overview.build(self))
        if now:
            page.draw(self.ledger.output)
        else:
            page.draw_matches(self.ledger.output, self._unpublished)
        self._unpublished = []
        self._published = time.monotonic()

    def warnings(self):
        """Returns what the organiser, and who reads the page, should know."""
        found = [f"{entry['name']} {entry['note']}" for entry in self.entries.values() if entry.get("note")]
        if self.kind != "battle" and self.sandboxed and self.options.seed < _SMALL_SEED:
            found.append(
                "the master seed is small enough to be guessed; for a contest that counts, draw one: "
                'python -c "import secrets; print(secrets.randbits(63))"'
            )
        return found

    def secrets(self):
        """Returns (master seed, nonce) of the commitment."""
        return self.options.seed, self._recorded["nonce"]

    @functools.cached_property
    def data_files(self):
        """[{"file", "sha256"}] of the pool's files, without their folders; none for the embedded digits."""
        files = _files(self.options.input_data_pattern)
        return [{"file": pathlib.PurePosixPath(str(file)).name, "sha256": storage.sha256(file)} for file in files]


def _files(pattern):
    return storage.expand(pattern) if pattern else []


def _refuse_exposed(paths):
    """Keeps ground truth, seeds and other teams' models out of the folders that workers may read."""
    for path in paths:
        if storage.is_local(path) and (folder := sandbox.exposes(path)):
            raise InputError(f"{path} lies in {folder}, which every team's worker may read: keep it somewhere else")


@contextlib.contextmanager
def _signals_interrupt():
    """A shell starts a job in the background with SIGINT ignored, and SIGTERM would leave no time to end workers."""

    def stop(number, _):
        raise Interrupted("stopped; the same command goes on where it was", number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
