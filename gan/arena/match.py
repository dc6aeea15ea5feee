"""One match: rounds between two teams, and the decision, as one JSON document and the pictures that it names.

The document is the truth about a match: every page and table is drawn from it, and `replay` plays it again. Its
format is described in `docs/match_format.md`. All that was measured by a clock stands under the key `timing`.
"""

import dataclasses
import math

from etils import epy

from gan import __version__, seeds
from gan.arena import rounds, rules

with epy.lazy_imports():
    import scipy.stats

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A team as a match sees it.

    Attributes:
      name: as the team list has it.
      slug: the same as a name of files.
      player: a `player.Player` or a house opponent; None where the team may not play, or is not there yet.
      digest: hash of its snapshot; "" for house opponents.
      forfeit: why it may not play, or None.
    """

    name: str
    slug: str
    player: object
    digest: str = ""
    forfeit: str | None = None


@dataclasses.dataclass(frozen=True)
class Fixture:
    """What is to be played.

    Attributes:
      kind: "knockout", "mock", "league" or "battle".
      id: the match's name, from which its seed is derived.
      stage: heading under which it is shown.
      seed: from `rules.match_seed`.
      rounds: number of rounds.
      tie_break: one of `rules.TIE_BREAKS`; None where a match needs no winner.
      better_seed: "a" or "b".
      attempt: 1, and one more for each rematch.
      noise_seed: decides the latents, where several matches share them; None: `seed` does.
    """

    kind: str
    id: str
    stage: str
    seed: int
    rounds: int
    tie_break: str | None
    better_seed: str = "a"
    attempt: int = 1
    noise_seed: int | None = None


def reals_needed(number_of_rounds, terms):
    """Real images that a match can use up: each round has fresh ones, the extra round too."""
    return (number_of_rounds + 1) * terms.num_reals


def play(fixture, contestants, pool, terms, recorded_timing=None):
    """Plays a match.

    Args:
      fixture: the `Fixture`.
      contestants: {"a": `Contestant`, "b": `Contestant`}.
      pool: `records.Records` with at least `reals_needed` real images.
      terms: the `rounds.Terms`.
      recorded_timing: the `timing` of a result that is replayed: running times decide as they did then.

    Returns:
      (result, {file name: PNG}): plain data for a JSON file, and the sheets of images that it names.
    """
    decision = rules.forfeit(contestants["a"].forfeit, contestants["b"].forfeit, fixture.better_seed)
    if decision:
        return _result(fixture, contestants, pool, terms, [], decision, _timing(contestants, [])), {}
    played = [_Round(number, fixture, pool, terms) for number in range(1, fixture.rounds + 1)]
    for one in played:
        one.play(contestants)
    timing = _timing(contestants, played)
    if fixture.tie_break:
        deciding = recorded_timing or timing
        tallies = [rules.Tally(_points(played, side), *_running_time(deciding[side])) for side in "ab"]
        decision = rules.decide(*tallies, fixture.tie_break, fixture.better_seed)
        if decision is None:
            extra = _Round(fixture.rounds + 1, fixture, pool, terms, extra=True)
            extra.play(contestants)
            played.append(extra)
            points = tuple(_points([extra], side) for side in "ab")
            decision = rules.decide(*tallies, fixture.tie_break, fixture.better_seed, points)
    result = _result(fixture, contestants, pool, terms, played, decision, timing)
    return result, _sheets(played)


class InParts:
    """A match that is played a model at a time: nothing is timed, and nobody has to win.

    Args:
      fixture, contestants, pool, terms: as for `play`; the contestants' players are not used, nobody forfeits.
    """

    def __init__(self, fixture, contestants, pool, terms):
        self._fixture = fixture
        self._contestants = contestants
        self._pool = pool
        self._terms = terms
        self._rounds = [_Round(number, fixture, pool, terms) for number in range(1, fixture.rounds + 1)]

    def noise_seeds(self):
        """Returns the seeds of the latents of all rounds, for `rounds.deal`."""
        return [one.noise_seed for one in self._rounds]

    def judge(self, side, player, hands):
        """Has the D of one side judge all rounds.

        Args:
          side: "a" or "b".
          player: that side's.
          hands: {seed of the latents: `rounds.Hand`} of the other side's G.
        """
        for one in self._rounds:
            one.judge("b" if side == "a" else "a", side, hands[one.noise_seed], player)

    def result(self):
        """Returns what `play` does, once every D has judged."""
        played = [one.in_order() for one in self._rounds]
        timing = _timing(self._contestants, played)
        result = _result(self._fixture, self._contestants, self._pool, self._terms, played, None, timing)
        return result, _sheets(played)


class _Round:
    """A round; `number` counts from 1."""

    def __init__(self, number, fixture, pool, terms, extra=False):
        self.number = number
        self.extra = extra
        drawn = seeds.generator(fixture.seed, "reals").permutation(len(pool))
        self.reals = drawn[(number - 1) * terms.num_reals : number * terms.num_reals]
        source = fixture.seed if fixture.noise_seed is None else fixture.noise_seed
        self.noise_seed = seeds.derive(source, "round", number)
        self.directions = []
        self._seed = seeds.derive(fixture.seed, "round", number)
        self._pool = pool
        self._terms = terms

    def play(self, contestants):
        """Plays all directions with the teams' players."""
        players = {side: contestant.player for side, contestant in contestants.items()}
        pairs = [(g, d) for g, d in ("ab", "ba") if players[d].has_discriminator]
        self.directions = rounds.play(players, pairs, self._pixels(), self._terms, self._seed, self.noise_seed)

    def judge(self, generator, discriminator, hand, player):
        """Plays one direction."""
        direction = rounds.judge(generator, discriminator, hand, player, self._pixels(), self._terms, self._seed)
        direction.shown = None  # the sheet holds the images too, and a league keeps many
        self.directions.append(direction)

    def in_order(self):
        """Puts the directions into the order of `play`, whoever judged first; returns the round."""
        self.directions.sort(key=lambda direction: direction.generator)
        return self

    def _pixels(self):
        return self._pool.pixels.take(self.reals)


def _points(played, side):
    return sum(d.points for r in played for d in r.directions if d.discriminator == side)


def _timing(contestants, played):
    """Returns {"a": {"seconds", "spread", "calls"}, "b": ...}: the sum over rounds of the medians of G and D.

    `seconds` is None where a model of the team failed, or nothing was timed.
    """
    timing = {}
    for side in contestants:
        total, spread, calls = 0.0, 0.0, []
        for played_round in played:
            for direction in played_round.directions:
                for role in ("generator", "discriminator"):
                    if getattr(direction, role) == side and role in direction.seconds:
                        median, apart = rounds.median_and_spread(direction.seconds[role])
                        total, spread = total + median, spread + apart
                        calls.append({"round": played_round.number, "role": role, "seconds": direction.seconds[role]})
        failed = any(d.failure and getattr(d, d.failure.side) == side for r in played for d in r.directions)
        timing[side] = {"seconds": None if failed or not calls else total, "spread": spread, "calls": calls}
    return timing


def _running_time(timing):
    return (math.inf if timing["seconds"] is None else timing["seconds"]), timing["spread"]


def _sheets(played):
    return {sheet_name(r.number, d): d.sheet for r in played for d in r.directions if d.sheet is not None}


def sheet_name(number, direction):
    return f"round_{number}_{direction.generator}_to_{direction.discriminator}.png"


def _result(fixture, contestants, pool, terms, played, decision, timing):
    regular = [r for r in played if not r.extra]
    directions = [direction for r in regular for direction in r.directions]
    judged = {direction.discriminator for direction in directions}  # a house opponent has no D
    out_of = max((sum(d.out_of for d in directions if d.discriminator == side) for side in judged), default=0)
    failed = any(direction.failure for direction in directions)
    score = {side: _points(regular, side) if side in judged else None for side in "ab"} if played else None
    return {
        "format": FORMAT,
        "gan_version": __version__,
        **{
            key: getattr(fixture, key)
            for key in ("kind", "id", "stage", "attempt", "seed", "noise_seed", "tie_break", "better_seed")
        },
        "number_of_rounds": fixture.rounds,
        "terms": {**dataclasses.asdict(terms), "columns": rounds.COLUMNS},
        "data": {"fingerprint": pool.fingerprint, "images": len(pool)},
        "teams": {
            side: {"name": c.name, "slug": c.slug, "snapshot": c.digest, "forfeit": c.forfeit}
            for side, c in contestants.items()
        },
        "rounds": [
            {
                "number": r.number,
                "extra": r.extra,
                "reals": [int(index) for index in r.reals],
                "directions": [_direction_as_data(r.number, direction) for direction in r.directions],
            }
            for r in played
        ],
        "score": score,
        "out_of": out_of,
        "chance_if_equal": _chance_if_equal(score, out_of) if score and not failed else None,
        "winner": decision and decision.winner,
        "decided_by": decision and decision.decided_by,
        "reason": "; ".join([*([decision.reason] if decision else ()), *_failures(contestants, played)]) or None,
        "timing": timing,
    }


def _failures(contestants, played):
    """Says for each direction that failed whose fault it was."""
    for r in played:
        for d in r.directions:
            if d.failure:
                side = d.failure.side
                yield f"{contestants[getattr(d, side)].name}'s {side} failed in round {r.number}: {d.failure}"


def _direction_as_data(number, direction):
    return {
        "generator": direction.generator,
        "discriminator": direction.discriminator,
        "points": direction.points,
        "out_of": direction.out_of,
        "right_on_generated": direction.right_on(0),
        "right_on_real": direction.right_on(1),
        "failure": direction.failure and {"side": direction.failure.side, "reason": str(direction.failure)},
        "sheet": direction.sheet and sheet_name(number, direction),
        "truth": direction.truth,
        "p": direction.p,
    }


def _chance_if_equal(score, out_of):
    """How often two Ds of equal skill would end at least this far apart: Fisher's exact test, two-sided."""
    if None in score.values():
        return None
    table = [[score[side], out_of - score[side]] for side in "ab"]
    return float(scipy.stats.fisher_exact(table).pvalue)
