"""Plays the matches of a contest and keeps its ledger and its pages up to date; the formats build on it."""

import contextlib
import dataclasses
import functools
import pathlib
import time

from etils import epy

from gan import stop_signals, storage
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
    snapshot,
    table,
    terminal,
)
from gan.arena import options as arena_options
from gan.errors import InputError, Interrupted

with epy.lazy_imports():
    import apache_beam as beam

    from gan.arena import beam_league

_SMALL_SEED = 1 << 40
_PUBLISH_SECONDS = 1.0  # a league plays many matches a second; nobody can look at all of these pages
_REST = 4  # times as long as publishing took, nothing is published: in a large league the overview is long


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
      runner: a `beam_runner.BeamRunner` that plays a league on other machines, or None.

    Attributes:
      entries: {slug: entry} of the teams, see `registration.Registrar.enter`.
      standing: the `Standing`.
    """

    def __init__(self, output, kind, options, earlier=(), say=print, runner=None):
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
        self.sandboxed = table.resolve_sandbox(options, output)
        self.images = Images(options.load_reals(), options.load_training(), options.load_validation())
        self._earlier = [ledger.Ledger(folder) for folder in earlier]
        self._runner = runner
        self._ahead = set()  # folders of matches that were played before `play` asks for them
        self._unpublished = []
        self._drawn = {}  # {folder of a match: whether its page was drawn as one of a contest in the sandbox}
        self._next_publication = 0.0

    def __enter__(self):
        options = self.options
        with contextlib.ExitStack() as resources:
            resources.enter_context(stop_signals.handled_by(_interrupt))
            resources.enter_context(storage.lock(self.ledger.output))
            workers = resources.enter_context(pool.Pool(self.sandboxed, options.time_limit, options.workers))
            self._resources = resources.pop_all()
        self._table = table.Table(self.ledger, self.terms, self.images.reals, workers, self.sandboxed)
        examples = check.Examples(
            options.contest, self.images.reals, self.images.training, self.images.validation, options.seed
        )
        self._registrar = registration.Registrar(self.ledger, workers, examples, self._earlier, self.say)
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
        self._table.house = {house.slug(n): g for n, g in house.generators(contest, self.images.training).items()}
        for name in house.GENERATORS:
            slug = house.slug(name)
            if slug in self._table.house:
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
        return slug not in self._table.house

    def forfeit_of(self, slug, decisions=None):
        """Returns why a team may not play, now or after the referee's decisions that are given, or None."""
        entry = self.entries[slug]
        reason = self.ledger.disqualified(decisions).get(entry["name"])
        return f"disqualified: {reason}" if reason else entry.get("forfeit")

    def play(self, match_id, stage, a, b, number_of_rounds, tie_break, better_seed="a", noise_seed=None):
        """Returns the summary of a match between the teams with the slugs `a` and `b`: found, or played now.

        The first attempt has the latents of `noise_seed`, where one is given.
        """
        decisions = self.ledger.decisions()
        pairing = self._pair(decisions, match_id, stage, a, b, number_of_rounds, tie_break, better_seed, noise_seed)
        # Forfeits are decided anew, for their reason may change.
        result = None if any(pairing.forfeits.values()) else self.ledger.result(pairing.folder)
        is_new = result is None or pairing.folder in self._ahead
        if result is None:
            self.publish()  # what a slow moment held back is shown while this match is played
            result = self._table.play(pairing)
        if is_new:
            self._ahead.discard(pairing.folder)
            self.say(terminal.match_line(result))
            self._unpublished.append(pairing.folder)
        self.standing.played[pairing.folder] = overview.summary(pairing.folder, result)
        return self.standing.played[pairing.folder]

    def play_ahead(self, fixtures):
        """Plays what is missing of some matches together, on the runner's machines or here; `play` finds the results.

        Args:
          fixtures: what `play` takes of each match.

        Yields:
          The same, in the same order, each as soon as `play` can be called with it.

        Raises:
          RunError: the runner failed; what was played until then is kept.
        """
        decisions, begun = self.ledger.decisions(), self.ledger.begun_matches()
        pairings = [self._pair(decisions, *arguments) for arguments in fixtures]
        missing = [p for p in pairings if p.folder not in begun and not any(p.forfeits.values())]
        waiting = {pairing.folder for pairing in missing}
        self._ahead |= waiting
        if self._runner is not None:
            self._play_elsewhere(missing)
            yield from fixtures
            return
        with contextlib.closing(self._table.play_together(missing)) as played:
            for arguments, pairing in zip(fixtures, pairings, strict=True):
                while pairing.folder in waiting:
                    waiting.remove(next(played).folder)
                yield arguments

    def _play_elsewhere(self, missing):
        if not missing:
            return
        blocks = beam_league.blocks(missing, self.options.workers or pool.capacity())
        self.say(f"Apache Beam plays {len(missing)} matches in {len(blocks)} block(s)")
        names = [field.name for field in dataclasses.fields(arena_options.PlayOptions)]
        needed = arena_options.PlayOptions(**{name: getattr(self.options, name) for name in names} | {"seed": 0})
        player = beam_league.PlayBlock(
            str(self.ledger.output), needed, self.terms, self.images.reals.fingerprint, bool(self._table.house)
        )
        self._runner.run(beam.ParDo(player), blocks)

    def _pair(self, decisions, match_id, stage, a, b, number_of_rounds, tie_break, better_seed="a", noise_seed=None):
        attempt = self.ledger.attempt(match_id, decisions)
        forfeits = {side: self.forfeit_of(slug, decisions) for side, slug in (("a", a), ("b", b))}
        seed = rules.match_seed(self.options.seed, match_id, attempt)
        shared = noise_seed if attempt == 1 else None  # all of a rematch is drawn anew
        return table.Pairing(
            self.ledger.match_folder(match_id, a, b, attempt, any(forfeits.values())),
            match.Fixture(self.kind, match_id, stage, seed, number_of_rounds, tie_break, better_seed, attempt, shared),
            {"a": self.entries[a], "b": self.entries[b]},
            forfeits,
        )

    def play_until_settled(self, play_all):
        """Goes through all matches, again if the referee decides something meanwhile; only what is new is played.

        Args:
          play_all: called with a function that says whether the referee has decided something since.
        """
        while True:
            decisions = self.ledger.decisions()
            self.standing.played = {}
            self._drawn = {}  # the matches before and after one may be others now

            def decided(before=decisions):
                return self.ledger.decisions() != before

            play_all(decided)
            if not decided():
                return
            self.say("the referee has decided; going through the matches again")

    def finish(self):
        """Publishes the end, with the seed and its nonce."""
        self.standing.status = "finished"
        self.publish(now=True)

    def publish(self, now=False):
        """Writes the overview and the pages of what was played since, unless that was done a moment ago.

        With `now`, all pages are written that are not as they should be: at the beginning and at the end.
        """
        begin = time.monotonic()
        if not now and begin < self._next_publication:
            return
        content = overview.build(self)
        storage.write_json(self.ledger.output / "tournament.json", content)
        if now:
            page.draw(self.ledger.output, {f for f, sandbox in self._drawn.items() if sandbox == content["sandbox"]})
        else:
            page.draw_matches(self.ledger.output, self._unpublished)
        self._drawn |= dict.fromkeys(self._unpublished, content["sandbox"])
        self._unpublished = []
        end = time.monotonic()
        self._next_publication = end + max(_PUBLISH_SECONDS, _REST * (end - begin))

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
        files = table.data_files(self.options)
        return [{"file": pathlib.PurePosixPath(str(file)).name, "sha256": storage.sha256(file)} for file in files]


def _interrupt(number, _):
    """SIGTERM would leave no time to end workers."""
    raise Interrupted(stop_signals.STOPPED, number)
