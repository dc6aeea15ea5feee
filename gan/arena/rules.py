"""The contest's rules as pure functions over plain values: no files, no models, no clock."""

import dataclasses
import math

from gan import seeds, spec

# Outputs of a model for the same input may differ by this much between two calls, batches or orders.
REPEAT_TOLERANCE = 1e-4
TIME_LIMIT = 60.0  # seconds for one team's part of one round
TIMED_CALLS = 5
ROUNDS = 1
FINAL_ROUNDS = 3
TIE_BREAKS = ("time", "extra_round", "seed")
RETRIES = 1
HANDS = 20  # lots of latents of a league, of which each match plays one


def verdict(p):
    """Returns 1 (real) if and only if p > 0.5; exactly 0.5 is 0 (generated)."""
    return int(spec.is_real(p))


def score(p, truth):
    """Returns the number of right verdicts.

    Args:
      p: D's beliefs, one for each image.
      truth: 1 for a real image, 0 for a generated one.
    """
    return sum(verdict(belief) == real for belief, real in zip(p, truth, strict=True))


def points(p, truth, failed, out_of):
    """Returns what a discriminator gets for one direction.

    Args:
      p, truth: as for `score`.
      failed: "generator", "discriminator" or None, the side that failed twice.
      out_of: images in the direction.
    """
    if failed == spec.GENERATOR.name:
        return out_of
    if failed == spec.DISCRIMINATOR.name:
        return 0
    return score(p, truth)


@dataclasses.dataclass(frozen=True)
class Tally:
    """What a team brings out of the rounds of a match.

    Attributes:
      points: right verdicts of its D.
      seconds: running time of its G and D; infinite where one of them failed.
      spread: how far the measured times of one call lie apart, in seconds. The smaller of two counts, so that a team
        gains nothing by a model whose times vary.
    """

    points: int
    seconds: float = math.inf
    spread: float = 0.0


@dataclasses.dataclass(frozen=True)
class Decision:
    """Who advances ("a" or "b") and why, in words that are shown."""

    winner: str
    decided_by: str
    reason: str


def decide(a, b, tie_break, better_seed, extra=None):
    """Decides a match whose rounds were played.

    Args:
      a, b: each team's `Tally`.
      tie_break: one of `TIE_BREAKS`.
      better_seed: "a" or "b".
      extra: (points of a, points of b) in the extra round, once that was played.

    Returns:
      A `Decision`, or None where an extra round is needed first.
    """
    if a.points != b.points:
        winner = "a" if a.points > b.points else "b"
        high, low = max(a.points, b.points), min(a.points, b.points)
        return Decision(winner, "score", f"{high} to {low} points")
    if tie_break == "time" and abs(a.seconds - b.seconds) > min(a.spread, b.spread):
        winner = "a" if a.seconds < b.seconds else "b"
        fast, slow = sorted((a.seconds, b.seconds))
        times = f"{fast * 1e3:.1f} ms against {slow * 1e3:.1f} ms" if slow < math.inf else "the other has no time"
        return Decision(winner, "running time", f"tie at {a.points} points; less running time, {times}")
    if tie_break in ("time", "extra_round"):
        if extra is None:
            return None
        if extra[0] != extra[1]:
            winner = "a" if extra[0] > extra[1] else "b"
            return Decision(
                winner, "extra round", f"tie at {a.points} points; extra round {max(extra)} to {min(extra)}"
            )
        return Decision(better_seed, "better seed", f"ties at {a.points} and, in the extra round, {extra[0]} points")
    return Decision(better_seed, "better seed", f"tie at {a.points} points")


def forfeit(reason_a, reason_b, better_seed):
    """Decides a match that is not played because one team, or both, may not play.

    Args:
      reason_a, reason_b: why a team forfeits, or None.
      better_seed: "a" or "b"; advances where both forfeit.

    Returns:
      A `Decision`, or None where nobody forfeits.
    """
    if reason_a and reason_b:
        return Decision(better_seed, "forfeit", "both forfeit; the better seed advances")
    if reason_a or reason_b:
        return Decision("b" if reason_a else "a", "forfeit", f"the other team forfeits: {reason_a or reason_b}")
    return None


def order_by_seed(teams, ratings, master_seed):
    """Returns the teams' names, best seed first.

    A seed of the team list counts before a rating of mock battles, and a rating before a draw.

    Args:
      teams: {name: seed number or None}.
      ratings: {name: rating}, higher is better; names may be missing.
      master_seed: decides the draw.
    """

    def key(name):
        seed, rating = teams[name], ratings.get(name)
        return (
            math.inf if seed is None else seed,
            math.inf if rating is None else -rating,
            seeds.derive(master_seed, "seeding", name),
            name,
        )

    return sorted(teams, key=key)


def match_seed(master_seed, match_id, attempt=1):
    """Returns the seed of every draw in one match; a rematch (attempt 2, 3, ...) is drawn anew."""
    return seeds.derive(master_seed, "match", match_id, attempt)


def hand_seed(master_seed, number_a, number_b):
    """Returns the seed of the latents that a match of a league shares with others.

    A generator makes `HANDS` hands of images at most, however many teams there are, and shows none of them twice before
    it has shown them all.

    Args:
      number_a, number_b: the two teams' places in the list, in which they differ.
    """
    return seeds.derive(master_seed, "hand", (number_a + number_b) % HANDS)


def mock_pairs(names, master_seed, session):
    """Draws the pairs of one session of mock battles: every team plays, one of an odd number twice.

    Args:
      names: at least two.
      master_seed: decides the draw.
      session: its number.
    """
    drawn = sorted(names, key=lambda name: (seeds.derive(master_seed, "mock", session, name), name))
    if len(drawn) % 2:
        drawn.append(drawn[0])
    return list(zip(drawn[::2], drawn[1::2], strict=True))
