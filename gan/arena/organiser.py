"""Plays the matches of a contest and keeps its ledger and its pages up to date; the formats build on it."""

import contextlib
import dataclasses
import functools
import pathlib
import time

from gan import storage
from gan.arena import (
    check,
    house,
    ledger,
    match,
    overview,
    page,
    registration,
    rounds,
    rules,
    sandbox,
    snapshot,
    terminal,
)
from gan.errors import InputError

_PUBLISH_SECONDS = 1.0  # a league plays many matches a second; nobody can look at all of these pages


@dataclasses.dataclass
class Images:
    """The images of a contest, `records.Records`: the pool that is shown, what teams train on, what they do not."""

    reals: object
    training: object = None
    validation: object = None


class Organiser:
    """One contest that is going on. Use it in a `with` block, which ends all workers.

    Args:
      output: the contest's folder, an `epath.Path`.
      kind: "knockout", "mock", "league" or "battle".
      options: an `options.PlayOptions`.
      timed: measure running times.
      earlier: folders of earlier contests, whose snapshots may step in.
      say: called with each line for the terminal.

    Attributes:
      entries: {slug: entry} of the teams, see `registration.Registrar.enter`.
      played: {folder: summary} of the matches that count, in the order of play.
      extras: what the format adds to the overview: "bracket", "places" {slug: place}, "ranks" {slug: seed}, "ratings",
        "warnings".
      status: "running", "frozen" or "finished".
    """

    def __init__(self, output, kind, options, timed=True, earlier=(), say=print):
        self.kind = kind
        self.options = options
        self.say = say
        self.ledger = ledger.Ledger(output)
        self.terms = rounds.Terms(options.contest, options.num_generate, options.num_reals, options.disguise, timed)
        self.entries = {}
        self.played = {}
        self.extras = {}
        self.status = "running"
        self.sandboxed = sandbox.resolve(options.sandbox)
        self.images = Images(options.load_reals(), options.load_training(), options.load_validation())
        self._earlier = [ledger.Ledger(folder) for folder in earlier]
        self._house = {}
        self._unpublished = []
        self._published = 0.0
        self._resources = contextlib.ExitStack()

    def __enter__(self):
        self._resources.enter_context(self.ledger.lock())
        options = self.options
        self._pool = self._resources.enter_context(
            registration.Pool(self.sandboxed, options.time_limit, options.workers)
        )
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
        options = self.options
        self._recorded = self.ledger.settle(
            {
                "kind": self.kind,
                "seed": options.seed,
                "tie_break": options.tie_break,
                "teams": [[team.name, team.seed] for team in teams],
                "terms": dataclasses.asdict(self.terms),
                "data": self.images.reals.fingerprint,
                "training_data": self.images.training and self.images.training.fingerprint,
            },
            notes={
                name: getattr(options, name) for name in ("input_data_pattern", "train_data_pattern", "max_bad_records")
            },
        )

    def enter(self, teams):
        """Takes in the teams, unless they are settled already: snapshots, checks."""
        self.entries = self.ledger.entries()
        if not self.entries:
            self.say(f"checking {len(teams)} submissions:")
            self.entries = self._registrar.enter(teams)
            self.ledger.save_entries(self.entries)

    def enter_anew(self, teams):
        """Takes the teams' submissions as they are now."""
        self.entries = self._registrar.enter(teams)
        self.ledger.save_entries(self.entries)

    def enter_house(self):
        """Adds the house opponents that can play with these images."""
        contest = self.terms.contest
        players = house.generators(contest, self.images.training)
        if self.images.training is None:
            self.say("house opponents Mean and Replay stay away: they need --train_data_pattern")
        folder = house.sample_model(contest.image_shape) if contest.latent_size == house.LATENT_SIZE else None
        if folder is None:
            self.say(f"house opponent Sample stays away: it is not made for images of {contest}")
        else:
            files = snapshot.take(folder, self.ledger.store(house.slug("Sample")))
            players["Sample"] = self._pool.player(house.slug("Sample"), files)
        for name, player in players.items():
            slug = house.slug(name)
            self._house[slug] = player
            self.entries[slug] = {"name": house.title(name), "slug": slug, "house": True}

    def has_discriminator(self, slug):
        """Whether a team, or a house opponent, has a D."""
        return slug not in self._house or self._house[slug].has_discriminator

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
            seed = rules.match_seed(self.options.seed, match_id, attempt)
            fixture = match.Fixture(self.kind, match_id, stage, seed, number_of_rounds, tie_break, better_seed, attempt)
            contestants = {
                side: self._contestant(*pair)
                for side, pair in zip("ab", zip((a, b), forfeits, strict=True), strict=True)
            }
            result, sheets = match.play(fixture, contestants, self.images.reals, self.terms)
            self.ledger.save_result(folder, result, sheets)
            self.say(terminal.match_line(result))
            self._unpublished.append(folder)
        self.played[folder] = overview.summary(folder, result)
        return self.played[folder]

    def _contestant(self, slug, forfeit):
        entry = self.entries[slug]
        if entry.get("house"):
            return match.Contestant(entry["name"], slug, self._house[slug])
        if forfeit:
            return match.Contestant(entry["name"], slug, None, entry["snapshot"] or "", forfeit)
        files = self._registrar.files(entry)
        return match.Contestant(entry["name"], slug, self._pool.player(slug, files), files.digest)

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

    def secrets(self):
        """Returns (master seed, nonce) of the commitment."""
        return self.options.seed, self._recorded["nonce"]

    @functools.cached_property
    def data_files(self):
        """[{"file", "sha256"}] of the pool's files, without their folders; none for the embedded digits."""
        pattern = self.options.input_data_pattern
        files = storage.expand(pattern) if pattern else []
        return [{"file": pathlib.PurePosixPath(str(file)).name, "sha256": storage.sha256(file)} for file in files]
