"""Times a knock-out and a league of 17 teams against the same number of separate runs of the harness.

    python benchmarks/arena_speed.py --folder=/tmp/arena_speed

A harness run is one process of `gan.generate_and_discriminate`, one direction. The knock-out has 16 matches with a
final of three rounds: 36 directions; the league 17 x 16 = 272. The teams are short runs of the sample and the DCGAN
models on the embedded digits, trained first where they are missing. Harness runs are timed before and after the
contests, so that a machine whose speed drifts shows: the ratio uses their mean.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

TEAMS = 17
MODELS = (("SampleGenerator", "SampleDiscriminator"), ("DCGANGenerator", "DCGANDiscriminator"))


def gan(name, *flags):
    """Runs a command; returns its seconds and the largest memory of its process in MB."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", f"gan.{name}", *flags], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"gan.{name} {' '.join(flags)} failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def train(folder, number):
    generator, discriminator = MODELS[number % 2]
    run = folder / f"team_{number}"
    if not (run / "checkpoint").exists():
        gan(
            "train",
            *(f"--train_dir={run}", f"--seed={number}", "--max_steps=40", "--noexport_generated_images"),
            *(f"--generator_model={generator}", f"--discriminator_model={discriminator}"),
        )
    return run


def contest(folder, runs, kind, tie_break):
    """Plays a contest anew; returns (seconds, largest memory of the organiser in MB, matches)."""
    output = folder / kind
    shutil.rmtree(output, ignore_errors=True)
    team_list = folder / "teams.csv"
    team_list.write_text("name,submission\n" + "".join(f"Team {i},{run}\n" for i, run in enumerate(runs, 1)))
    seconds, megabytes = gan(
        "tournament",
        *(f"--teams={team_list}", f"--format={kind}", f"--tie_break={tie_break}", f"--output_dir={output}"),
        *("--seed=1", "--nohouse"),
    )
    matches = len(json.loads((output / "tournament.json").read_text())["matches"])
    return seconds, megabytes, matches


def harness(folder, runs, count):
    """Returns the mean seconds of `count` directions between neighbours of the list."""
    pairs = [(runs[i % TEAMS], runs[(i + 1) % TEAMS]) for i in range(count)]
    output = f"--output_dir={folder / 'result'}"
    times = [gan("generate_and_discriminate", f"--G_train_dir={g}", f"--D_train_dir={d}", output)[0] for g, d in pairs]
    return statistics.mean(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, required=True, help="where teams and contests are kept")
    parser.add_argument(
        "--harness_runs", type=int, default=36, help="directions timed one by one, half before, half after"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = [train(options.folder, number) for number in range(TEAMS)]
    half = max(1, options.harness_runs // 2)
    first = harness(options.folder, runs, half)
    results = {kind: contest(options.folder, runs, kind, "time") for kind in ("knockout", "league")}
    second = harness(options.folder, runs, half)
    run = (first + second) / 2
    print(f"one harness run: {run:.2f} s (first half {first:.2f} s, second half {second:.2f} s)")
    for kind, directions in (("knockout", 36), ("league", 272)):
        seconds, megabytes, matches = results[kind]
        print(
            f"{kind}: {seconds:.1f} s for {matches} matches; {directions} harness runs: {directions * run:.0f} s; "
            f"1/{directions * run / seconds:.1f} of it; organiser's memory {megabytes:.0f} MB"
        )


if __name__ == "__main__":
    main()
