"""The pair of networks that battles, in inference mode: what pictures, evaluation and export show of a run."""

import keras
import numpy as np

from gan import calibration, guard, model_builder, spec, training_state

_CHUNK = 250  # images at once, so that memory does not grow with their number


class BattlePair:
    """A second pair of networks beside the trained ones: averages or copies of them, in float32.

    Args:
      generator, discriminator: built like the trained ones.
      calibrated: whether p is fitted on held-out images.
      guard_network: it refuses what no training image looks like, see `gan.guard`; None for none.

    Attributes:
      generator, discriminator, guard_network: as above.
      networks: {"generator", "discriminator" and maybe "guard"}.
      calibration: {"scale", "bias" and maybe "guard_bias"}: the variables of the fit; {} without one.
    """

    def __init__(self, generator, discriminator, calibrated, guard_network=None):
        self.generator = generator
        self.discriminator = discriminator
        self.guard_network = guard_network
        self.networks = {"generator": generator, "discriminator": discriminator}
        fitted = {"scale": 1.0, "bias": 0.0}
        if guard_network:
            self.networks["guard"] = guard_network
            fitted["guard_bias"] = 0.0
        self.calibration = {
            name: keras.Variable(value, trainable=False, name=name) for name, value in fitted.items() if calibrated
        }

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
            p = keras.ops.sigmoid(outputs["logits"] * self.calibration["scale"] + self.calibration["bias"])
        if self.guard_network:
            p = keras.ops.minimum(p, self._guards_p(images))
        return {**outputs, "p": p}

    def _guards_p(self, images):
        logits = self.guard_network(images, training=False)["logits"]
        return keras.ops.sigmoid(logits + self.calibration["guard_bias"] if self.calibration else logits)

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
        images = held_out, spec.from_8bit(self.generate_8bit(noise))
        judges = [network for network in (self.discriminator, self.guard_network) if network]
        fitted = calibration.fit(*([_logits(judge, batch) for batch in images] for judge in judges))
        for name, variable in self.calibration.items():
            variable.assign(getattr(fitted, name))
        return fitted

    def restore(self, arrays):
        """Takes its weights from what a run has saved.

        Args:
          arrays: {name: array} of a resume file.

        Raises:
          InputError: the model's code has changed since.
        """
        owners = {"calibration": self.calibration.values()}
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
    guarded = options.get("negatives")  # runs of earlier versions had none
    guard_network = guard.build_network(contest, options["seed"]) if guarded else None
    return BattlePair(*networks, bool(options.get("held_out_images")), guard_network)


def contest_of_run(run):
    """Returns the `spec.ContestSpec` of a run's networks."""
    return spec.ContestSpec(*run["image_shape"], run["options"]["latent_size"])


def _logits(network, images):
    return np.concatenate([network(chunk, training=False)["logits"] for chunk in _chunks(images)])[:, 0]


def _chunks(rows):
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
