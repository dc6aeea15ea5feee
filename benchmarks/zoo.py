"""Compares the presets: speed, quality after equal time, refusals, a league, duels; writes the README's tables.

    python benchmarks/zoo.py --folder=zoo --data=faces --train_data_pattern='faces/train*.tfrecords' \\
        --validation_data_pattern='faces/validation*.tfrecords'
    python benchmarks/zoo.py --folder=zoo --data=digits    # the embedded digits; or the patterns of 28x28 records
    python benchmarks/zoo.py --folder=zoo --table          # README.md and pics/zoo/ from what is there

"10 minutes" of a preset are 600 times as many images as it trains on in a second. That rate is measured first, the
presets in turn, and kept; so all that a clock decides is one number for each preset, and with that number a run gives
the same result again, on a busy machine too. A minute is a whole number of steps.

What is finished is kept in FOLDER/results.json, job by job, and not done again: stop it at any time and give the same
command. `--only=dcgan,default` and `--jobs=speed,train` do a part; `--dry_run` lists what is left.
"""

import csv
import dataclasses
import datetime
import functools
import hashlib
import io
import itertools
import math
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
from etils import epy

from gan import (
    digits,
    feature_networks,
    flags,
    memorisation,
    metrics,
    pictures,
    presets,
    random_noise_generator,
    seeds,
    spec,
    storage,
    train,
    training_state,
)
from gan.arena import options as arena_options
from gan.errors import InputError, Interrupted, RunError
from gan.flags import flag

with epy.lazy_imports():
    import keras
    import tensorflow as tf
    from statsmodels.stats import proportion

    from gan import class_lookup, model_builder, models
    from gan.arena import ledger, match, ratings, rounds

README = pathlib.Path(__file__).parent.parent / "README.md"
RESULTS = "results.json"
PICTURES = "pics/zoo"  # beside the README
BEGIN, END = "<!-- zoo -->\n", "<!-- end -->"
KINDS = ("speed", "reference", "train", "measure", "check", "league", "duel", "goal")
SHAPES = {"faces": spec.ContestSpec().image_shape, "digits": digits.SHAPE}

MINUTES = 10  # that every preset trains
WARM_UP_STEPS = 10
SPEED_STEPS = 20  # that count, in each turn
SPEED_TURNS = 3
LEAGUE_ROUNDS = 3
MOST_BATTLE_ROUNDS = 99
MEMORISATION_IMAGES = 1000
ROW_IMAGES = 8
STARTUP_MINUTES = 0.5  # of a training process; for the estimates alone
OWN_MODELS = "--sandbox=off"
BATCH = 500  # images generated at once
SECONDS_BETWEEN_LINES = 60.0


@dataclasses.dataclass(frozen=True)
class Goal:
    """In how many minutes does one preset reach the KID of another?

    Attributes:
      preset: which is to reach it; it is looked at every `every` minutes until `until`, and at its longer points.
      target: whose KID.
      minutes: after how many minutes of its own.
    """

    preset: str
    target: str
    minutes: int
    every: int
    until: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is done beyond every preset's first minutes.

    Attributes:
      longer: {preset: minutes}.
      seeds: {preset: seeds}, beside seed 0.
      duels: (preset, rival, minutes).
      goal: a `Goal`, or None.
    """

    longer: dict = dataclasses.field(default_factory=dict)
    seeds: dict = dataclasses.field(default_factory=dict)
    duels: tuple = ()
    goal: Goal | None = None


PLANS = {
    "faces": Plan(
        longer={"default": (30, 60), "dcgan": (30, 60), "sample": (30,)},
        seeds={"default": (1, 2), "dcgan": (1, 2)},
        duels=tuple(("default", rival, minutes) for minutes in (30, MINUTES) for rival in ("sample", "dcgan")),
        goal=Goal("default", "dcgan", minutes=60, every=2, until=14),
    ),
    "digits": Plan(),
}


@dataclasses.dataclass(frozen=True)
class Point:
    """A training run, and how many minutes it has gone on."""

    preset: str
    seed: int
    minutes: int

    @property
    def run(self):
        return f"{self.preset}-{self.seed}"

    @property
    def name(self):
        return f"{self.run}-{self.minutes}"


def first_point(preset):
    """Returns the `Point` that every preset has."""
    return Point(preset, 0, MINUTES)


def planned_points(plan, chosen):
    """Returns the `Point`s to train, those first that matter most; of one run, the shorter ones come first."""
    found = [first_point(preset) for preset in chosen]
    for preset in chosen:
        found += [Point(preset, 0, minutes) for minutes in plan.longer.get(preset, ())]
        found += [Point(preset, seed, MINUTES) for seed in plan.seeds.get(preset, ())]
    if plan.goal and plan.goal.preset in chosen:
        found.append(Point(plan.goal.preset, 0, plan.goal.until))
    return sorted(found, key=lambda point: (point.seed, point.minutes))  # a stable sort: presets keep their order


def steps_per_minute(rate, batch_size, scale=1.0):
    """Returns the training steps that are called a minute.

    Args:
      rate: images per second.
      batch_size: images per step.
      scale: length of a minute in minutes.
    """
    return max(1, round(60 * scale * rate / batch_size))


def rate_of(rates, batch_size, interval):
    """Returns the images per second of training.

    Args:
      rates: images per second of each step, after the warm-up.
      batch_size: images per step.
      interval: every so many steps one does more than the others; only whole rounds of them can be compared.
    """
    seconds = [batch_size / rate for rate in rates]
    cycles = [sum(seconds[i : i + interval]) for i in range(0, len(seconds) - interval + 1, interval)]
    return interval * batch_size / statistics.median(cycles)


def logged_rates(log):
    """Returns the images per second of each step, from the text of a `train.log`."""
    return [float(rate) for rate in re.findall(r"^training step \d+ .*Examples/sec: ([\d.]+)", log, re.MULTILINE)]


def battle_sizes(total, most):
    """Returns the numbers of rounds of battles that have `total` together, and none more than `most`."""
    return [min(most, total - begin) for begin in range(0, total, most)]


def won_share(points):
    """Counts rounds.

    Args:
      points: (own, the rival's) of each round.

    Returns:
      {"rounds", "won", "tied", "lost", "share": [share, low, high]}. Half of a tie is won. The interval is Wilson's, of
      95 %, which is a little wide where there are ties.
    """
    won, tied = sum(own > rival for own, rival in points), sum(own == rival for own, rival in points)
    count = won + tied / 2
    low, high = proportion.proportion_confint(count, len(points), method="wilson")
    share = [count / len(points), float(low), float(high)]
    return {"rounds": len(points), "won": won, "tied": tied, "lost": len(points) - won - tied, "share": share}


def round_points(result):
    """Returns (a's, b's) points of each round of a `match.json`."""
    found = []
    for played in result["rounds"]:
        points = {direction["discriminator"]: direction["points"] for direction in played["directions"]}
        found.append((points["a"], points["b"]))
    return found


def league_scores(contest):
    """Returns the `ratings.Score`s of a `tournament.json`, under the teams' names."""
    names = {team["slug"]: team["name"] for team in contest["teams"]}
    rows = [row for played in contest["matches"] for row in played["directions"]]
    return [ratings.Score(*(names[who.partition("@")[0]] for who in row[:2]), *row[2:]) for row in rows]


class Results:
    """`results.json`: {data: {kind of job: {name of the job: what came of it}}}.

    Every value names the presets that it is about, so that one of them can be forgotten.

    Args:
      file: an `epath.Path`.
      data: "faces" or "digits".
    """

    def __init__(self, file, data):
        self._file = file
        self._everything = storage.read_json(file) if file.exists() else {}
        self._own = self._everything.setdefault(data, {})

    def of_kind(self, kind):
        """Returns {name: value}."""
        return self._own.get(kind, {})

    def get(self, kind, name):
        """Returns a value, or None."""
        return self.of_kind(kind).get(name)

    def keep(self, kind, name, about, value):
        today = datetime.date.today().isoformat()
        self._own.setdefault(kind, {})[name] = {"presets": list(about), "date": today, **value}
        self._write()

    def forget(self, preset):
        """Drops everything that is about a preset."""
        for kind, values in self._own.items():
            self._own[kind] = {name: value for name, value in values.items() if preset not in value["presets"]}
        self._write()

    def _write(self):
        storage.write_json(self._file, self._everything)


def run_command(name, *arguments, fine=(0,)):
    """Runs a command of the package in a process of its own and shows its newest line.

    A signal to this process ends the command, which saves, before `Interrupted` is raised.

    Args:
      name: as in `python -m gan.NAME`.
      arguments: its flags.
      fine: exit codes.

    Raises:
      RunError: it ended with another exit code.
    """
    line = [sys.executable, "-u", "-m", f"gan.{name}", *arguments]
    # In a session of its own it gets the terminal's Ctrl-C once, from here: at the second it would not save.
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(line, text=True, errors="replace", start_new_session=True, **pipes) as process:
        try:
            last = show_lines(process.stdout)
        except Interrupted:
            process.terminate()
            raise  # once it has ended
    if process.returncode not in fine:
        raise RunError(f"gan.{name} ended with exit code {process.returncode}: {last}")


def show_lines(lines):
    """Shows each line in place of the one before; where there is no terminal, one a minute. Returns the last one."""
    terminal, begin = sys.stdout.isatty(), time.monotonic()
    width = shutil.get_terminal_size().columns - 1
    last, shown = "no output", begin
    for line in lines:
        last, now = line.strip() or last, time.monotonic()
        text = f"  {(now - begin) / 60:5.1f} min  {last}"
        if terminal:
            print(f"\r{text[:width]:{width}}", end="", flush=True)
        elif now - shown >= SECONDS_BETWEEN_LINES:
            print(text, flush=True)
            shown = now
    if terminal:
        print(f"\r{'':{width}}", end="\r", flush=True)
    return last


@functools.cache
def settings_of(preset):
    """Returns the `train.TrainOptions` of a preset."""
    return flags.parse(train.TrainOptions, ["gan", f"--preset={preset}"])


def needs_labels(preset):
    options = settings_of(preset)
    names = {flag_name: getattr(options, flag_name) for flag_name in ("generator_model", "discriminator_model")}
    found = [class_lookup.find(name, "gan.models", models.BaseModel, flag_name) for flag_name, name in names.items()]
    return any(model.uses_labels for model in found)


class Zoo:
    """One data set: what is asked for, what is finished, where things lie.

    Args:
      options: `ZooOptions`.

    Attributes:
      plan: the `Plan`.
      shape: (height, width, channels).
      folder: of this data set's runs, an `epath.Path`.
      results: the `Results`.
      chosen: presets to work on.
    """

    def __init__(self, options):
        self.options = options
        self.plan = PLANS[options.data]
        self.shape = SHAPES[options.data]
        self.folder = storage.path(options.folder) / options.data
        self.results = Results(storage.path(options.folder) / RESULTS, options.data)
        self.chosen = chosen_presets(options)

    def field(self):
        """Returns the presets of the league: those to work on and those that were trained before."""
        trained = {name for value in self.results.of_kind("train").values() for name in value["presets"]}
        others = [name for name in presets.own_names() if name in trained and name not in self.chosen]
        return sorted([*self.chosen, *others])

    def jobs(self):
        """Returns the jobs that are left of those that are asked for."""
        every = planned_jobs(self.plan, self.chosen, self.field(), self.options)
        return [job for job in every if job.kind in self.options.kinds and not job.is_done(self.results)]

    def finish(self, job):
        """Returns the result of a job: what is kept, or what is made and kept now."""
        if not job.is_done(self.results):
            self.results.keep(job.kind, job.name, job.presets, job.work(self))
        return self.results.get(job.kind, job.name)

    def steps(self, point):
        """Returns the training steps until a point."""
        turns = [self.results.get("speed", f"{point.preset}/{turn}") for turn in range(SPEED_TURNS)]
        rate = statistics.median(turn["images_per_second"] for turn in turns)
        batch_size = turns[0]["settings"]["batch_size"]
        return point.minutes * steps_per_minute(rate, batch_size, self.options.minutes_scale)

    def submission(self, point):
        """Returns the folder with the SavedModel of a point."""
        return self.folder / point.run / "export" / f"step_{self.steps(point)}"

    def data_flags(self, **patterns):
        """Returns the flags of a command that name the data, {kind of data: pattern}; none for embedded digits."""
        named = [f"--{kind}_data_pattern={pattern}" for kind, pattern in patterns.items() if pattern]
        return [*named, "--use_mnist"] if named and self.options.data == "digits" else named

    @functools.cached_property
    def judge(self):
        return Judge(self.options, self.shape)

    def most_rounds(self):
        """Returns the rounds that a battle can have."""
        contest = arena_options.ImagesOptions()
        terms = rounds.Terms(spec.ContestSpec(*self.shape), contest.num_generate, contest.num_reals)
        found = len(self.judge.data["validation"])
        possible = [count for count in range(1, MOST_BATTLE_ROUNDS + 1) if match.reals_needed(count, terms) <= found]
        return max(possible, default=1)

    def forget(self, preset):
        """Drops everything about a preset; its runs are moved aside."""
        entries = list(self.folder.iterdir()) if self.folder.exists() else []
        for run in entries:
            if re.fullmatch(re.escape(preset) + r"-\d+", run.name):
                places = (self.folder / "previous" / f"{run.name}.{number}" for number in itertools.count(1))
                aside = next(place for place in places if not place.exists())
                aside.parent.mkdir(exist_ok=True)
                storage.move(run, aside)
        self.results.forget(preset)

    def changed_presets(self):
        """Returns {preset: {setting: [as measured, now]}} of presets that are no longer what was measured."""
        found = {}
        for preset in self.chosen:
            before = (self.results.get("speed", f"{preset}/0") or {}).get("settings", {})
            now = {name: value for name, value in dataclasses.asdict(settings_of(preset)).items() if name in before}
            found[preset] = training_state.changes(before, now)
        return {preset: changes for preset, changes in found.items() if changes}

    def settle(self):
        """Makes sure that all results in the folder are about the same thing.

        Raises:
          InputError: they would not be.
        """
        now = {split: data.fingerprint for split, data in self.judge.data.items()}
        now |= {name: getattr(self.options, name) for name in ("minutes_scale", "num_generated", "duel_rounds")}
        changes = training_state.changes(self.results.get("settings", "settings") or now, now)
        if changes:
            words = "; ".join(f"{name} was {old}, is now {new}" for name, (old, new) in changes.items())
            raise InputError(f"{self.options.folder} holds results of something else: {words}; name another --folder")
        self.results.keep("settings", "settings", (), {**now, "embedded": not self.options.train_data_pattern})


def chosen_presets(options):
    """Returns the presets to work on.

    Raises:
      InputError: one that is named does not exist, or cannot learn from these data.
    """
    named = [name.strip() for name in options.only.split(",") if name.strip()]
    unfit = [name for name in named or presets.own_names() if needs_labels(name) and options.data != "digits"]
    if named and unfit:
        raise InputError(f"--only={','.join(unfit)}: learns from labels, and {options.data} have none")
    return [name for name in named or presets.own_names() if name not in unfit]


class Judge:
    """Measures images against those of the data set.

    Args:
      options: `ZooOptions`.
      shape: (height, width, channels).
    """

    def __init__(self, options, shape):
        self._options = options
        self._shape = shape
        self.data = {
            "train": arena_options.load_images(options.train_data_pattern, shape, "train"),
            "validation": arena_options.load_images(options.validation_data_pattern, shape, "validation"),
        }

    @functools.cached_property
    def pixels(self):
        """{"train", "validation"}: uint8 [N, height * width * channels]."""
        return {split: data.pixels.take(np.arange(len(data))) for split, data in self.data.items()}

    def _features_of(self, pixels):
        return feature_networks.load(feature_networks.choose(self._shape)).features(pixels, self._shape)

    @functools.cached_property
    def _features(self):
        return {split: self._features_of(pixels) for split, pixels in self.pixels.items()}

    @functools.cached_property
    def _neighbours(self):
        """The training set to look for copies in, and the `Neighbours` of the validation images there."""
        training = memorisation.TrainingSet(self.pixels["train"], self._shape)
        return training, training.nearest(self.pixels["validation"])

    def generate(self, folder):
        """Returns the images of a submission's generator for fixed latents, uint8 [num_generated, D]."""
        loaded = tf.saved_model.load(str(folder))
        generate = loaded.signatures[spec.GENERATOR.signature]
        noise = random_noise_generator.generate_noise(self._options.num_generated, rng=seeds.generator(0, "zoo"))
        batches = [tf.constant(noise[begin : begin + BATCH]) for begin in range(0, len(noise), BATCH)]
        return np.concatenate([spec.to_8bit(generate(**{spec.NOISE: batch})[spec.IMAGES].numpy()) for batch in batches])

    @functools.cached_property
    def _some_training(self):
        """Features of as many training images as are generated, as far as there are."""
        features = self._features["train"]
        order = seeds.generator(0, "zoo", "training").permutation(len(features))
        return features[np.sort(order[: self._options.num_generated])]

    def kid(self, pixels):
        return metrics.kid(self._some_training, self._features_of(pixels))

    def against_training(self, pixels):
        """Returns {measure: [value, low, high]}, compared with training images."""
        return report(self._some_training, self._features_of(pixels))

    def against_validation(self, pixels):
        """Returns the same, compared with the validation images, of which there are few: as many are taken."""
        features = self._features["validation"]
        return report(features, self._features_of(pixels[: len(features)]), self._features["train"])

    def copies(self, pixels):
        """Returns [close, looked at]: how many of some images are suspiciously near to a training image."""
        training, others = self._neighbours
        close = memorisation.memorisation(training, pixels[:MEMORISATION_IMAGES], others).close
        return [int(close.sum()), len(close)]


def report(*features):
    """Returns `metrics.report` as plain data."""
    found = metrics.report(*features)
    return {name: plain([estimate.value, estimate.low, estimate.high]) for name, estimate in found.items()}


def plain(numbers):
    """Numbers for JSON, which knows no infinity."""
    return [float(number) if math.isfinite(number) else None for number in numbers]


@dataclasses.dataclass(frozen=True)
class Job:
    """A piece of work whose result is kept.

    Attributes:
      kind, name: under which it is kept.
      presets: what it is about.
      work: makes the result, plain data, of a `Zoo`.
      needs: (kind, name) of the jobs that it builds on.
      minutes: how long it takes, about.
    """

    kind: str
    name: str
    presets: tuple
    work: object
    needs: tuple = ()
    minutes: float = 1.0

    def is_done(self, results):
        """Whether its result is kept, and is about the same presets."""
        kept = results.get(self.kind, self.name)
        return kept is not None and kept["presets"] == list(self.presets)


def planned_jobs(plan, chosen, field, options):
    """Returns all jobs of a data set, in order; see `planned_points`.

    Args:
      plan: a `Plan`.
      chosen: presets to work on.
      field: presets of the league, the chosen ones among them.
      options: `ZooOptions`.
    """
    points = planned_points(plan, chosen)
    first = [point for point in points if point == first_point(point.preset)]
    longer = [point for point in points if not point.seed and point not in first]
    jobs = [speed_job(preset, turn) for turn in range(SPEED_TURNS) for preset in chosen]
    jobs.append(Job("reference", "reals", (), measure_reals))
    for point in first:
        jobs += [train_job(point, points, options), measure_job(point), check_job(point)]
    if len(field) > 2:  # of two, each G meets but one D, and nothing can be compared
        jobs.append(league_job(field))
    for point in longer:
        jobs.append(train_job(point, points, options))
        if point.minutes in plan.longer.get(point.preset, ()):
            jobs.append(measure_job(point))
    jobs += [duel_job(*duel, options) for duel in plan.duels if set(duel[:2]) <= set(field)]
    if plan.goal and {plan.goal.preset, plan.goal.target} <= set(field):
        jobs.append(goal_job(plan.goal, plan.longer.get(plan.goal.preset, ())))
    for point in points:
        if point.seed:
            jobs += [train_job(point, points, options), measure_job(point)]
    return jobs


def speed_job(preset, turn):
    return Job("speed", f"{preset}/{turn}", (preset,), functools.partial(measure_speed, preset=preset))


def measure_speed(zoo, preset):
    """Trains for a moment and reads the log; the result says also what was trained, and on what."""
    options = settings_of(preset)
    interval = options.gradient_penalty_interval if options.gradient_penalties else 1
    warm_up = max(WARM_UP_STEPS, interval)
    steps = warm_up + max(SPEED_STEPS, 2 * interval)
    folder = zoo.folder / "speed"
    folder.rmtree(missing_ok=True)
    train_run(zoo, preset, 0, folder, steps, steps)
    rates = logged_rates((folder / "train.log").read_text())[warm_up:]
    value = {
        "images_per_second": rate_of(rates, options.batch_size, interval),
        "parameters": count_parameters(folder),
        "settings": dataclasses.asdict(options),
        "machine": machine(),
    }
    folder.rmtree()
    return value


def train_run(zoo, preset, seed, folder, steps, steps_between_exports):
    run_command(
        "train",
        *(f"--preset={preset}", f"--seed={seed}", f"--train_dir={folder}", f"--max_steps={steps}"),
        *(f"--export_model_steps={steps_between_exports}", f"--num_epochs={10**9}", "--noexport_generated_images"),
        *zoo.data_flags(train=zoo.options.train_data_pattern),
    )


def count_parameters(folder):
    """Returns the numbers of trained parameters [of G, of D] of the run in a folder."""
    run = training_state.RunFolder(folder).options()
    options = run["options"]
    pair = model_builder.build_pair(
        options["generator_model"],
        options["discriminator_model"],
        spec.ContestSpec(*run["image_shape"], options["latent_size"]),
        options["feature_size"],
        options["seed"],
        run["num_classes"],
    )
    return [sum(math.prod(variable.shape) for variable in model.trainable_variables) for model in pair]


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


def train_job(point, points, options):
    """Makes the job of training up to a point, from the one of `points` before it in the same run."""
    before = [other.minutes for other in points if other.run == point.run and other.minutes < point.minutes]
    minutes = STARTUP_MINUTES + (point.minutes - max(before, default=0)) * options.minutes_scale
    needs = tuple(("speed", f"{point.preset}/{turn}") for turn in range(SPEED_TURNS))
    return Job("train", point.name, (point.preset,), functools.partial(train_to, point=point), needs, minutes)


def train_to(zoo, point):
    """Trains up to a point; the preset that has a goal leaves exports on the way to it."""
    goal, steps = zoo.plan.goal, zoo.steps(point)
    watched = goal and (point.preset, point.seed) == (goal.preset, 0) and point.minutes <= goal.until
    between = zoo.steps(dataclasses.replace(point, minutes=goal.every)) if watched else steps
    train_run(zoo, point.preset, point.seed, zoo.folder / point.run, steps, between)
    return {"steps": steps, "images": steps * settings_of(point.preset).batch_size}


def measure_job(point):
    work = functools.partial(measure_point, point=point)
    return Job("measure", point.name, (point.preset,), work, (("train", point.name),), minutes=2.0)


def measure_point(zoo, point):
    """Measures the images of a point's generator, and keeps a row of them as a picture."""
    pixels = zoo.judge.generate(zoo.submission(point))
    row = pictures.grid(pixels[:ROW_IMAGES], zoo.shape, ROW_IMAGES)
    pictures.save_png(zoo.folder / "rows" / f"{point.name}.png", row)
    return {
        "training": zoo.judge.against_training(pixels),
        "validation": zoo.judge.against_validation(pixels),
        "copies": zoo.judge.copies(pixels),
    }


def measure_reals(zoo):
    """Measures the validation images as if they were generated: what nobody is expected to beat."""
    counts = {split: len(data) for split, data in zoo.judge.data.items()}
    return {"training": zoo.judge.against_training(zoo.judge.pixels["validation"]), "images": counts}


def check_job(point):
    work = functools.partial(check_point, point=point)
    return Job("check", point.preset, (point.preset,), work, (("train", point.name),), minutes=0.5)


def check_point(zoo, point):
    """Asks `gan.check_submission`; returns the rules that fail and those that warn, and all messages."""
    output = zoo.folder / "check" / point.preset
    output.rmtree(missing_ok=True)
    run_command(
        "check_submission",
        *(f"--train_dir={zoo.submission(point)}", f"--output_dir={output}", "--json", OWN_MODELS),
        *zoo.data_flags(input=zoo.options.validation_data_pattern, train=zoo.options.train_data_pattern),
        fine=(0, 1),  # 1: it may not battle
    )
    findings = storage.read_json(output / "check.json")["findings"]
    failed, warned = ([f["rule"] for f in findings if f["status"] == status] for status in ("FAIL", "WARN"))
    return {"failed": failed, "warned": warned, "messages": {f["rule"]: f["message"] for f in findings}}


def league_job(field):
    needs = tuple(("train", first_point(preset).name) for preset in field)
    minutes = LEAGUE_ROUNDS * (0.5 + 0.02 * math.comb(len(field), 2))
    work = functools.partial(play_league, field=field)
    return Job("league", "league", tuple(field), work, needs, minutes)


def play_league(zoo, field):
    """Plays all against all, several times; returns one rating, [value, low, high], for each G and each D."""
    lines = io.StringIO()
    teams = [(preset, zoo.submission(first_point(preset))) for preset in field]
    csv.writer(lines).writerows([("name", "submission"), *teams])
    folder = zoo.folder / "league" / hashlib.sha256(lines.getvalue().encode()).hexdigest()[:12]
    storage.write_text(folder / "teams.csv", lines.getvalue())
    fitted = ratings.Ratings([score for seed in range(LEAGUE_ROUNDS) for score in league_round(zoo, folder, seed)])
    tables = {"generators": fitted.of_generators(), "discriminators": fitted.of_discriminators()}
    return {
        "rounds": LEAGUE_ROUNDS,
        **{side: {row.name: plain([row.rating, row.low, row.high]) for row in rows} for side, rows in tables.items()},
    }


def league_round(zoo, folder, seed):
    output = folder / f"seed_{seed}"
    run_command(
        "tournament",
        *(f"--teams={folder / 'teams.csv'}", f"--output_dir={output}", f"--seed={seed}"),
        *("--format=league", "--nohouse", OWN_MODELS),
        *zoo.data_flags(input=zoo.options.validation_data_pattern),
    )
    return league_scores(storage.read_json(output / "tournament.json"))


def duel_job(preset, rival, minutes, options):
    points = (Point(preset, 0, minutes), Point(rival, 0, minutes))
    needs = tuple(("train", point.name) for point in points)
    work = functools.partial(play_duel, points=points)
    return Job("duel", f"{preset}-{rival}-{minutes}", (preset, rival), work, needs, 0.5 + 0.01 * options.duel_rounds)


def play_duel(zoo, points):
    """Plays as many battles as the rounds need: in one battle no real image is shown twice."""
    sizes = battle_sizes(zoo.options.duel_rounds, zoo.most_rounds())
    played = [battle(zoo, points, seed, size) for seed, size in enumerate(sizes)]
    return {"minutes": points[0].minutes, **won_share([pair for result in played for pair in round_points(result)])}


def battle(zoo, points, seed, size):
    """Returns the `match.json` of a battle of `size` rounds."""
    output = zoo.folder / "duels" / "-".join(point.name for point in points) / f"seed_{seed}"
    run_command(
        "battle",
        *(f"--team_{side}={p.preset}={zoo.submission(p)}" for side, p in zip("ab", points, strict=True)),
        *(f"--rounds={size}", f"--seed={seed}", "--tie_break=seed", f"--output_dir={output}", OWN_MODELS),
        *zoo.data_flags(input=zoo.options.validation_data_pattern),
    )
    (summary,) = storage.read_json(output / "tournament.json")["matches"]
    return storage.read_json(output / summary["folder"] / "match.json")


def goal_job(goal, longer):
    target, last = Point(goal.target, 0, goal.minutes), Point(goal.preset, 0, goal.until)
    later = [Point(goal.preset, 0, minutes) for minutes in longer]
    needs = (("train", last.name), *(("measure", point.name) for point in (target, *later)))
    work = functools.partial(reach_goal, target=target, later=later)
    return Job("goal", f"{goal.preset}-{target.name}", (goal.preset, goal.target), work, needs, goal.until / goal.every)


def reach_goal(zoo, target, later):
    """Returns a preset's KIDs as time goes on, and the minutes of the first that is no higher than the target's."""
    goal = zoo.plan.goal
    watched = [Point(goal.preset, 0, minutes) for minutes in range(goal.every, goal.until + 1, goal.every)]
    kids = {point.minutes: zoo.judge.kid(zoo.judge.generate(zoo.submission(point))) for point in watched}
    kids |= {point.minutes: kid_of(zoo.results.get("measure", point.name)) for point in later}
    wanted = kid_of(zoo.results.get("measure", target.name))
    reached = [minutes for minutes, kid in kids.items() if kid <= wanted]
    return {"kids": list(kids.items()), "minutes": min(reached, default=None), "target_minutes": target.minutes}


def kid_of(measured):
    """Returns the KID of what `measure_point` returned; infinity where there is none."""
    value = measured["training"]["kid"][0] if measured else None
    return math.inf if value is None else value


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZooOptions(flags.Options):
    """Flags of the comparison."""

    folder: str = flag("zoo/", "folder of everything that is finished")
    data: str = flag("faces", "data set to work on", choices=tuple(SHAPES))
    train_data_pattern: str = flag("", "record files to train on, comma-separated patterns; empty: embedded digits")
    validation_data_pattern: str = flag("", "record files that nothing trains on; empty: embedded digits")
    only: str = flag("", "presets to work on, comma-separated; empty: all")
    jobs: str = flag("", f"kinds of jobs to do, comma-separated, of {', '.join(KINDS)}; empty: all")
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
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise InputError(f"--jobs={','.join(unknown)}: expected some of {', '.join(KINDS)}")
        if bool(self.train_data_pattern) != bool(self.validation_data_pattern):
            raise InputError("--train_data_pattern and --validation_data_pattern go together: give both")
        if self.data != "digits" and not self.train_data_pattern and not self.table:
            raise InputError(f"--data={self.data} needs --train_data_pattern and --validation_data_pattern")

    @property
    def kinds(self):
        return [kind.strip() for kind in self.jobs.split(",") if kind.strip()] or KINDS


def compare(options):
    """Does what is left to do, lists it, or writes the tables.

    Args:
      options: `ZooOptions`.

    Raises:
      InputError: the options or the data do not fit what is kept in the folder.
      RunError: a command failed.
      Interrupted: a signal; what is finished is kept.
    """
    if options.table:
        write_tables(options)
    elif options.dry_run:
        list_jobs(Zoo(options).jobs())
    else:
        with ledger.Ledger(storage.path(options.folder)).lock():
            do_jobs(Zoo(options))


def stop(number, _):
    raise Interrupted("stopped; the same command goes on where it was", number)


def list_jobs(jobs):
    for job in jobs:
        print(f"{job.minutes:7.1f} min  {job.kind} {job.name}")
    print(f"{sum(job.minutes for job in jobs):7.0f} min  for {len(jobs)} jobs")


def do_jobs(zoo):
    zoo.settle()
    if zoo.options.remeasure:
        for preset in zoo.chosen:
            zoo.forget(preset)
    for preset, changes in zoo.changed_presets().items():
        words = ", ".join(f"{name} was {old}, is now {new}" for name, (old, new) in changes.items())
        print(f"warning: preset {preset} has changed ({words}); --remeasure --only={preset} does it anew")
    jobs = zoo.jobs()
    for number, job in enumerate(jobs, 1):
        heading = f"[{number}/{len(jobs)}] {job.kind} {job.name}"
        missing = [f"{kind} {name}" for kind, name in job.needs if zoo.results.get(kind, name) is None]
        if missing:
            print(f"{heading}: left out, because {missing[0]} is not done")
            continue
        print(f"{heading}: {datetime.datetime.now():%H:%M}, about {job.minutes:.1f} min", flush=True)
        value = zoo.finish(job)
        if job.kind in SUMMARIES:
            print(f"    {SUMMARIES[job.kind](value)}", flush=True)
    print("--table writes the README's tables")


def write_tables(options):
    """Writes the tables between the markers of the README and the pictures beside it; without markers, prints them.

    Raises:
      InputError: nothing is finished yet.
    """
    folder, readme = storage.path(options.folder), storage.path(options.readme or README)
    found = {data: Results(folder / RESULTS, data) for data in SHAPES}
    pages = [Tables(data, kept, folder / data / "rows") for data, kept in found.items() if kept.of_kind("settings")]
    if not pages:
        raise InputError(f"--folder={folder} holds no results; give the folder of an earlier run")
    text = "\n\n".join(page.text() for page in pages)
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        print(f"{text}\n\n{readme} has no markers {BEGIN.strip()} and {END}: nothing was written")
        return
    for page in pages:
        for source, target in page.pictures.values():
            storage.copy_file(source, readme.parent / target)
    storage.write_text(readme, f"{before}{begin}{text}\n{end}{after}")
    print(f"written: {readme}, {readme.parent / PICTURES}")


class Tables:
    """The Markdown text about one data set; what is missing is "-".

    Args:
      data: "faces" or "digits".
      results: its `Results`.
      rows: folder with the rows of images, an `epath.Path`.

    Attributes:
      pictures: {preset: (file, place beside the README)}.
    """

    def __init__(self, data, results, rows):
        self._data = data
        self._results = results
        names = {name: None for kind in KINDS for value in results.of_kind(kind).values() for name in value["presets"]}
        files = {name: (rows / f"{first_point(name).name}.png", f"{PICTURES}/{data}_{name}.png") for name in names}
        self._measured = {name: self._points_of(name) for name in names}
        self.pictures = {name: pair for name, pair in files.items() if (0, MINUTES) in self._measured[name]}

    def _points_of(self, preset):
        """Returns {(seed, minutes): what was measured}, in order."""
        found = {}
        for name, value in self._results.of_kind("measure").items():
            if value["presets"] == [preset]:
                seed, minutes = name.rsplit("-", 2)[1:]
                found[int(seed), int(minutes)] = value
        return dict(sorted(found.items()))

    def text(self):
        parts = (self._heading(), self._presets(), self._series(), self._seeds(), self._duels(), self._goals())
        return "\n\n".join(part for part in parts if part)

    def _heading(self):
        settings = self._results.get("settings", "settings")
        reference = self._results.get("reference", "reals")
        counts = reference["images"] if reference else {}
        split = f" ({counts['train']:,} images to train on, {counts['validation']:,} others)" if counts else ""
        patterns = "" if settings["embedded"] else " --train_data_pattern=... --validation_data_pattern=..."
        scale = settings["minutes_scale"]
        trial = "" if scale == 1 else f" **A trial: a minute has {60 * scale:g} seconds.**"
        return (
            f"**{self._data.capitalize()}**{split} after {MINUTES} minutes of training, that is, after {60 * MINUTES} "
            f"times the images per second, which were measured first.{trial} KID and Fréchet distance are "
            f"those of {settings['num_generated']:,} generated images in the features of `gan.feature_networks`, lower "
            "is better; ratings are Elo points of a league of all, 400 more are odds of 10 to 1 on an image; intervals "
            f"are of 95 %. Made {self._origin()} by\n"
            f"`python benchmarks/zoo.py --folder=zoo --data={self._data}{patterns}`."
        )

    def _origin(self):
        values = [value for kind in KINDS for value in self._results.of_kind(kind).values()]
        dates = sorted({value["date"] for value in values}) or ["-"]
        machines = sorted({value["machine"] for value in self._results.of_kind("speed").values()}) or ["-"]
        return f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))} on {'; '.join(machines)}"

    def _presets(self):
        titles = (
            "preset",
            "parameters G / D",
            "images/s",
            "KID x 1000",
            "Fréchet",
            "rating of G",
            "of D",
            "check",
            "images",
        )
        names = sorted(self._measured, key=lambda name: kid_of(self._measured[name].get((0, MINUTES))))
        reference = self._results.get("reference", "reals")
        # Of few images the Fréchet distance is larger, so that of the validation images says nothing here.
        reals = ["*other real images*", "-", "-", kid_text(reference), *"-----"]
        return table(titles, [reals, *map(self._preset, names)] if reference or names else [])

    def _preset(self, name):
        speeds = [value for value in self._results.of_kind("speed").values() if value["presets"] == [name]]
        rate = statistics.median(value["images_per_second"] for value in speeds) if speeds else None
        measured = self._measured[name].get((0, MINUTES))
        league = self._results.get("league", "league") or {}
        sides = [league.get(side, {}).get(name) for side in ("generators", "discriminators")]
        return [
            name,
            " / ".join(f"{number:,}" for number in speeds[0]["parameters"]) if speeds else "-",
            f"{rate:,.0f}" if rate else "-",
            kid_text(measured),
            frechet_text(measured),
            *(estimate_text(side, "{:.0f}") for side in sides),
            verdict_text(self._results.get("check", name)),
            f"![generated by {name}]({self.pictures[name][1]})" if name in self.pictures else "-",
        ]

    def _series(self):
        cells = {name: self._cells_over_time(name) for name in self._measured}
        shown = {name: of for name, of in cells.items() if len(of) > 1}
        every = sorted(set().union(*shown.values()))
        rows = [[str(minutes), *(of.get(minutes, "-") for of in shown.values())] for minutes in every]
        return table(("minutes", *(f"KID x 1000 of {name}" for name in shown)), rows)

    def _cells_over_time(self, name):
        """Returns {minutes: KID as text} of the run with seed 0; what was looked at in between has no interval."""
        goals = [value for value in self._results.of_kind("goal").values() if value["presets"][0] == name]
        found = {
            minutes: estimate_text([kid, None, None], "{:.1f}", 1000) for goal in goals for minutes, kid in goal["kids"]
        }
        points = self._measured[name].items()
        return found | {minutes: kid_text(value) for (seed, minutes), value in points if seed == 0}

    def _seeds(self):
        first = {
            name: {seed: value for (seed, minutes), value in points.items() if minutes == MINUTES}
            for name, points in self._measured.items()
        }
        shown = {name: points for name, points in first.items() if len(points) > 1}
        every = sorted(set().union(*shown.values()))
        rows = [
            [f"KID x 1000 of {name}", *(kid_text(points.get(seed)) for seed in every), spread_text(points.values())]
            for name, points in shown.items()
        ]
        return table((f"{MINUTES} minutes", *(f"seed {seed}" for seed in every), "mean ± deviation"), rows)

    def _duels(self):
        rows = [
            [
                " against ".join(value["presets"]),
                *(str(value[word]) for word in ("minutes", "rounds", "won", "tied", "lost")),
                share_text(value),
            ]
            for value in self._results.of_kind("duel").values()
        ]
        return table(("duel", "minutes", "rounds", "won", "tied", "lost", "share won, a tie is half"), rows)

    def _goals(self):
        return "\n".join(goal_text(value) for value in self._results.of_kind("goal").values())


def estimate_text(estimate, form, factor=1):
    """Formats [value, low, high], or None; low and high may be None."""
    if not estimate or estimate[0] is None:
        return "-"
    value, *ends = (number if number is None else form.format(factor * number) for number in estimate)
    return value if None in ends else f"{value} [{', '.join(ends)}]"


def kid_text(measured):
    return estimate_text(measured and measured["training"]["kid"], "{:.1f}", 1000)


def frechet_text(measured):
    return estimate_text(measured and measured["training"]["frechet_distance"], "{:.2f}")


def verdict_text(check):
    if not check:
        return "-"
    copies = ", copies?" if "generator: memorisation" in check["warned"] else ""
    return (f"refused: {', '.join(check['failed'])}" if check["failed"] else "passes") + copies


def spread_text(measured):
    kids = [1000 * kid_of(value) for value in measured]
    return f"{statistics.mean(kids):.1f} ± {statistics.stdev(kids):.1f}"


def share_text(duel):
    return estimate_text(duel["share"], "{:.1f} %", 100)


def goal_text(value):
    preset, target = value["presets"]
    wanted = f"the KID that {target} has after {value['target_minutes']}"
    if value["minutes"] is None:
        return f"After {value['kids'][-1][0]} minutes, {preset} has not reached {wanted}."
    return f"After {value['minutes']} minutes, {preset} has reached {wanted}."


SUMMARIES = {  # what is printed when a job is done
    "speed": lambda value: f"{value['images_per_second']:,.0f} images/s",
    "reference": lambda value: f"KID x 1000: {kid_text(value)}",
    "measure": lambda value: f"KID x 1000: {kid_text(value)}",
    "check": verdict_text,
    "duel": lambda value: f"won {share_text(value)}",
    "goal": goal_text,
}


def table(titles, rows):
    """Returns a Markdown table, or nothing where there are no rows."""
    if not rows:
        return ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *rows))


if __name__ == "__main__":
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    flags.run(compare, ZooOptions)
