"""A knock-out and a league against as many separate runs of the harness, and how long a submission takes to load.

A harness run is one process of `gan.generate_and_discriminate`, one direction. A knock-out of n teams has n - 1 matches
and a final of three rounds, a league n (n - 1) directions.
"""

import functools
import json
import statistics
import subprocess
import sys

from benchmarks import contests, table, turns
from gan import spec, storage
from gan.arena import player, sandbox
from gan.errors import RunError

TEAMS = 17
MODELS = ("sample", "dcgan")  # of the teams, in turn
PRESETS = ("sample", "dcgan", "default", "sngan", "r3gan")  # whose loading is measured
LEAST_RATIOS = {"knockout": 4, "league": 20}
MOST_SECONDS = 2.0  # of loading
_MOST_TURNS = 3  # of contests, each of which takes a minute
_HARNESS = "a harness run"


def rows(options):
    """Returns the `table.Row`s of contests, of loading and of the start of a worker."""
    return [*_contests(options), *_loading(options), _start(options)]


def _contests(options):
    teams = 3 if options.brief else TEAMS
    scratch = options.scratch / "arena_speed"
    runs = [contests.exports(model, -(-teams // 2), scratch / f"{model}_teams") for model in MODELS]
    field = [folder for pair in zip(*runs, strict=True) for folder in pair][:teams]
    contests.write_list(scratch / "teams.csv", field)
    megabytes = {}
    works = {_HARNESS: functools.partial(_harness, field[0], field[1], scratch / "result")}
    for kind in LEAST_RATIOS:
        works[kind] = functools.partial(_contest, kind, scratch, megabytes)
    count = min(options.turns, _MOST_TURNS)
    print(f"  {teams} teams: {count} turn(s)", flush=True)
    measured = turns.take(works, count, warm_up=0)
    directions = {"knockout": 2 * (teams - 1) + 4, "league": teams * (teams - 1)}
    return [
        table.Row(
            what=f"{kind} of {teams} teams, {directions[kind]} directions",
            unit="s",
            measured={name: measured[name] for name in (kind, _HARNESS)},
            judged=f"{directions[kind]} harness runs / {kind}",
            number=directions[kind] * turns.ratio(measured, _HARNESS, kind),
            at_least=None if options.brief else LEAST_RATIOS[kind],
            remark=f"checks, sandbox and pages included; the organiser's process takes {megabytes[kind]:.0f} MB",
        )
        for kind in LEAST_RATIOS
    ]


def _harness(generator, discriminator, output):
    flags = [f"--G_train_dir={generator}", f"--D_train_dir={discriminator}", f"--output_dir={output}"]
    return contests.run("generate_and_discriminate", *flags)[0]


def _contest(kind, scratch, megabytes):
    """Plays a contest anew and returns the seconds; notes the memory."""
    output = scratch / kind
    output.rmtree(missing_ok=True)
    seconds, megabytes[kind] = contests.run(
        "tournament",
        *(f"--teams={scratch / 'teams.csv'}", f"--format={kind}", f"--output_dir={output}"),
        *("--seed=1", "--nohouse", contests.SANDBOX),
    )
    return seconds


def _loading(options):
    """Rows of the stages between a submission's folder and the first outputs of its models."""
    faces, found = f"--train_data_pattern={options.faces()}", []
    for preset in PRESETS[:1] if options.brief else PRESETS:
        (folder,) = contests.exports(preset, 1, options.scratch / "loading" / preset, faces)
        forms = {"TF1 checkpoint": folder.parent.parent, "SavedModel": folder}
        whole = {form: [] for form in forms}
        stages = []
        for _ in range(options.turns):
            for form, submission in forms.items():
                stages.append(stages_of(submission))
                whole[form].append(sum(stages[-1].values()))
        medians = {name: statistics.median(each[name] for each in stages) for name in stages[0]}
        parts = ", ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in medians.items())
        found.append(
            table.Row(
                what=f"loading and freezing a submission of the preset {preset}",
                unit="s",
                measured=whole,
                judged="seconds of the slower form, process start apart",
                number=max(statistics.median(seconds) for seconds in whole.values()),
                at_most=MOST_SECONDS,
                remark=parts,
            )
        )
    return found


def stages_of(submission):
    """Returns {stage of loading: seconds}, from a new process.

    Args:
      submission: its folder.

    Raises:
      RunError: it cannot be loaded.
    """
    line = [sys.executable, "-m", "benchmarks.loading_stages", str(submission)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"{submission} cannot be loaded: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return json.loads(done.stdout)


def _start(options):
    """The row of a worker's start: process, imports and the first look at a small model, in bubblewrap and without."""
    folder = options.scratch / "loading" / PRESETS[0]
    works = {"plain process": functools.partial(_first_answer, folder, False)}
    if sandbox.obstacle() is None:
        works["bubblewrap"] = functools.partial(_first_answer, folder, True)
    measured = turns.take(works, options.turns)
    return table.Row(
        what="the start of a worker, to its first answer",
        unit="s",
        measured=measured,
        judged="seconds",
        number=max(statistics.median(seconds) for seconds in measured.values()),
        remark=sandbox.obstacle() or "",
    )


def _first_answer(folder, sandboxed):
    with player.visiting(storage.path(folder), sandboxed, 60) as visitor:
        return turns.seconds_of(lambda: visitor.input_size(spec.GENERATOR))
