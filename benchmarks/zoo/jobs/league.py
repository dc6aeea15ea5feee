"""All generators against all discriminators: a rating for each."""

import csv
import functools
import hashlib
import io
import math

from etils import epy

from benchmarks.zoo import commands, plans, results
from benchmarks.zoo.jobs.job import Job
from gan import storage

with epy.lazy_imports():
    from gan.arena import ratings

ROUNDS = 3


def job(field):
    """Makes the job of a league of the presets in `field`, each after its first minutes."""
    needs = tuple(("train", plans.first_point(preset).name) for preset in field)
    minutes = ROUNDS * (0.5 + 0.02 * math.comb(len(field), 2))
    return Job("league", "league", tuple(field), functools.partial(play, field=field), needs, minutes)


def play(comparison, field):
    """Plays all against all, several times; returns one rating, [value, low, high], for each G and each D."""
    teams = team_list((preset, comparison.submission(plans.first_point(preset))) for preset in field)
    # Other teams are another contest: theirs cannot go on in the same folder.
    folder = comparison.folder / "league" / hashlib.sha256(teams.encode()).hexdigest()[:12]
    storage.write_text(folder / "teams.csv", teams)
    fitted = ratings.Ratings([score for seed in range(ROUNDS) for score in play_round(comparison, folder, seed)])
    tables = {"generators": fitted.of_generators(), "discriminators": fitted.of_discriminators()}
    return {"rounds": ROUNDS, **{side: estimates(rows) for side, rows in tables.items()}}


def team_list(teams):
    """Returns the text of a team list, of (name, submission)."""
    lines = io.StringIO()
    csv.writer(lines).writerows([("name", "submission"), *teams])
    return lines.getvalue()


def play_round(comparison, folder, seed):
    """Plays all against all once; returns the `ratings.Score`s."""
    output = folder / f"seed_{seed}"
    commands.run(
        "tournament",
        *(f"--teams={folder / 'teams.csv'}", f"--output_dir={output}", f"--seed={seed}"),
        *("--format=league", "--nohouse", commands.OWN_MODELS),
        *comparison.data_flags(input=comparison.options.validation_data_pattern),
    )
    return scores(storage.read_json(output / "tournament.json"))


def scores(contest):
    """Returns the `ratings.Score`s of a `tournament.json`, under the teams' names."""
    names = {team["slug"]: team["name"] for team in contest["teams"]}
    rows = [row for played in contest["matches"] for row in played["directions"]]
    return [ratings.Score(*(names[who.partition("@")[0]] for who in row[:2]), *row[2:]) for row in rows]


def estimates(rows):
    """Returns {name: [rating, low, high]} of `ratings.Rating`s."""
    return {row.name: results.plain([row.rating, row.low, row.high]) for row in rows}
