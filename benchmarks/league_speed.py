"""Leagues of few and of many teams: how their time grows, as numbers, as a fit and as a picture (league_speed.png).

The time is fitted as a x teams + b x teams^2. Loading is to grow as the teams do, and nothing faster than their pairs.
"""

import math
import statistics

import numpy as np
from etils import epy

from benchmarks import contests, league_stages, table, turns
from gan import pictures, storage

with epy.lazy_imports():
    import matplotlib.figure

SIZES = (5, 10, 20, 35, 50)
PICTURE = "league_speed.png"
MOST_SECONDS = 600.0  # of the largest league: one sitting
_BRIEF_SIZES = (2, 4)
_MOST_TURNS = 3  # a turn of all leagues takes minutes
_LOADING = (league_stages.TAKING_IN, league_stages.LOADING)
_GROWING = {  # what: (its stages, the largest power of the number of teams with which its time may grow)
    "snapshots, checks and loading in a league": (_LOADING, 1.25),
    "all of a league": ((league_stages.WHOLE,), 2.0),
}
_PAIRS = (league_stages.JUDGING, league_stages.SAVING, league_stages.PAGES)


def rows(options):
    """Returns the `table.Row`s of the largest league and of how the time grows; draws the picture."""
    sizes = _BRIEF_SIZES if options.brief else SIZES
    scratch = options.scratch / "league_speed"
    field = [str(folder) for folder in contests.exports("sample", sizes[-1], scratch / "teams")]
    found = {teams: [] for teams in sizes}
    for turn in range(min(options.turns, _MOST_TURNS)):
        for teams in sizes:
            name = f"league of {teams}"
            maker = (league_stages.league_of, str(scratch / "contest"), field[:teams])
            with turns.in_processes({name: maker}) as works:
                found[teams].append(works[name]())
            print(f"  turn {turn + 1}, {name}: {found[teams][-1][league_stages.WHOLE]:.1f} s", flush=True)
    medians = {teams: _medians(leagues) for teams, leagues in found.items()}
    fit = fitted(list(sizes), [medians[teams][league_stages.WHOLE] for teams in sizes])
    storage.write_bytes(storage.path(options.folder) / PICTURE, pictures.chart_png(figure(medians, fit)))
    return _rows(found, medians, fit, judged=not options.brief)


def _medians(leagues):
    """Returns {stage: median of its seconds} of leagues of one size."""
    return {stage: statistics.median(each.get(stage, 0.0) for each in leagues) for stage in set().union(*leagues)}


def _rows(found, medians, fit, judged):
    largest = max(found)
    before = sorted(found)[-3:][0]
    whole = {f"{teams} teams": [each[league_stages.WHOLE] for each in leagues] for teams, leagues in found.items()}
    parts = ", ".join(f"{name} {amount:.3g}" for name, amount in sorted(medians[largest].items()))
    return [
        table.Row(
            what=f"a league of {largest} teams",
            unit="s",
            measured=whole,
            judged="seconds",
            number=medians[largest][league_stages.WHOLE],
            at_most=MOST_SECONDS if judged else None,
            remark=f"{fit[0]:.3g} s x teams + {fit[1]:.3g} s x teams^2; of {largest} teams, in s: {parts}",
        ),
        *(
            table.Row(
                what=what,
                unit="s",
                measured={f"{teams} teams": [_sum(each, stages) for each in found[teams]] for teams in found},
                judged=f"power of the number of teams, {before} to {largest}",
                number=growth({teams: _sum(medians[teams], stages) for teams in (before, largest)}),
                at_most=most if judged else None,
            )
            for what, (stages, most) in _GROWING.items()
        ),
    ]


def _sum(stages, names):
    return sum(stages.get(name, 0.0) for name in names)


def growth(seconds):
    """Returns the power of the number of teams with which the time grows between two of them, {teams: seconds}."""
    (few, short), (many, long) = sorted(seconds.items())
    return math.log(long / short) / math.log(many / few)


def fitted(teams, seconds):
    """Returns (a, b) of a x teams + b x teams^2, the relative errors of which are least; neither is negative.

    Args:
      teams, seconds: lists of numbers.
    """
    counts, times = np.asarray(teams, float), np.asarray(seconds, float)
    columns = np.stack([counts, counts**2], axis=1) / times[:, None]
    a, b = np.linalg.lstsq(columns, np.ones(len(times)), rcond=None)[0]
    if a >= 0 and b >= 0:
        return float(a), float(b)
    alone = columns[:, 0 if b < 0 else 1]
    only = float(alone.sum() / (alone**2).sum())
    return (only, 0.0) if b < 0 else (0.0, only)


def figure(medians, fit):
    """Draws the time of leagues and of what grows as teams or as pairs.

    Args:
      medians: {teams: {stage: seconds}}.
      fit: (a, b) of `fitted`.

    Returns:
      A `matplotlib.figure.Figure`.
    """
    drawn = matplotlib.figure.Figure(figsize=(7, 4.5), layout="constrained")
    axes = drawn.subplots()
    teams = sorted(medians)
    many = np.linspace(0, teams[-1], 100)
    axes.plot(many, fit[0] * many + fit[1] * many**2, color="0.6", label=_formula(fit))
    lines = {
        "all": (league_stages.WHOLE,),
        "snapshots, checks, loading": _LOADING,
        "D's passes, results, pages": _PAIRS,
    }
    for label, stages in lines.items():
        style = "o" if label == "all" else "o--"
        axes.plot(teams, [_sum(medians[count], stages) for count in teams], style, label=label)
    axes.set_xlabel("teams")
    axes.set_ylabel("seconds")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend()
    return drawn


def _formula(fit):
    return f"{fit[0]:.2g} s x teams + {fit[1]:.2g} s x teams²"
