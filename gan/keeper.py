"""What is done about a run beside its steps: looks at what it makes, saves, exports.

The steps do not wait for it. A thread works on copies that were made between two steps: the pair that battles, which no
step changes, and the arrays of a save.
"""

import dataclasses
import functools

import numpy as np

from gan import background, export_model, random_noise_generator, sample_quality, seeds, storage, training_state
from gan.errors import RunError

_PICTURED = 16  # images of a picture
NAN_ADVICE = "a lower --base_learning_rate or another loss may help"
GUARD_ADVICE = "leave out what spoils images to such values of --negatives"


class Keeper:
    """Looks at a run, saves it and exports it; a context manager, which it waits to leave until all is written.

    Args:
      options: `TrainOptions`.
      folder: the `training_state.RunFolder`.
      data: the training `Records`.
      networks: the `trainer.Trainer`.
      exporter: the `export_model.Exporter`.
      log: the `training_log.TrainingLog`.
      held_out: returns the images that no step sees, see `readers.Batches.held_out`.
      first_step: the step that the session begins with, which is saved unless it is 0.
    """

    def __init__(self, options, folder, data, networks, exporter, log, held_out, first_step):
        self._options = options
        self._folder = folder
        self._networks = networks
        self._exporter = exporter
        self._log = log
        self._held_out = held_out
        self._quality = sample_quality.SampleQuality(data, options, folder.path / "quality.json", first_step)
        self._variables = networks.variables()
        self._background = background.Background()
        self._pair, self._pair_step = None, None
        self._calibration, self._calibrated_step = None, None
        self._first_step = self._saved_step = self._save_begun = first_step
        self._export_begun = None

    def __enter__(self):
        self._background.__enter__()
        return self

    def __exit__(self, *error):
        return self._background.__exit__(*error)

    def kept(self):
        """Returns a sentence about the newest save that is written."""
        return f"the save of step {self._saved_step} is kept" if self._saved_step else "nothing was saved yet"

    def tell(self):
        """Tells the log what has been done so far, and raises what went wrong."""
        self._background.tell()

    def finish(self):
        """Waits until all is done that was begun, tells it, and raises what went wrong."""
        self._background.finish()

    def look(self, step):
        """Looks how varied the images are that are generated after so many steps, and draws some of them."""
        self._begin(step, self._look, self._tell_look)
        if self._options.histograms:
            self._log.histograms(step, self._variables)

    def save(self, step):
        """Saves this step, unless that was begun before.

        Raises:
          RunError: a variable holds values that are not finite numbers.
        """
        if step == self._save_begun:
            return
        arrays = {name: variable.numpy() for name, variable in self._variables.items()}
        for name, array in arrays.items():
            if np.issubdtype(array.dtype, np.floating) and not np.all(np.isfinite(array)):
                advice = GUARD_ADVICE if name.startswith("guard") else NAN_ADVICE
                raise RunError(f"step {step}: {name} holds values that are not finite numbers; {self.kept()}; {advice}")
        self._save_begun = step
        self._begin(step, functools.partial(self._save, arrays=arrays), lambda _: self._log.flush())

    def export(self, step):
        """Exports this step, unless that was begun before; an export found in the folder may be of other weights."""
        untouched = step == self._first_step and export_model.is_complete(self._folder.path, step)
        if step and step != self._export_begun and not untouched:
            self._begin(step, self._export, self._tell_export)
        self._export_begun = step
        if step and self._options.model_dir:
            self._background.begin(functools.partial(self._copy_export, step))

    def _begin(self, step, work, told):
        """Has `work(step, pair)` done, with the pair that battles as it is after this step."""
        if step != self._pair_step:
            self._background.finish()  # what still looks at the pair of an earlier step
            self._pair, self._pair_step = self._networks.current_pair(), step
        self._background.begin(functools.partial(work, step, self._pair), told)

    def _tell_look(self, found):
        seen, picture = found
        self._log.quality(seen)
        if picture is not None:
            self._log.show(seen.step, picture)

    def _tell_export(self, found):
        seen, calibration = found
        self._log.artifact(seen.step, "submission", training_state.export_folder(self._folder.path, seen.step))
        self._log.quality(seen)
        if calibration:
            self._log.say(
                f"p was fitted on {calibration['images']} held-out images and as many generated ones: "
                f"D is right on {calibration['accuracy_after']:.1%} of them, "
                f"{calibration['accuracy_before']:.1%} without"
            )

    # In the background, from here on.

    def _look(self, step, pair):
        seen, picture = self._quality.look(step, pair.generate_8bit), None
        if self._options.export_generated_images:
            picture = self._log.draw(np.asarray(pair.generate(self._noise("pictures", _PICTURED))))
        return seen, picture

    def _save(self, step, pair, arrays):
        self._calibrate(step, pair)
        fitted = training_state.name_variables({"calibration": pair.calibration.values()})
        arrays |= {name: variable.numpy() for name, variable in fitted.items()}
        arrays["pictures_written"] = np.asarray(self._log.pictures_written)
        self._folder.save(step, arrays, self._options.keep_saves)
        self._saved_step = step
        self._quality.write()

    def _export(self, step, pair):
        self._calibrate(step, pair)
        self._exporter.write(self._folder.path, step, {"calibration": self._calibration})
        seen = self._quality.look(step, pair.generate_8bit, closely=True)
        self._quality.write()
        return seen, self._calibration

    def _calibrate(self, step, pair):
        """Fits p to this step's networks, once."""
        if self._calibrated_step == step:
            return
        held_out = self._held_out()
        if len(held_out):
            fitted = pair.calibrate(held_out, self._noise("calibration", len(held_out)))
            self._calibration, self._calibrated_step = dataclasses.asdict(fitted), step

    def _copy_export(self, step):
        """Brings an export to `--model_dir`, unless it is there; a session before may have been killed first."""
        target, export = storage.path(self._options.model_dir), training_state.export_folder(self._folder.path, step)
        marks = [place / "submission.json" for place in (export, target)]
        if not marks[1].exists() or marks[0].read_bytes() != marks[1].read_bytes():
            storage.publish_folder(export, target, last="submission.json")

    def _noise(self, name, count):
        rng = seeds.generator(self._options.seed, name)
        return random_noise_generator.generate_noise(count, self._options.latent_size, rng)
