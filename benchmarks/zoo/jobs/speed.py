"""How many images a second does a preset train on, and of what size is it?"""

import dataclasses
import functools
import math
import os
import pathlib
import platform
import re
import statistics

from etils import epy

from benchmarks.zoo import plans, presets
from benchmarks.zoo.jobs import train
from benchmarks.zoo.jobs.job import Job
from gan import training_state

with epy.lazy_imports():
    import keras
    import tensorflow as tf

    from gan import battle_pair, guard

FIRST_STEPS = 30  # by which the others are counted
WARM_UP_SECONDS = 5.0  # a run that begins makes ready for its pictures and exports beside the first steps
COUNTED_SECONDS = 15.0


def jobs(preset):
    """Returns the jobs of a preset, one for each turn."""
    work = functools.partial(measure, preset=preset)
    return [Job("speed", name, (preset,), work) for name in plans.speed_names(preset)]


def measure(comparison, preset):
    """Trains for a moment and reads the log; the result says also what was trained, and on what."""
    options = presets.settings_of(preset)
    folder = comparison.folder / "speed"
    folder.rmtree(missing_ok=True)
    every = round_of(options)
    first_rounds = 1 + math.ceil(FIRST_STEPS / every)
    first = first_rounds * every

    def rate(steps, uncounted):
        """Trains up to so many steps, and leaves out the first ones."""
        train.run(comparison, preset, 0, folder, steps, steps)
        rates = logged_rates((folder / "train.log").read_text())[uncounted:]
        return rate_of(rates, options.batch_size, every)

    steps_per_second = rate(first, uncounted=first_rounds // 2 * every) / options.batch_size
    lengths = (comparison.options.minutes_scale * seconds for seconds in (WARM_UP_SECONDS, COUNTED_SECONDS))
    warm, counted = (math.ceil(steps_per_second * seconds) for seconds in lengths)
    value = {
        "images_per_second": rate(first + warm + max(counted, 2 * every), uncounted=first + warm),
        "parameters": count_parameters(folder),
        "settings": dataclasses.asdict(options),
        "machine": machine(),
    }
    folder.rmtree()
    return value


def round_of(options):
    """Returns after how many steps training does the same again: penalties and the guard wait for some steps."""
    penalties = options.gradient_penalty_interval if options.gradient_penalties else 1
    return math.lcm(penalties, guard.EVERY if options.negatives else 1)


def logged_rates(log):
    """Returns the images per second of each step, from the text of a `train.log`."""
    return [float(rate) for rate in re.findall(r"^training step \d+ .*Examples/sec: ([\d.]+)", log, re.MULTILINE)]


def rate_of(rates, batch_size, every):
    """Returns the images per second of training.

    Args:
      rates: images per second of each step, after the warm-up.
      batch_size: images per step.
      every: steps of a round; only whole ones can be compared.
    """
    seconds = [batch_size / rate for rate in rates]
    rounds = [sum(seconds[i : i + every]) for i in range(0, len(seconds) - every + 1, every)]
    return every * batch_size / statistics.median(rounds)


def count_parameters(folder):
    """Returns the numbers of trained parameters [of G, of D] of the run in a folder."""
    pair = battle_pair.of_run(training_state.RunFolder(folder).options())
    networks = (pair.generator, pair.discriminator)
    return [sum(math.prod(variable.shape) for variable in network.trainable_variables) for network in networks]


def machine():
    """Returns what speed depends on, in words."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else []
    devices = tf.config.list_physical_devices("GPU")
    gpus = [tf.config.experimental.get_device_details(device)["device_name"] for device in devices]
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {', '.join(gpus) or 'no GPU'}; "
        f"Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )
