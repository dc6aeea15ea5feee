"""The bracket's rules, for every number of teams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.arena import bracket

COUNTS = st.integers(2, 200) | st.sampled_from([256, 257, 511, 512, 1000, 1023, 1024])


def play_out(matches, beats):
    """Plays all matches; `beats(a, b)` returns the winner."""
    winners = {}
    for match in matches:
        a, b = bracket.teams_of(match, winners)
        assert a is not None and b is not None and a != b, "a match before the matches that it depends on"
        winners[match.id] = beats(a, b)
    return winners


def better(a, b):
    return min(a, b)


@pytest.mark.parametrize(
    "count, expected",
    [
        (2, ["final: 0 1 (3)"]),
        (3, ["play-in-1: 1 2 (1)", "final: 0 play-in-1 (3)"]),
        (4, ["semi-final-1: 0 3 (1)", "semi-final-2: 1 2 (1)", "final: semi-final-1 semi-final-2 (3)"]),
        (
            6,
            [
                "play-in-1: 3 4 (1)",
                "play-in-2: 2 5 (1)",
                "semi-final-1: 0 play-in-1 (1)",
                "semi-final-2: 1 play-in-2 (1)",
                "final: semi-final-1 semi-final-2 (3)",
            ],
        ),
    ],
)
def test_small_brackets(count, expected):
    assert [f"{m.id}: {m.a} {m.b} ({m.rounds})" for m in bracket.draw(count)] == expected


def test_seventeen_teams_as_at_the_first_event():
    matches = bracket.draw(17)
    assert len(matches) == 16
    assert [(m.id, m.a, m.b) for m in matches if m.stage == "play-in"] == [("play-in-1", 15, 16)]
    eighths = [m for m in matches if m.stage == "round-of-16"]
    assert (eighths[0].a, eighths[0].b) == (0, "play-in-1")
    assert (eighths[1].a, eighths[1].b) == (7, 8)
    places = bracket.places(matches, play_out(matches, better))
    assert [sorted(places.values()).count(place) for place in (1, 2, 3, 5, 9, 17)] == [1, 1, 2, 4, 8, 1]


@given(COUNTS, st.integers(0, 2**32))
def test_every_bracket_has_one_champion_and_each_loser_loses_once(count, seed):
    matches = bracket.draw(count)
    rng = np.random.default_rng(seed)
    assert len(matches) == count - 1
    assert len({m.id for m in matches}) == count - 1
    winners = play_out(matches, lambda a, b: a if rng.random() < 0.5 else b)
    places = bracket.places(matches, winners)
    assert set(places) == set(range(count))
    assert list(places.values()).count(1) == list(places.values()).count(2) == 1
    assert all(place == 1 or (place - 1) & (place - 2) == 0 for place in places.values())  # 2, 3, 5, 9, ...
    assert sum(m.rounds for m in matches) == count + 1


@given(COUNTS)
def test_the_best_seeds_have_the_byes_and_meet_last(count):
    matches = bracket.draw(count)
    winners = play_out(matches, better)
    places = bracket.places(matches, winners)
    assert [places[team] for team in range(count)] == sorted(places.values())
    power = 1 << (count - 1).bit_length()
    in_play_ins = {side for m in matches if m.stage == "play-in" for side in (m.a, m.b)}
    assert in_play_ins == (set() if count == power else set(range(power - count, count)))


@pytest.mark.parametrize("count", [-1, 0, 1, 1025])
def test_other_numbers_are_refused(count):
    with pytest.raises(ValueError, match="2 to 1024"):
        bracket.draw(count)


def test_places_of_a_running_tournament():
    matches = bracket.draw(4)
    assert bracket.places(matches, {}) == {}
    assert bracket.places(matches, {"semi-final-1": 3}) == {0: 3}
    assert bracket.teams_of(matches[2], {"semi-final-1": 3}) == (3, None)
