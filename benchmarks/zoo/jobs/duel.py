"""Which of two presets wins more rounds against the other, after equal time?"""

import functools

from etils import epy

from benchmarks.zoo import commands, plans
from benchmarks.zoo.jobs.job import Job
from gan import spec, storage
from gan.arena import options as arena_options

with epy.lazy_imports():
    from statsmodels.stats import proportion

    from gan.arena import match, rounds

MOST_ROUNDS = 99  # that gan.battle plays


def job(preset, rival, minutes, number_of_rounds):
    points = (plans.Point(preset, 0, minutes), plans.Point(rival, 0, minutes))
    needs = tuple(("train", point.name) for point in points)
    work = functools.partial(play, points=points)
    return Job("duel", f"{preset}-{rival}-{minutes}", (preset, rival), work, needs, 0.5 + 0.01 * number_of_rounds)


def play(comparison, points):
    """Plays as many battles as the rounds need: in one battle no real image is shown twice."""
    sizes = battle_sizes(comparison.options.duel_rounds, most_rounds(comparison))
    battles = [battle(comparison, points, seed, size) for seed, size in enumerate(sizes)]
    return {"minutes": points[0].minutes, **won_share([pair for played in battles for pair in round_points(played)])}


def battle_sizes(total, most):
    """Returns the numbers of rounds of battles that have `total` together, and none more than `most`."""
    return [min(most, total - begin) for begin in range(0, total, most)]


def most_rounds(comparison):
    """Returns the rounds that a battle can have."""
    contest = arena_options.ImagesOptions()
    terms = rounds.Terms(spec.ContestSpec(*comparison.shape), contest.num_generate, contest.num_reals)
    found = len(comparison.judge.data["validation"])
    possible = [count for count in range(1, MOST_ROUNDS + 1) if match.reals_needed(count, terms) <= found]
    return max(possible, default=1)


def battle(comparison, points, seed, size):
    """Returns the `match.json` of a battle of `size` rounds."""
    output = comparison.folder / "duels" / "-".join(point.name for point in points) / f"seed_{seed}"
    teams = ((side, p.preset, comparison.submission(p)) for side, p in zip("ab", points, strict=True))
    commands.run(
        "battle",
        *(f"--team_{side}={preset}={submission}" for side, preset, submission in teams),
        *(f"--rounds={size}", f"--seed={seed}", "--tie_break=seed", f"--output_dir={output}", commands.OWN_MODELS),
        *comparison.data_flags(input=comparison.options.validation_data_pattern),
    )
    (summary,) = storage.read_json(output / "tournament.json")["matches"]
    return storage.read_json(output / summary["folder"] / "match.json")


def round_points(played):
    """Returns (a's, b's) points of each round of a `match.json`."""
    found = []
    for one_round in played["rounds"]:
        points = {direction["discriminator"]: direction["points"] for direction in one_round["directions"]}
        found.append((points["a"], points["b"]))
    return found


def won_share(points):
    """Counts rounds.

    Args:
      points: (own, the rival's) of each round.

    Returns:
      {"rounds", "won", "tied", "lost", "share": [share, low, high]}. Half of a tie is won. The interval is Wilson's, of
      95 %, for independent rounds; of two that are about equal it is too narrow, as real images come again in other
      battles.
    """
    won, tied = sum(own > rival for own, rival in points), sum(own == rival for own, rival in points)
    count = won + tied / 2
    low, high = proportion.proportion_confint(count, len(points), method="wilson")
    share = [count / len(points), float(low), float(high)]
    return {"rounds": len(points), "won": won, "tied": tied, "lost": len(points) - won - tied, "share": share}
