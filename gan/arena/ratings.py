"""Ratings of generators and discriminators, apart, from the points of a league.

The model is that of Bradley and Terry (1952), with images in place of games: D's verdict on one of the images that it
was shown beside G's is right with probability sigmoid(d - g). It is fitted as a binomial regression with statsmodels.
Images of one match resemble each other, so the spread is estimated from the data (quasi-binomial), never under 1; half
a point for and half a point against are added to each direction, so that a D that is always right has a finite rating
(Haldane, 1956; Anscombe, 1956). Only differences count: the mean of the teams' own models is set to 1500.
"""

import dataclasses
import math
import warnings

import numpy as np
from etils import epy

with epy.lazy_imports():
    import matplotlib.figure
    import scipy.stats
    from statsmodels.genmod import families, generalized_linear_model

ELO = 400 / math.log(10)  # a difference of 400 points is odds of 10 to 1
MEAN = 1500.0
UNIT = "Elo points: 400 more means odds of 10 to 1 on an image; intervals of 95 %"
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Score:
    """The points of one direction."""

    generator: str
    discriminator: str
    points: int
    out_of: int


@dataclasses.dataclass(frozen=True)
class Rating:
    """One row of a table.

    Attributes:
      name: whose.
      rating, low, high: Elo points, and the 95 % interval.
      group: 1 for the best. A group is the best that is left and all whose distance to it chance may explain: too close
        to call. The first of the next group is behind the first of this one by more than that.
    """

    name: str
    rating: float
    low: float
    high: float
    group: int


class Ratings:
    """The fitted model.

    Args:
      scores: `Score`s; every generator and every discriminator must appear.
      house: names whose ratings do not count towards the mean.
      shown: names that appear in the tables; None: all.
    """

    def __init__(self, scores, house=(), shown=None):
        self.generators = sorted({score.generator for score in scores})
        self.discriminators = sorted({score.discriminator for score in scores})
        self._house = set(house)
        self._shown = None if shown is None else set(shown)
        columns = [("G", name) for name in self.generators] + [("D", name) for name in self.discriminators]
        place = {column: i for i, column in enumerate(columns)}
        design = np.zeros((len(scores), len(columns)))
        for row, score in zip(design, scores, strict=True):
            row[place["D", score.discriminator]] = 1.0
            row[place["G", score.generator]] = -1.0
        right = np.array([score.points + 0.5 for score in scores])
        wrong = np.array([score.out_of - score.points + 0.5 for score in scores])
        # Adding the same number to all ratings changes nothing, so the first generator is left out, as 0.
        model = generalized_linear_model.GLM(
            np.stack([right, wrong], axis=1), design[:, 1:], family=families.Binomial()
        )
        with warnings.catch_warnings():
            # That all verdicts are right, or that two teams never met, is said by the width of the intervals.
            warnings.simplefilter("ignore")
            fit = model.fit()
        free = max(len(scores) - design.shape[1] + 1, 1)
        spread = max(1.0, float(fit.pearson_chi2) / free)
        self._place = place
        self._estimate = np.concatenate([[0.0], fit.params])
        self._covariance = np.zeros((len(columns), len(columns)))
        self._covariance[1:, 1:] = np.asarray(fit.normalized_cov_params) * spread

    def of_generators(self):
        """Returns the generators' `Rating`s, best first."""
        return self._table({name: self._weights("G", name) for name in self.generators})

    def of_discriminators(self):
        """Returns the discriminators' `Rating`s, best first."""
        return self._table({name: self._weights("D", name) for name in self.discriminators})

    def of_teams(self):
        """Returns the `Rating`s of those that have both models, best first: the mean of the two."""
        both = [name for name in self.generators if name in set(self.discriminators)]
        return self._table({name: (self._weights("G", name) + self._weights("D", name)) / 2 for name in both})

    def _weights(self, kind, name):
        weights = np.zeros(len(self._place))
        weights[self._place[kind, name]] = 1.0
        return weights

    def _table(self, weights):
        """Rates {name: weights of the estimates} against the mean of those that are no house opponents."""
        weights = {name: row for name, row in weights.items() if self._shown is None or name in self._shown}
        if not weights:
            return []
        own = [row for name, row in weights.items() if name not in self._house] or list(weights.values())
        centred = {name: row - np.mean(own, axis=0) for name, row in weights.items()}
        z = float(scipy.stats.norm.ppf(0.5 + _LEVEL / 2))
        order = sorted(centred, key=lambda name: (-(centred[name] @ self._estimate), name))
        rows = np.stack([centred[name] for name in order])
        values, covariance = rows @ self._estimate, rows @ self._covariance @ rows.T
        errors = np.sqrt(np.maximum(0.0, np.diag(covariance)))
        group, leader, table = 0, None, []
        for i, name in enumerate(order):
            if leader is None or _apart(leader, i, values, covariance, z):
                group, leader = group + 1, i
            low, high = (MEAN + ELO * float(values[i] + side * z * errors[i]) for side in (-1, 1))
            table.append(Rating(name, MEAN + ELO * float(values[i]), low, high, group))
        return table


def _apart(one, other, values, covariance, z):
    """Whether a difference is larger than chance explains."""
    variance = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
    return abs(values[one] - values[other]) > z * math.sqrt(max(0.0, variance))


def matrix_figure(scores, generators, discriminators, titles):
    """Draws every G against every D.

    Args:
      scores: `Score`s.
      generators, discriminators: names in the order of rows and columns.
      titles: {name: what is written beside the row or under the column}.

    Returns:
      A `matplotlib.figure.Figure`: the share of right verdicts, in percent.
    """
    share = np.full((len(generators), len(discriminators)), np.nan)
    for score in scores:
        if score.generator in generators and score.discriminator in discriminators:
            place = generators.index(score.generator), discriminators.index(score.discriminator)
            share[place] = score.points / score.out_of
    size = (2.6 + 0.55 * len(discriminators), 1.8 + 0.42 * len(generators))
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="RdYlGn_r", vmin=0.3, vmax=1.0, aspect="auto")
    if share.size <= 1000:
        for (row, column), value in np.ndenumerate(share):
            if not math.isnan(value):
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8)
    # A name is text, not mathematics: `$` would start a formula.
    axes.set_xticks(
        range(len(discriminators)), [_plain(titles[name]) for name in discriminators], rotation=45, ha="right"
    )
    axes.set_yticks(range(len(generators)), [_plain(titles[name]) for name in generators])
    axes.set_xlabel("discriminator, best first")
    axes.set_ylabel("generator, best first")
    figure.colorbar(image, label="share of right verdicts", format=lambda value, _: f"{100 * value:.0f} %")
    return figure


def _plain(name):
    return (name if len(name) <= 24 else name[:23] + "…").replace("$", r"\$")
