"""Compares the presets: speed, quality after equal time, refusals, a league, duels; writes the README's tables.

In the root of a checkout:

    python -m benchmarks.zoo --folder=zoo --data=faces --train_data_pattern='faces/train*.tfrecords' \\
        --validation_data_pattern='faces/validation*.tfrecords'
    python -m benchmarks.zoo --folder=zoo --data=digits    # the embedded digits; or the patterns of 28x28 records
    python -m benchmarks.zoo --folder=zoo --table          # README.md and pics/zoo/ from what is there

"10 minutes" of a preset are 600 times as many images as it trains on in a second. That rate is measured first, the
presets in turn, and kept; so all that a clock decides is one number for each preset, and with that number a run gives
the same result again, on a busy machine too. A minute is a whole number of steps.

What is finished is kept in FOLDER/results.json, job by job, and not done again: stop it at any time and give the same
command (without `--remeasure`, which forgets what is there). `--only=dcgan,default` and `--jobs=speed,train` do a part;
`--dry_run` lists what is left.
"""

import dataclasses
import datetime
import pathlib
import signal

from benchmarks.zoo import plans, readme, results, schedule, texts
from benchmarks.zoo.comparison import Comparison
from gan import flags, storage, training_state
from gan.errors import InputError, Interrupted
from gan.flags import flag

README = pathlib.Path(__file__).parents[2] / "README.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZooOptions(flags.Options):
    """Flags of the comparison."""

    folder: str = flag("zoo/", "folder of everything that is finished")
    data: str = flag("faces", "data set to work on", choices=tuple(plans.PLANS))
    train_data_pattern: str = flag("", "record files to train on, comma-separated patterns; empty: embedded digits")
    validation_data_pattern: str = flag("", "record files that nothing trains on; empty: embedded digits")
    only: str = flag("", "presets to work on, comma-separated; empty: all")
    jobs: str = flag("", f"kinds of jobs to do, comma-separated, of {', '.join(results.KINDS)}; empty: all")
    dry_run: bool = flag(False, "list what is left, with estimated minutes, and stop")
    table: bool = flag(False, "write the README's tables and their pictures from what is there, and stop")
    remeasure: bool = flag(
        False, "measure the speed anew; what the presets trained by the old one is moved aside and done anew as well"
    )
    minutes_scale: float = flag(1.0, "how long a minute is; small numbers are for trying this out", above=0)
    num_generated: int = flag(5000, "images by which a generator is measured", lower=100)
    duel_rounds: int = flag(200, "rounds of a duel", lower=1)
    readme: str = flag("", "file with the markers, pics/zoo/ is beside it; empty: the project's")

    def __post_init__(self):
        super().__post_init__()
        unknown = [kind for kind in self.kinds if kind not in results.KINDS]
        if unknown:
            raise InputError(f"--jobs={','.join(unknown)}: expected some of {', '.join(results.KINDS)}")
        if bool(self.train_data_pattern) != bool(self.validation_data_pattern):
            raise InputError("--train_data_pattern and --validation_data_pattern go together: give both")
        if self.data != "digits" and not self.train_data_pattern and not self.table:
            raise InputError(f"--data={self.data} needs --train_data_pattern and --validation_data_pattern")

    @property
    def kinds(self):
        return [kind.strip() for kind in self.jobs.split(",") if kind.strip()] or results.KINDS


def compare(options):
    """Does what is left to do, lists it, or writes the tables.

    Args:
      options: `ZooOptions`.

    Raises:
      InputError: the options or the data do not fit what is kept in the folder.
      RunError: a command failed.
      Interrupted: a signal; what is finished is kept.
    """
    folder = storage.path(options.folder)
    if options.table:
        readme.write(folder, storage.path(options.readme or README))
    elif options.dry_run:
        _list(schedule.jobs_left(Comparison(options)))
    else:
        with storage.lock(folder):
            _do_what_is_left(Comparison(options))


def _list(jobs):
    for job in jobs:
        print(f"{job.minutes:7.1f} min  {job.kind} {job.name}")
    print(f"{sum(job.minutes for job in jobs):7.0f} min  for {len(jobs)} jobs")


def _do_what_is_left(comparison):
    comparison.settle()
    if comparison.options.remeasure:
        for preset in comparison.chosen:
            comparison.forget(preset)
    _warn_of_changed_presets(comparison)
    jobs = schedule.jobs_left(comparison)
    for number, job in enumerate(jobs, 1):
        _do(comparison, job, f"[{number}/{len(jobs)}] {job.kind} {job.name}")
    print("--table writes the README's tables")


def _warn_of_changed_presets(comparison):
    for preset, changes in comparison.changed_presets().items():
        words = ", ".join(training_state.change_texts(changes))
        print(f"warning: preset {preset} has changed ({words}); --remeasure --only={preset} does it anew")


def _do(comparison, job, heading):
    missing = [f"{kind} {name}" for kind, name in job.needs if comparison.results.get(kind, name) is None]
    if missing:
        print(f"{heading}: left out, because {missing[0]} is not done")
        return
    print(f"{heading}: {datetime.datetime.now():%H:%M}, about {job.minutes:.1f} min", flush=True)
    comparison.results.keep(job.kind, job.name, job.presets, job.work(comparison))
    summary = texts.summary(job.kind, comparison.results.get(job.kind, job.name))
    if summary:
        print(f"    {summary}", flush=True)


def _stop(number, _):
    raise Interrupted("stopped; the same command goes on where it was", number)


if __name__ == "__main__":
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, _stop)
    flags.run(compare, ZooOptions)
