"""The bracket of a single elimination, from 2 teams up, as pure functions.

Teams are numbers: 0 is the best seed. Standard seeding keeps the best apart as long as possible (1 v 16, 8 v 9, ...).
Where the number of teams is no power of two, the best seeds have a bye and the others meet in play-ins.
"""

import dataclasses

from gan.arena import rules

MAX_TEAMS = 1024
_STAGES = {2: "final", 4: "semi-final", 8: "quarter-final"}


@dataclasses.dataclass(frozen=True)
class Match:
    """One match of the bracket.

    Attributes:
      id: "final", "semi-final-2", "round-of-16-3", "play-in-1": unique, and the name in every seed.
      stage: the id without its number.
      slots: teams that are left when the stage begins, byes included: 2 for the final.
      a, b: a team's number, or the id of the match whose winner plays here.
      rounds: how many are played.
    """

    id: str
    stage: str
    slots: int
    a: int | str
    b: int | str
    rounds: int


def draw(count):
    """Returns the matches of a bracket for `count` teams, in the order of play.

    Raises:
      ValueError: fewer than 2 teams, or more than `MAX_TEAMS`.
    """
    if not 2 <= count <= MAX_TEAMS:
        raise ValueError(f"{count} teams: a bracket holds 2 to {MAX_TEAMS}")
    places = _standard_order(count)
    slots = len(places)
    sources = [place if place < count else None for place in places]
    matches = []
    while slots > 1:
        stage = "play-in" if None in sources else _STAGES.get(slots, f"round-of-{slots}")
        winners, number = [], 0
        for a, b in zip(sources[::2], sources[1::2], strict=True):
            if b is None or a is None:
                winners.append(a if b is None else b)
                continue
            number += 1
            match_id = stage if slots == 2 else f"{stage}-{number}"
            rounds = rules.FINAL_ROUNDS if slots == 2 else rules.ROUNDS
            matches.append(Match(match_id, stage, slots, a, b, rounds))
            winners.append(match_id)
        sources, slots = winners, slots // 2
    return matches


def _standard_order(count):
    """[0, 1] -> [0, 3, 1, 2] -> [0, 7, 3, 4, 1, 6, 2, 5] -> ...: each pair adds up to the same number."""
    order = [0]
    while len(order) < count:
        top = 2 * len(order) - 1
        order = [place for best in order for place in (best, top - best)]
    return order


def teams_of(match, winners):
    """Returns the numbers of the two teams of a match; None for one that is not known yet.

    Args:
      match: a `Match`.
      winners: {match id: team's number}.
    """
    return tuple(side if isinstance(side, int) else winners.get(side) for side in (match.a, match.b))


def places(matches, winners):
    """Returns {team's number: place} of all teams that are out, and of the champion (1).

    Losers of the same stage share a place: 2, 3, 5, 9, ...
    """
    found = {}
    for match in matches:
        if match.id in winners:
            (loser,) = set(teams_of(match, winners)) - {winners[match.id]}
            found[loser] = match.slots // 2 + 1
            if match.slots == 2:
                found[winners[match.id]] = 1
    return found
