"""What a run does beside its steps: pictures, logs, metrics, saves and exports, against the steps themselves."""

import contextlib
import io
import itertools
import statistics

from etils import epy

from benchmarks import table, trainings, turns
from gan import keeper, storage, tracking, train, training_log, training_state

with epy.lazy_imports():
    from gan import export_model

PRESETS = ("default", "dcgan")
MOST_SHARE = 0.03  # of the training time
MOST_SECONDS = 0.2  # that a save and an export stop the loop
_SECONDS = 2.0  # of a turn's steps, about
_BRIEF = {"feature_size": 8, "batch_size": 8}
STEPS, LOG, LOOK, SAVE, EXPORT = "steps alone", "and the log", "and a look", "and a save", "and an export"
STOP = "the loop stops"


def rows(options):
    """Returns the `table.Row`s of each preset."""
    found = []
    for preset in PRESETS:
        settings = _BRIEF if options.brief else {}
        maker = (run_beside, preset, options.faces(), str(options.scratch / f"overhead_{preset}"), settings)
        with turns.in_processes({preset: maker}) as works:
            print(f"  {preset}: {options.turns} turns, after one to warm up", flush=True)
            rounds = [works[preset]() for _ in range(options.turns + 1)][1:]
        measured = {name: [each[name] for each in rounds] for name in rounds[0]}
        found += _rows(preset, train.TrainOptions.of_preset(preset), measured)
    return found


def _rows(preset, options, measured):
    found = shares(measured, options)
    told = ", ".join(
        f"{name.removeprefix('and ')} {_cost(measured, name):.2g} s ({share:.2%})" for name, share in found.items()
    )
    return [
        table.Row(
            what=f"pictures, logs, metrics and saves, preset {preset}",
            unit="s a step",
            measured={STEPS: measured[STEPS], LOG: measured[LOG]},
            judged="share of the training time, as often as the flags' defaults have it",
            number=sum(found.values()),
            at_most=MOST_SHARE,
            remark=f"the steps take so much longer beside {told}",
        ),
        table.Row(
            what=f"a save and an export, preset {preset}",
            unit="s",
            measured={STOP: measured[STOP]},
            judged="seconds that the loop stops; the rest is done beside the steps",
            number=statistics.median(measured[STOP]),
            at_most=MOST_SECONDS,
        ),
    ]


def shares(measured, options):
    """Returns which share of the training time everything beside the steps takes; what is lost in the noise takes none.

    Args:
      measured: {what is done: [seconds]}, of `run_beside`.
      options: `TrainOptions`, which say how often it is done.
    """
    step = statistics.median(measured[STEPS])
    periods = {
        LOG: step,
        LOOK: options.export_image_steps * step,
        SAVE: options.save_secs,
        EXPORT: options.export_model_steps * step,
    }
    return {name: max(0.0, _cost(measured, name)) / period for name, period in periods.items()}


def _cost(measured, name):
    """Returns the median, over the turns, of the seconds that something takes from the steps beside it."""
    return statistics.median(with_it - alone for with_it, alone in zip(measured[name], measured[STEPS], strict=True))


def run_beside(preset, pattern, folder, settings):
    """Returns a piece of work: a round of turns of a run, {what is done: seconds}.

    All take as many steps and wait until what is done beside them has ended. The seconds of the steps alone and of the
    log are those of one step; of the others it is the turn's seconds, less those of all but one of its steps alone.
    """
    run = _Run(preset, pattern, storage.path(folder), settings)
    count = max(1, round(_SECONDS / turns.seconds_of(run.step)))

    def work():
        with contextlib.redirect_stdout(io.StringIO()):
            return run.round(count)

    return work


class _Run:
    """A run as `gan.train` makes it, whose parts are called one by one."""

    def __init__(self, preset, pattern, path, settings):
        options = train.TrainOptions.of_preset(
            preset, train_data_pattern=pattern, train_dir=str(path), num_epochs=10**6, **settings
        )
        data, networks, self._steps = trainings.begin(options)
        exporter = export_model.Exporter(networks.current_pair(), networks.contest, {})
        self._made = iter(self._steps)
        self._log = training_log.TrainingLog(
            path,
            path / "images",
            data.shape,
            0,
            self._steps.last,
            options.batch_size,
            0,
            tracking.make(options.track),
            {"options": {"train_dir": str(path)}},
        )
        folder = training_state.RunFolder(path)
        self.keeper = keeper.Keeper(options, folder, data, networks, exporter, self._log, self._steps.held_out, 0)
        self.step()  # the first is slower

    def step(self):
        next(self._made)

    def round(self, count):
        before = self.seconds(count)
        with_log = self.seconds(count, logged=True)
        begun = {LOOK: self.keeper.look, SAVE: self.keeper.save, EXPORT: self.keeper.export}
        beside = {name: self.seconds(count, begin) for name, begin in begun.items()}
        alone = (before + self.seconds(count)) / 2  # the machine's speed may drift within a round
        found = {STEPS: alone / count, LOG: with_log / count}
        found |= {name: seconds - alone + alone / count for name, seconds in beside.items()}
        return found | {STOP: self.seconds_of_stop()}

    def seconds(self, count, begin=None, logged=False):
        """Returns how long steps take, with something that is begun beside them and ended."""
        return turns.seconds_of(lambda: self._make(count, begin, logged))

    def _make(self, count, begin, logged):
        if begin:
            begin(self._steps.done)
        for metrics, learning_rate in itertools.islice(self._made, count):
            if logged:
                self._log.step(self._steps.done, metrics, learning_rate)
            self.keeper.tell()
        self.keeper.finish()

    def seconds_of_stop(self):
        """Returns how long the loop stops for a save and an export."""
        self.step()

        def stop():
            self.keeper.save(self._steps.done)
            self.keeper.export(self._steps.done)

        seconds = turns.seconds_of(stop)
        self.keeper.finish()
        return seconds
