"""The contest's rules, one table each."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.arena import rules
from gan.arena.rules import Tally


def test_verdicts_follow_the_threshold():
    assert [rules.verdict(p) for p in (0.0, 0.5, np.nextafter(0.5, 1), 1.0)] == [0, 0, 1, 1]


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1))))
def test_the_score_counts_right_verdicts(images):
    p, truth = [belief for belief, _ in images], [real for _, real in images]
    assert rules.score(p, truth) == sum((belief > 0.5) == (real == 1) for belief, real in images)
    assert rules.score(p, truth) + rules.score(p, [1 - real for real in truth]) == len(images)


@pytest.mark.parametrize("failed, expected", [(None, 2), ("generator", 4), ("discriminator", 0)])
def test_points_of_a_direction(failed, expected):
    p = [0.9, 0.9, 0.1, 0.1] if failed is None else []
    assert rules.points(p, [1, 0, 1, 0] if p else [], failed, 4) == expected


FAST, SLOW, NEAR = 0.010, 0.020, 0.011
DECISIONS = [
    # points, seconds of a and b, tie_break, extra round -> winner, decided by
    ((20, 19), (SLOW, FAST), "time", None, "a", "score"),
    ((19, 20), (FAST, SLOW), "seed", None, "b", "score"),
    ((20, 20), (SLOW, FAST), "time", None, "b", "running time"),
    ((20, 20), (FAST, math.inf), "time", None, "a", "running time"),
    ((20, 20), (FAST, NEAR), "time", None, None, None),
    ((20, 20), (math.inf, math.inf), "time", None, None, None),
    ((20, 20), (FAST, NEAR), "time", (15, 16), "b", "extra round"),
    ((20, 20), (FAST, NEAR), "time", (15, 15), "b", "better seed"),
    ((20, 20), (FAST, SLOW), "extra_round", None, None, None),
    ((20, 20), (SLOW, FAST), "extra_round", (16, 15), "a", "extra round"),
    ((20, 20), (FAST, SLOW), "extra_round", (15, 15), "b", "better seed"),
    ((20, 20), (FAST, SLOW), "seed", None, "b", "better seed"),
]


@pytest.mark.parametrize("points, seconds, tie_break, extra, winner, decided_by", DECISIONS)
def test_decisions(points, seconds, tie_break, extra, winner, decided_by):
    a, b = (Tally(*pair, spread=0.002) for pair in zip(points, seconds, strict=True))
    decision = rules.decide(a, b, tie_break, "b", extra)
    assert (decision and decision.winner, decision and decision.decided_by) == (winner, decided_by)


tallies = st.builds(Tally, st.integers(0, 30), st.floats(0, 1) | st.just(math.inf), st.floats(0, 0.1))


@given(tallies, tallies, st.sampled_from(rules.TIE_BREAKS), st.sampled_from("ab"), st.tuples(*[st.integers(0, 30)] * 2))
def test_a_match_ends_after_one_extra_round_and_is_fair(a, b, tie_break, better_seed, extra):
    decision = rules.decide(a, b, tie_break, better_seed, extra)
    swapped = rules.decide(b, a, tie_break, {"a": "b", "b": "a"}[better_seed], extra[::-1])
    assert decision.winner != swapped.winner and decision.decided_by == swapped.decided_by
    if a.points != b.points:
        assert decision.winner == ("a" if a.points > b.points else "b")
    if tie_break == "seed":  # no measured time has a say
        assert decision == rules.decide(Tally(a.points), Tally(b.points), tie_break, better_seed, extra)


def test_a_model_whose_times_vary_gains_nothing_by_it():
    slow, fast = Tally(20, 0.020, spread=0.5), Tally(20, 0.010, spread=0.002)
    assert rules.decide(slow, fast, "time", "a").winner == "b"


@pytest.mark.parametrize(
    "a, b, winner", [(None, "broken", "a"), ("broken", None, "b"), ("broken", "broken", "b"), (None, None, None)]
)
def test_forfeits(a, b, winner):
    decision = rules.forfeit(a, b, better_seed="b")
    assert (decision and decision.winner) == winner
    if decision:
        assert decision.decided_by == "forfeit"
        assert "broken" in decision.reason or "both" in decision.reason


def test_a_seed_counts_before_a_rating_and_a_rating_before_a_draw():
    teams = {"c": 2, "a": 1, "weak": None, "strong": None, "new": None, "newer": None}
    order = rules.order_by_seed(teams, {"weak": -1.0, "strong": 2.0, "a": -9.0}, 0)
    assert order[:4] == ["a", "c", "strong", "weak"]
    drawn = {tuple(rules.order_by_seed(teams, {}, seed)[2:]) for seed in range(200)}
    assert len(drawn) == 24


@given(st.sets(st.text(min_size=1), min_size=2, max_size=40), st.integers(0, 99), st.integers(1, 9))
def test_everybody_plays_in_a_mock_session(names, seed, session):
    pairs = rules.mock_pairs(names, seed, session)
    playing = [name for pair in pairs for name in pair]
    assert set(playing) == names
    assert len(playing) == len(names) + len(names) % 2
    assert all(a != b for a, b in pairs)
    assert pairs == rules.mock_pairs(sorted(names), seed, session)


def test_a_rematch_and_another_match_have_other_seeds():
    assert len({rules.match_seed(seed, name, n) for seed in (0, 1) for name in ("final", "x") for n in (1, 2)}) == 8
