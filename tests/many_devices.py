"""Trains with one device and with two in a process of its own: TensorFlow's devices cannot change once it has begun.

    python tests/many_devices.py FOLDER CASE...

writes FOLDER/CASE_1.npz and FOLDER/CASE_2.npz: every variable and every metric of 20 steps. The cases train by plain
gradient descent, in whose weights a gradient of the wrong size shows, and in networks without kinks where they can:
a ReLU at zero turns a rounding error into another gradient, which Adam makes as large as any.
"""

import pathlib
import sys

import keras
import numpy as np
from keras import layers

from gan import distribution, losses, models, presets, train, trainer

STEPS = 20
BATCH = 8
SHAPE = (8, 8, 1)
SMOOTH = {"generator_model": "many_devices.SmoothGenerator", "discriminator_model": "many_devices.SmoothDiscriminator"}
DESCENT = {"optimizer": "SGD", "base_learning_rate": 0.05}
CASES = {
    "batch_norm": {
        "preset": "sample",
        **SMOOTH,
        **DESCENT,
        "augmentations": "Cutout",
        "adaptive_augmentation_target": 0.1,  # whose probability is compared as well
    },
    "adam": {"preset": "sample", **SMOOTH},
    "all_at_once": {
        "preset": "sample",
        **SMOOTH,
        **DESCENT,
        "discriminator_model": "many_devices.PlainSmoothDiscriminator",
        "label_loss": "RelativisticLoss",
        "gradient_penalties": "R1Penalty,R2Penalty",
        "gradient_penalty_interval": 2,
        "augmentations": "Translation,BrightnessContrast",
        "horizontal_flip": True,
        "clip_gradient_norm": 0.5,
        "average_half_life": 100,
    },
    "shared": {
        "preset": "sample",
        **SMOOTH,
        **DESCENT,
        "discriminator_model": "many_devices.PlainSmoothDiscriminator",
        "label_loss": "RelativisticLoss",
        "gradient_penalties": "R1Penalty",
        "augmentations": "Translation",
        "negatives": "Grain",
        "shared_pass": True,
    },
    "wgan": {
        "preset": "sample",
        **SMOOTH,
        **DESCENT,
        "discriminator_model": "many_devices.PlainSmoothDiscriminator",
        "label_loss": "WassersteinLoss",
        "gradient_penalties": "WassersteinPenalty",
        "gradient_penalty_weight": 10.0,
    },
    "saturated": {"preset": "sample", **DESCENT},
    "regularised": {"preset": "sample", "discriminator_model": "my_models.RegularisedDiscriminator", **DESCENT},
    "float16": {"preset": "sample", "mixed_precision": "float16", **DESCENT},
    "noise": {
        "preset": "sample",
        "generator_model": "many_devices.NoiseGenerator",
        "label_loss": "many_devices.HalvesLoss",
        **DESCENT,
    },
    **{
        preset: {"preset": preset, "feature_size": 4, **DESCENT, "base_learning_rate": 0.01}
        for preset in presets.own_names()
    },
}


class SmoothGenerator(models.BaseModel):
    def create_model(self, image_shape, latent_size, feature_size):
        self.stack = [layers.Dense(32, use_bias=False), layers.BatchNormalization(), layers.Activation("tanh")]
        self.stack.append(layers.Dense(int(np.prod(image_shape)), activation="sigmoid"))

    def run_model(self, model_input, is_training=True):
        return {"output": models.apply_stack(self.stack, model_input, is_training)}


class SmoothDiscriminator(models.BaseModel):
    norms = (layers.BatchNormalization,)

    def create_model(self, image_shape, latent_size, feature_size):
        self.nested = {"stack": [layers.Dense(32, use_bias=not self.norms), *(norm() for norm in self.norms)]}
        self.nested["stack"] += [layers.Activation("tanh"), layers.Dense(1)]

    def run_model(self, model_input, is_training=True):
        logits = models.apply_stack(self.nested["stack"], model_input, is_training)
        return {"logits": logits, "predictions": keras.ops.sigmoid(logits)}


class PlainSmoothDiscriminator(SmoothDiscriminator):
    norms = ()


class NoiseGenerator(SmoothGenerator):
    """Draws numbers without a layer."""

    def run_model(self, model_input, is_training=True):
        noise = keras.random.normal(keras.ops.shape(model_input)) if is_training else 0.0
        return super().run_model(model_input * 0.0 + noise)


class HalvesLoss(losses.CrossEntropyLoss):
    """G's loss is how far the two halves of the batch lie apart: 0 where two devices draw the same numbers."""

    def generator_loss(self, real, generated):
        halves = keras.ops.split(generated["logits"], 2)
        return keras.ops.mean((halves[0] - halves[1]) ** 2)


def networks(case, count):
    """Returns (options, networks on so many logical CPUs)."""
    kind = "mirrored" if count > 1 else "none"
    settings = {"batch_size": BATCH, "held_out_images": 0, **CASES[case], "distribution": kind, "num_devices": count}
    options = train.TrainOptions.of_preset(**{"name": settings.pop("preset"), **settings})
    devices = distribution.connect(distribution.plan(options))
    made = trainer.Trainer(options, SHAPE, num_classes=10, devices=devices)
    if case == "saturated":  # p rounds to 1
        made.discriminator.trainable_variables[-1].assign([60.0])
    return options, made


def steps(options, made, numbers):
    """Makes training steps on batches that follow from their numbers alone."""
    metrics = []
    for number in numbers:
        rng = np.random.default_rng(number)
        images = rng.random((BATCH, int(np.prod(SHAPE))), np.float32)
        noise = rng.uniform(-1, 1, (BATCH, options.latent_size)).astype(np.float32)
        labels = rng.integers(0, 10, BATCH).astype(np.int32)
        metrics.append(made.step(number, images, noise, options.base_learning_rate, labels))
    return {name: np.asarray([each[name] for each in metrics]) for name in metrics[0]}


def arrays(made):
    return {name: variable.numpy() for name, variable in made.variables().items()}


def main(folder, cases):
    for case in cases:
        for count in (2, 1):
            options, made = networks(case, count)
            found = {f"before/{name}": array for name, array in arrays(made).items()}
            found |= {f"metric/{name}": values for name, values in steps(options, made, range(STEPS)).items()}
            found |= {f"after/{name}": array for name, array in arrays(made).items()}
            saved = arrays(made)
            for name in ("once", "again"):
                made.restore(saved)
                found[f"repeated/{name}"] = steps(options, made, range(STEPS, STEPS + 2))["g_loss"]
            np.savez(pathlib.Path(folder) / f"{case}_{count}.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
