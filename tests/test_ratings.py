"""Ratings against skills that are known."""

import numpy as np
import pytest

from gan.arena import ratings
from gan.arena.ratings import ELO, Ratings, Score


def play(generators, discriminators, images=30, seed=0):
    """All against all but their own, with points drawn as the model has it."""
    rng = np.random.default_rng(seed)
    return [
        Score(g, d, int(rng.binomial(images, 1 / (1 + np.exp(skill_g - skill_d)))), images)
        for g, skill_g in generators.items()
        for d, skill_d in discriminators.items()
        if g != d
    ]


GENERATORS = dict(zip("abcdefgh", np.linspace(-1, 1, 8), strict=True))
DISCRIMINATORS = dict(zip("abcdefgh", np.linspace(2, 0, 8), strict=True))


def test_with_many_images_the_skills_come_out():
    fitted = Ratings(play(GENERATORS, DISCRIMINATORS, 20_000))
    found = {row.name: row.rating for row in fitted.of_generators()}
    for name, skill in GENERATORS.items():
        assert found[name] == pytest.approx(1500 + ELO * skill, abs=5)
    assert [row.name for row in fitted.of_discriminators()] == list("abcdefgh")
    assert [row.group for row in fitted.of_generators()] == list(range(1, 9))


def test_intervals_hold_the_truth_about_95_times_of_100():
    inside = [
        row.low <= 1500 + ELO * GENERATORS[row.name] <= row.high
        for seed in range(40)
        for row in Ratings(play(GENERATORS, DISCRIMINATORS, seed=seed)).of_generators()
    ]
    assert 0.90 <= np.mean(inside) <= 0.99


def test_equal_skills_are_too_close_to_call():
    even = dict.fromkeys("abcdef", 0.0)
    groups = [row.group for seed in range(5) for row in Ratings(play(even, even, seed=seed)).of_teams()]
    assert np.mean(np.array(groups) == 1) > 0.8


def test_a_generator_that_is_always_seen_through_has_a_finite_rating():
    scores = [*play(GENERATORS, DISCRIMINATORS), *(Score("noise", d, 30, 30) for d in DISCRIMINATORS)]
    last = Ratings(scores, house=["noise"]).of_generators()[-1]
    assert last.name == "noise"
    assert 0 < last.low < last.rating < last.high < 1400


def test_house_opponents_do_not_move_the_mean():
    scores = play(GENERATORS, DISCRIMINATORS)
    house = [Score("noise", d, 30, 30) for d in DISCRIMINATORS]
    rows = Ratings([*scores, *house], house=["noise"]).of_generators()
    assert np.mean([row.rating for row in rows if row.name != "noise"]) == pytest.approx(1500)
    assert "noise" not in {row.name for row in Ratings([*scores, *house], ["noise"]).of_teams()}


def test_two_teams_that_met_once():
    rows = Ratings([Score("a", "b", 20, 30), Score("b", "a", 28, 30)]).of_teams()
    assert [row.name for row in rows] == ["a", "b"]


def test_the_matrix_has_a_row_for_each_generator_and_odd_names_are_text():
    scores = [Score("x", "y", 30, 30), Score("y", "x", 15, 30)]
    figure = ratings.matrix_figure(scores, ["x", "y"], ["x", "y"], {"x": "$\\frac{", "y": "<b>"})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["100", "50"]
    figure.canvas.draw()  # a name that is taken for a formula would raise here
