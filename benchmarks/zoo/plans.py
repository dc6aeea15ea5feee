"""What is compared on each data set: who trains how long, from which seeds, and plays whom."""

import dataclasses

FIRST_MINUTES = 10  # that every preset trains
SPEED_TURNS = 3


@dataclasses.dataclass(frozen=True)
class Point:
    """A training run, and how many minutes it has gone on."""

    preset: str
    seed: int
    minutes: int

    @classmethod
    def of_name(cls, name):
        """Returns the point that has a `name`."""
        preset, seed, minutes = name.rsplit("-", 2)
        return cls(preset, int(seed), int(minutes))

    @property
    def run(self):
        return f"{self.preset}-{self.seed}"

    @property
    def name(self):
        return f"{self.run}-{self.minutes}"


@dataclasses.dataclass(frozen=True)
class Goal:
    """In how many minutes does one preset reach the KID of another?

    Attributes:
      preset: which is to reach it.
      target: whose KID it is, after `target_minutes`.
      every, until: the preset is looked at every so many minutes, until so many; and at its longer points.
    """

    preset: str
    target: str
    target_minutes: int
    every: int
    until: int

    @property
    def target_point(self):
        return Point(self.target, 0, self.target_minutes)

    @property
    def last_point(self):
        return Point(self.preset, 0, self.until)

    @property
    def watched_points(self):
        return [Point(self.preset, 0, minutes) for minutes in range(self.every, self.until + 1, self.every)]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is done beyond every preset's first minutes.

    Attributes:
      longer: {preset: minutes}.
      seeds: {preset: seeds}, beside seed 0.
      duels: (preset, rival, minutes).
      goal: a `Goal`, or None.
      parts: whether the presets of `parts` are trained as well.
    """

    longer: dict = dataclasses.field(default_factory=dict)
    seeds: dict = dataclasses.field(default_factory=dict)
    duels: tuple = ()
    goal: Goal | None = None
    parts: bool = False


PLANS = {
    "faces": Plan(
        longer={"default": (30, 60), "dcgan": (30, 60), "sample": (30,)},
        seeds=dict.fromkeys(("default", "dcgan", "sngan", "wgangp", "r3gan", "sample"), (1, 2)),
        duels=tuple(("default", rival, minutes) for minutes in (30, FIRST_MINUTES) for rival in ("sample", "dcgan")),
        goal=Goal("default", "dcgan", target_minutes=60, every=2, until=14),
        parts=True,
    ),
    "digits": Plan(
        longer={"default": (30, 60), "dcgan": (30, 60)},
        seeds=dict.fromkeys(("default", "dcgan", "conditional"), (1, 2)),
    ),
}


def first_point(preset):
    """Returns the `Point` that every preset has."""
    return Point(preset, 0, FIRST_MINUTES)


def planned_points(plan, chosen):
    """Returns the `Point`s to train, those first that matter most; of one run, the shorter ones come first."""
    found = [first_point(preset) for preset in chosen]
    for preset in chosen:
        found += [Point(preset, 0, minutes) for minutes in plan.longer.get(preset, ())]
        found += [Point(preset, seed, FIRST_MINUTES) for seed in plan.seeds.get(preset, ())]
    if plan.goal and plan.goal.preset in chosen:
        found.append(plan.goal.last_point)
    return sorted(found, key=lambda point: (point.seed, point.minutes))  # a stable sort: presets keep their order


def speed_names(preset):
    """Returns the names of the jobs that measure a preset's speed, one for each turn."""
    return [f"{preset}/{turn}" for turn in range(SPEED_TURNS)]
