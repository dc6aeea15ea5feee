"""What the tests of `benchmarks.zoo` share: options, comparisons in a folder of their own, made-up results."""

import itertools

from benchmarks.zoo.__main__ import ZooOptions
from benchmarks.zoo.comparison import Comparison
from benchmarks.zoo.plans import Goal, Plan
from benchmarks.zoo.results import Results
from gan import storage

PLAN = Plan(
    longer={"new": (30, 60), "old": (30, 60), "plain": (30,)},
    seeds={"new": (1, 2), "old": (1, 2)},
    duels=(("new", "plain", 30), ("new", "old", 10)),
    goal=Goal("new", "old", target_minutes=60, every=2, until=14),
)


def options_in(folder, **settings):
    """Returns the `ZooOptions` of a comparison of the preset "sample" on the embedded digits."""
    return ZooOptions(**{"folder": str(folder), "data": "digits", "only": "sample", **settings})


def comparison_in(folder, **settings):
    return Comparison(options_in(folder, **settings))


def results_in(folder, data="faces"):
    return Results(storage.path(str(folder)), data)


def speed(rate, **settings):
    """Returns what is kept of a measurement of speed."""
    return {
        "images_per_second": rate,
        "parameters": [1234, 567],
        "settings": {"batch_size": 128} | settings,
        "machine": "a machine; a Python",
    }


def keep_rates(comparison, *presets):
    """Lets a minute of some presets have 60 steps."""
    for preset, turn in itertools.product(presets, range(3)):
        comparison.results.keep("speed", f"{preset}/{turn}", (preset,), speed(128.0))
