"""The pair of networks that battles, in inference mode: what pictures, evaluation and export show of a run."""

import keras
import numpy as np

from gan import calibration, model_builder, spec, training_state

_CHUNK = 250  # images at once, so that memory does not grow with their number


class BattlePair:
    """A second pair of networks beside the trained ones: averages or copies of them, in float32.

    Args:
      generator, discriminator: built like the trained ones.
      calibrated: whether p is fitted on held-out images.
      guard: the network that refuses what no training image looks like, see `gan.guard`; None for none.

    Attributes:
      generator, discriminator: as above.
      networks: {"generator", "discriminator" and maybe "guard"}.
      calibration: the variables of the fit.
    """

    def __init__(self, generator, discriminator, calibrated, guard=None):
        self.generator = generator
        self.discriminator = discriminator
        self._guard = guard
        self.networks = {"generator": generator, "discriminator": discriminator} | ({"guard": guard} if guard else {})
        fitted = {"scale": 1.0, "bias": 0.0} | ({"guard_bias": 0.0} if guard else {}) if calibrated else {}
        self.calibration = [keras.Variable(value, trainable=False, name=name) for name, value in fitted.items()]

    def generate(self, noise):
        """Returns images, float32 [N, height * width * channels] in [0, 1], of noise [N, latent_size]."""
        return self.generator(noise, training=False)["output"]

    def generate_8bit(self, noise):
        """Returns any number of images as a battle shows them: uint8 [N, height * width * channels]."""
        return np.concatenate([spec.to_8bit(np.asarray(self.generate(chunk))) for chunk in _chunks(noise)])

    def discriminate(self, images):
        """Returns D's {"logits", "predictions"} and "p", fitted where that is asked for, and guarded; [N, 1] each."""
        outputs = self.discriminator(images, training=False)
        p = outputs["predictions"]
        if self.calibration:
            scale, bias = self.calibration[:2]
            p = keras.ops.sigmoid(outputs["logits"] * scale + bias)
        if self._guard:
            p = keras.ops.minimum(p, self._guards_p(images))
        return {**outputs, "p": p}

    def _guards_p(self, images):
        logits = self._guard(images, training=False)["logits"]
        return keras.ops.sigmoid(logits + self.calibration[2] if self.calibration else logits)

    def answer(self, role, batch):
        """Returns what the contract asks of a `spec.Role`: images of latent vectors, or p [N, 1] of images."""
        return self.generate(batch) if role is spec.GENERATOR else self.discriminate(batch)["p"]

    def calibrate(self, held_out, noise):
        """Fits p on real images that were held out of training and on as many generated ones.

        Args:
          held_out: float32 [N, height * width * channels].
          noise: float32 [N, latent_size].

        Returns:
          The `calibration.Calibration`.
        """
        generated = spec.from_8bit(self.generate_8bit(noise))
        fitted = calibration.fit(*(_logits(self.discriminator, images) for images in (held_out, generated)))
        values = [fitted.scale, fitted.bias]
        if self._guard:
            values.append(calibration.guard_bias(_logits(self._guard, held_out)))
        for variable, value in zip(self.calibration, values, strict=True):
            variable.assign(value)
        return fitted

    def restore(self, arrays):
        """Takes its weights from what a run has saved.

        Args:
          arrays: {name: array} of a resume file.

        Raises:
          InputError: the model's code has changed since.
        """
        owners = {"calibration": self.calibration}
        for name, model in self.networks.items():
            average = f"{name}_average"
            owners[average if any(saved.startswith(f"{average}/") for saved in arrays) else name] = model.variables
        own = {name: array for name, array in arrays.items() if name.split("/")[0] in owners}
        training_state.assign(training_state.name_variables(owners), own)


def of_run(run):
    """Returns the `BattlePair` of a run's networks, with new weights, for `restore`.

    Args:
      run: the content of `run.json`.
    """
    options, contest = run["options"], contest_of_run(run)
    networks = model_builder.build_pair(
        options["generator_model"],
        options["discriminator_model"],
        contest,
        options["feature_size"],
        options["seed"],
        len(run.get("classes", [])),  # runs of earlier versions had none
    )
    guard = model_builder.build_guard(contest, options["seed"]) if options.get("negatives") else None
    return BattlePair(*networks, bool(options.get("held_out_images")), guard)


def contest_of_run(run):
    """Returns the `spec.ContestSpec` of a run's networks."""
    return spec.ContestSpec(*run["image_shape"], run["options"]["latent_size"])


def _logits(network, images):
    return np.concatenate([network(chunk, training=False)["logits"] for chunk in _chunks(images)])


def _chunks(rows):
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
