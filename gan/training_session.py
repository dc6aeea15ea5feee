"""A session of a run: the steps of training, and what is shown, saved and exported along the way."""

import math
import signal
import time

import numpy as np

from gan import (
    calibration,
    keeper,
    random_noise_generator,
    readers,
    seeds,
    stop_signals,
    storage,
    training_log,
    training_state,
)
from gan.errors import Interrupted, RunError

_LEAST_PER_HELD_OUT = 10  # training images for each that is held out


class Steps:
    """The training steps of a session, which all processes of a cluster make together.

    Iterating makes them, until the last one or until a signal came to any process: (metrics, learning rate) of each.

    Args:
      first: the steps that are done, by the chief's account.
      kept: returns a sentence about the newest save.

    Attributes:
      done, last: steps that are done, and that will be.
      num_held_out: images that no step sees.
      images_per_epoch: the others.
      signal: what ended the steps before the last one, or None.
    """

    def __init__(self, options, data, networks, devices, first, kept):
        self._options = options
        self._networks = networks
        self._devices = devices
        self._kept = kept
        self._received = None
        self.signal = None
        self.num_held_out = num_held_out(options, data)
        self.images_per_epoch = len(data) - self.num_held_out
        self._batches = readers.Batches(data, options.batch_size, options.seed, self.num_held_out)
        self.done = _common_start(networks, devices, first)
        by_epochs = max(1, options.num_epochs * self.images_per_epoch // options.batch_size)
        self.last = max(self.done, min(by_epochs, options.max_steps or by_epochs))

    def heeding_signals(self):
        """Within, SIGINT and SIGTERM end the steps; a second one raises `Interrupted`."""
        return stop_signals.handled_by(self._on_signal)

    def _on_signal(self, number, _):
        name = signal.Signals(number).name
        if self._received is not None:  # the user does not want to wait
            raise Interrupted(f"{name} again: stopped at once; {self._kept()}", number)
        self._received = signal.Signals(number)

    def __iter__(self):
        while self.done < self.last and not self._is_to_stop():
            yield self._make_one()

    def _is_to_stop(self):
        received = self._devices.everyones(self._received or 0)
        self.signal = next((signal.Signals(number) for number in received if number), None)
        return self.signal is not None

    def _make_one(self):
        options, step = self._options, self.done
        decays = step * options.batch_size // options.learning_rate_decay_examples
        learning_rate = options.base_learning_rate * options.learning_rate_decay**decays
        noise = random_noise_generator.generate_noise(
            options.batch_size, options.latent_size, seeds.generator(options.seed, "noise", step)
        )
        metrics = self._networks.step(step, self._batches[step], noise, learning_rate, self._batches.classes(step))
        for name in ("g_loss", "d_loss"):
            if not math.isfinite(metrics[name]):
                raise RunError(f"step {step + 1}: {name} is {metrics[name]}; {self._kept()}; {keeper.NAN_ADVICE}")
        self.done += 1
        return metrics, learning_rate

    def held_out(self):
        """Returns the images that no step sees, see `readers.Batches.held_out`."""
        return self._batches.held_out()


def _common_start(networks, devices, step):
    """Gives all processes the chief's weights, and returns its step."""
    if devices.processes == 1:
        return step
    own = {name: variable.numpy() for name, variable in networks.variables().items()}
    arrays = devices.of_chief({"step": np.asarray(step), **own})
    step = int(arrays.pop("step"))
    networks.restore(arrays)
    return step


def num_held_out(options, data):
    """Returns how many images are held out: as many as asked for, but not so many that they are missed."""
    count = min(options.held_out_images, len(data) // _LEAST_PER_HELD_OUT)
    return count if count >= calibration.LEAST else 0


class Session:
    """One session of a run: from the newest save to the end, a signal or a failure."""

    def __init__(self, options, folder, data, networks, devices, exporter, first_step, pictures_written, trackers):
        self._options = options
        self._folder = folder
        self._data = data
        self._networks = networks
        self._devices = devices
        self._steps = Steps(options, data, networks, devices, first_step, self._kept)
        self._log = training_log.TrainingLog(
            folder.path,
            storage.path(options.image_dir) if options.image_dir else folder.path / "images",
            data.shape,
            first_step,
            self._steps.last,
            options.batch_size,
            pictures_written,
            trackers,
            folder.options(),
        )
        self._keeper = keeper.Keeper(
            options, folder, data, networks, exporter, self._log, self._steps.held_out, first_step
        )

    def go(self):
        with self._log, self._keeper:
            self._greet()
            if self._step == 0:
                self._keeper.look(0)
            with self._steps.heeding_signals():
                self._loop()
                self._devices.exchange("the end")  # what the chief has written, the others have waited for
            if stopped_by := self._steps.signal:
                done = f"saved step {self._step}" if self._step else "no step was done yet"
                raise Interrupted(f"{stopped_by.name}: {done}; the same command goes on", stopped_by)
        self._say_goodbye()

    @property
    def _step(self):
        return self._steps.done

    def _kept(self):
        return self._keeper.kept()

    def _loop(self):
        save_time = time.monotonic()
        for metrics, learning_rate in self._steps:
            self._log.step(self._step, metrics, learning_rate)
            self._keeper.tell()
            if self._is_time_to_look():
                self._keeper.look(self._step)
            exports = self._step % self._options.export_model_steps == 0
            if exports or time.monotonic() - save_time >= self._options.save_secs:
                self._keeper.save(self._step)  # what can be handed over can also be gone on from
                save_time = time.monotonic()
            if exports:
                self._keeper.export(self._step)
        self._keeper.save(self._step)
        if not self._is_time_to_look():  # a last one, after the save, so that a longer run draws over it
            self._keeper.look(self._step)
        self._keeper.export(self._step)
        self._keeper.finish()
        self._film = self._log.film() if self._options.export_generated_images else None
        if self._film:
            self._log.artifact(self._step, "film", self._film)

    def _is_time_to_look(self):
        if self._options.export_image_steps:
            return self._step % self._options.export_image_steps == 0
        batch, count = self._options.batch_size, self._steps.images_per_epoch
        return self._step * batch // count > (self._step - 1) * batch // count

    def _greet(self):
        count, options = len(self._data), self._options
        height, width, channels = self._data.shape
        start = f"going on from step {self._step}" if self._step else "a new run"
        limit = "max_steps" if self._steps.last == options.max_steps else f"num_epochs={options.num_epochs}"
        self._log.say(
            f"{start} in {options.train_dir}: {options.generator_model} and {options.discriminator_model} on {count} "
            f"images of {height}x{width}x{channels}, to step {self._steps.last} (--{limit}), on {self._devices.plan}"
        )
        if ops := self._networks.unrepeatable_ops():
            self._log.say(
                f"warning: {', '.join(ops)} draws random numbers that a resumed run cannot repeat; in a model use "
                "keras.random or a Keras layer, elsewhere tf.random.stateless_* with the seed that is given"
            )
        for sentence in self._networks.doubts(self._steps.num_held_out):
            self._log.say(f"warning: {sentence}")
        if self._step >= self._steps.last:
            self._log.say("nothing left to train; raise --num_epochs or --max_steps to go on")

    def _say_goodbye(self):
        path = self._folder.path
        files = {
            path: f"the submission of step {self._step}; hand over this folder as it is",
            training_state.export_folder(path, self._step): "the same as a SavedModel",
            path / "train.log": "a line a step",
            **self._log.places,
        }
        if self._film:
            files |= {
                self._film: "the run as a film",
                self._film.parent / f"{self._log.pictures_written - 1:03}.png": "the last picture",
            }
        training_log.print_files("written:", files)
