"""One data set's comparison: what is asked for, what is finished, and where its files lie."""

import dataclasses
import functools
import itertools
import re
import statistics

from benchmarks.zoo import judge, plans, presets, results
from gan import digits, spec, storage, training_state
from gan.errors import InputError
from gan.presets import BaseClassic

SHAPES = {"faces": spec.ContestSpec().image_shape, "digits": digits.SHAPE}


class Comparison:
    """What every job is done with.

    Args:
      options: `ZooOptions`.

    Attributes:
      options: the same.
      plan: the `plans.Plan`.
      shape: (height, width, channels).
      folder: of this data set's runs, an `epath.Path`.
      results: the `results.Results`.
      chosen: presets to work on.
    """

    def __init__(self, options):
        self.options = options
        self.plan = plans.PLANS[options.data]
        self.shape = SHAPES[options.data]
        self.folder = storage.path(options.folder) / options.data
        self.results = results.Results(storage.path(options.folder), options.data)
        self.chosen = presets.chosen(options.only, options.data)

    @functools.cached_property
    def judge(self):
        return judge.Judge(self.options, self.shape)

    def steps(self, point):
        """Returns the training steps until a point."""
        turns = [self.results.get("speed", name) for name in plans.speed_names(point.preset)]
        rate = statistics.median(turn["images_per_second"] for turn in turns)
        batch_size = turns[0]["settings"]["batch_size"]
        return point.minutes * steps_per_minute(rate, batch_size, self.options.minutes_scale)

    def submission(self, point):
        """Returns the folder with the SavedModel of a point."""
        return training_state.export_folder(self.folder / point.run, self.steps(point))

    def data_flags(self, **patterns):
        """Returns the flags of a command that name the data, {kind of data: pattern}; none for embedded digits."""
        named = [f"--{kind}_data_pattern={pattern}" for kind, pattern in patterns.items() if pattern]
        return [*named, "--use_mnist"] if named and self.options.data == "digits" else named

    def settle(self):
        """Makes sure that all results in the folder are about the same thing.

        Raises:
          InputError: they would not be.
        """
        now = {split: data.fingerprint for split, data in self.judge.data.items()}
        now |= {name: getattr(self.options, name) for name in ("minutes_scale", "num_generated", "duel_rounds")}
        changes = training_state.changes(self.results.get(*results.SETTINGS) or now, now)
        if changes:
            words = "; ".join(training_state.change_texts(changes))
            raise InputError(f"{self.options.folder} holds results of something else: {words}; name another --folder")
        self.results.keep(*results.SETTINGS, (), {**now, "embedded": not self.options.train_data_pattern})

    def changed_presets(self):
        """Returns {preset: {setting: [as measured, now]}} of presets that are no longer what was measured."""
        found = {}
        for preset in self.chosen:
            if measured := self.results.get("speed", plans.speed_names(preset)[0]):
                # Flags that are newer than the results were as in the presets that have nothing new.
                before = {**BaseClassic.settings(), **measured["settings"]}
                settings = dataclasses.asdict(presets.settings_of(preset))
                now = {name: value for name, value in settings.items() if name in before}
                found[preset] = training_state.changes(before, now)
        return {preset: changes for preset, changes in found.items() if changes}

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


def steps_per_minute(rate, batch_size, scale=1.0):
    """Returns the training steps that are called a minute.

    Args:
      rate: images per second.
      batch_size: images per step.
      scale: length of a minute in minutes.
    """
    return max(1, round(60 * scale * rate / batch_size))
