"""Makes the networks that a run asks for and checks them against the contract before an hour is spent on them."""

import contextlib

import keras
import numpy as np

from gan import class_lookup, models, random_noise_generator, seeds, spec
from gan.errors import InputError


def build_pair(
    generator_name,
    discriminator_name,
    contest,
    feature_size,
    seed,
    num_classes=0,
    mixed_precision="none",
    scope=contextlib.nullcontext,
):
    """Makes a generator and a discriminator with weights that follow from the seed.

    Args:
      generator_name, discriminator_name: as in `--generator_model` and `--discriminator_model`.
      contest: the `spec.ContestSpec`.
      feature_size: width of the networks.
      seed: the master seed.
      num_classes: classes that the images' labels name; 0 without labels.
      mixed_precision: "float16" or "bfloat16" for layers that compute in it and keep float32 weights; or "none".
      scope: returns the context in which the weights are made, see `distribution.Devices.scope`.

    Raises:
      InputError: no such class, or its code or its output breaks the contract; the message says what to change.
    """
    keras.utils.clear_session(free_memory=False)  # names and the global random generator begin alike in every process
    with scope(), _precision(mixed_precision):  # a scope would not outlive the clearing
        return _checked_pair(generator_name, discriminator_name, contest, feature_size, seed, num_classes)


def uses_labels(generator_name, discriminator_name):
    """Whether one of two networks learns from the images' labels.

    Raises:
      InputError: no such class.
    """
    names = {"generator_model": generator_name, "discriminator_model": discriminator_name}
    return any(_find(name, flag).uses_labels for flag, name in names.items())


def synchronise_batch_norms(model):
    """Makes all batch normalisation within a model take its statistics over all devices."""
    for layer in model._flatten_layers():  # those within layers as well, which no public property lists
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


@contextlib.contextmanager
def _precision(mixed):
    """Layers that are made within compute in `mixed`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if mixed == "none" else f"mixed_{mixed}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _checked_pair(generator_name, discriminator_name, contest, feature_size, seed, num_classes):
    generator = create(generator_name, "generator_model", contest, feature_size, seed, num_classes)
    discriminator = create(discriminator_name, "discriminator_model", contest, feature_size, seed, num_classes)
    if generator.uses_labels != discriminator.uses_labels:
        raise InputError(f"{generator_name} and {discriminator_name}: one learns from labels and the other does not")
    noise = random_noise_generator.generate_noise(4, contest.latent_size, seeds.generator(seed, "check"))
    images = _check_generator(generator, noise, contest)
    _check_discriminator(discriminator, images)
    return generator, discriminator


def create(name, flag, contest, feature_size, seed, num_classes=0):
    """Makes one network, without its weights as long as it is not called; see `build_pair`.

    Args:
      name: of its class.
      flag: for messages; the weights follow from it and the seed.
    """
    model_class = _find(name, flag)
    if model_class.uses_labels and not num_classes:
        raise InputError(f"--{flag}={name} learns from labels; these images have none, or over 1,000 kinds of them")
    # Layers made without a seed of their own take one from this global generator.
    keras.utils.set_random_seed(seeds.derive(seed, flag) % 2**32)
    with class_lookup.blaming(f"{model_class.__name__}.create_model"):
        model = model_class()
        model.num_classes = num_classes
        model.create_model(image_shape=contest.image_shape, latent_size=contest.latent_size, feature_size=feature_size)
    model.built = True  # by its first call, which comes next; Keras would trace the whole model before that
    return model


def _find(name, flag):
    return class_lookup.find(name, "gan.models", models.BaseModel, flag)


def _check_generator(generator, noise, contest):
    keys = {"output", "labels"} if generator.uses_labels else {"output"}
    for outputs in _outputs_of_both_modes(generator, noise, keys):
        if generator.uses_labels and (fault := _class_fault(np.asarray(outputs["labels"]), len(noise), generator)):
            raise InputError(f"{type(generator).__name__}: {fault}")
        images = np.asarray(outputs["output"])
        fault = spec.image_fault(images, len(noise), contest)
        if fault:
            raise InputError(f"{type(generator).__name__}: {fault}")
    fewer = np.asarray(_outputs(generator, noise[:-1], False, {"output"})["output"])
    if fault := spec.image_fault(fewer, len(noise) - 1, contest):
        raise InputError(f"{type(generator).__name__}: {fault}")
    return images


def _class_fault(labels, count, generator):
    """Returns what is wrong with the labels that a generator gives its images, or ""."""
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        return f"labels are {labels.dtype} {list(labels.shape)}, not the integer class of each image, {[count]}"
    if labels.min() < 0 or labels.max() >= generator.num_classes:
        return f"labels go from {labels.min()} to {labels.max()}, not from 0 to {generator.num_classes - 1}"
    return ""


def _check_discriminator(discriminator, generated):
    extremes = np.stack([np.zeros_like(generated[0]), np.ones_like(generated[0])])
    images = np.concatenate([generated, extremes])
    for outputs in _outputs_of_both_modes(discriminator, images, {"logits", "predictions"}):
        if np.shape(outputs["logits"]) != (len(images), 1):
            shape = list(np.shape(outputs["logits"]))
            raise InputError(f"{type(discriminator).__name__}: logits have shape {shape}, not {[len(images), 1]}")
        fault = spec.prediction_fault(np.asarray(outputs["predictions"]), len(images))
        if not fault and np.allclose(outputs["predictions"], outputs["logits"], rtol=0, atol=1e-7):
            fault = "predictions are the logits themselves: apply a sigmoid"  # fresh ones may lie in [0, 1] by chance
        if fault:
            raise InputError(f"{type(discriminator).__name__}: {fault}")


def _outputs_of_both_modes(model, inputs, keys):
    """Returns the outputs in training and in inference mode, and leaves no trace in the model's statistics."""
    inference = _outputs(model, inputs, False, keys)
    untouched = {id(variable): variable.numpy() for variable in model.non_trainable_variables}
    training = _outputs(model, inputs, True, keys)
    for variable in model.non_trainable_variables:
        if id(variable) in untouched:  # a layer that is used in training alone has just been made
            variable.assign(untouched[id(variable)])
    return training, inference


def _outputs(model, inputs, training, keys):
    with class_lookup.blaming(f"{type(model).__name__}.run_model"):
        outputs = model(inputs, training=training)
    if not isinstance(outputs, dict) or not keys <= set(outputs):
        got = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise InputError(f"{type(model).__name__}.run_model returned {got}; expected a dict with {sorted(keys)}")
    return outputs
