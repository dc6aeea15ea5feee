"""The memory of training: its peak, and whether it grows."""

import contextlib
import io
import pathlib
import resource

import numpy as np

from benchmarks import table, turns
from gan import storage, tracking, train

STEPS = {"sample": 10_000, "dcgan": 500}
MOST_GROWTH = 0.02  # of the memory, over the steps that count
_BRIEF = {"sample": 400, "dcgan": 20}
_BRIEF_SETTINGS = {"sample": {}, "dcgan": {"feature_size": 8, "batch_size": 8}}
_SETTLED = 0.3  # of the steps: until then caches fill
_FILE = "memory.json"


def rows(options):
    """Returns a `table.Row` for each preset."""
    found = []
    for preset, steps in (_BRIEF if options.brief else STEPS).items():
        print(f"  {preset}: {steps} steps", flush=True)
        settings = _BRIEF_SETTINGS[preset] if options.brief else {}
        folder = options.scratch / f"memory_{preset}"
        with turns.in_processes({preset: (training, preset, options.faces(), steps, str(folder), settings)}) as works:
            peak = works[preset]()
        found += _rows(preset, storage.read_json(folder / _FILE), peak)
    return found


def _rows(preset, samples, peak):
    steps, megabytes = np.array(samples["steps"]), np.array(samples["megabytes"])
    counted = steps >= _SETTLED * steps[-1]
    return [
        table.Row(
            what=f"memory of training, preset {preset}",
            unit="MB",
            measured={"resident": megabytes[counted].tolist()},
            judged="MB at the peak",
            number=peak,
        ),
        table.Row(
            what=f"memory of training over {steps[-1]} steps, preset {preset}",
            unit="MB",
            measured={"resident": megabytes[counted].tolist()},
            judged="growth of a fitted line, as a share",
            number=growth(steps[counted], megabytes[counted]),
            at_most=MOST_GROWTH,
            remark=f"{1000 * slope(steps[counted], megabytes[counted]):.2g} MB in 1,000 steps, "
            f"from step {steps[counted][0]} on, with a look, a save and exports on the way",
        ),
    ]


def slope(steps, megabytes):
    """Returns megabytes a step."""
    return float(np.polyfit(steps, megabytes, 1)[0])


def growth(steps, megabytes):
    """Returns by which share of its mean the memory grows from the first step to the last."""
    return slope(steps, megabytes) * float(steps[-1] - steps[0]) / float(np.mean(megabytes))


def training(preset, pattern, steps, folder, settings):
    """Returns a piece of work: a run of `gan.train`, which keeps samples of its memory; it returns the peak in MB."""
    options = train.TrainOptions.of_preset(
        preset,
        train_data_pattern=pattern,
        train_dir=folder,
        num_epochs=10**6,
        max_steps=steps,
        track="tensorboard,benchmarks.memory.MemoryTracker",
        **settings,
    )

    def work():
        with contextlib.redirect_stdout(io.StringIO()):
            train.train(options)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    return work


class MemoryTracker(tracking.BaseTracker):
    """Keeps the resident memory of the process at each tenth step, in `memory.json` of the run's folder."""

    def start(self, folder, run, step):
        self._file = folder / _FILE
        self._samples = {"steps": [], "megabytes": []}

    def scalars(self, step, values):
        if "g_loss" in values:  # once at a step
            self._samples["steps"].append(step)
            self._samples["megabytes"].append(resident_megabytes())

    def close(self, failed):
        storage.write_json(self._file, self._samples)


def resident_megabytes():
    """Returns the memory of this process that is in use, on Linux."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
