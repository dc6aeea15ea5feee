"""Trains a generator and a discriminator, and exports them for battle.

    python -m gan.train                                        # embedded digits, no file needed
    python -m gan.train --train_data_pattern='faces/train*.tfrecords' --train_dir=my_run

Ctrl-C saves; the same command goes on where it stopped, bit for bit on a CPU.
"""

if not __package__:  # `python gan/train.py` works like `python -m gan.train`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import contextlib
import dataclasses
import json

from etils import epy

from gan import (
    distribution,
    flags,
    presets,
    readers,
    storage,
    tracking,
    training_state,
)
from gan.errors import InputError, Interrupted
from gan.flags import flag

with epy.lazy_imports():
    import tensorflow as tf

    from gan import class_lookup, export_model, model_builder, trainer, training_session


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(readers.ReaderOptions, flags.LatentOptions, flags.SeedOptions):
    """Flags of `gan.train`."""

    num_readers: int = flags.inherit(flags.ReadingOptions, "num_readers", 10)
    train_dir: str = flag(
        "/tmp/kmlc_gan_train/",
        "folder of the run: resume files, submission, log, TensorBoard",
        environment="AIP_CHECKPOINT_DIR",
    )
    model_dir: str = flag(
        "",
        "folder that gets a copy of the newest export as a SavedModel, in place of what is there; empty: none",
        environment="AIP_MODEL_DIR",
    )
    tensorboard_dir: str = flag(
        "", "folder for TensorBoard's curves; empty: train_dir", environment="AIP_TENSORBOARD_LOG_DIR"
    )
    train_data_pattern: str = flag("", "record files to train on, comma-separated patterns; empty: embedded digits")
    preset: str = flag("default", "a tested combination of the flags below, from gan.presets or by dotted path")
    generator_model: str = flag("DCGAN4Generator", "generator class, from gan.models or by dotted path")
    discriminator_model: str = flag("DCGAN4Discriminator", "discriminator class, from gan.models or by dotted path")
    feature_size: int = flag(48, "width of the networks: features of the layer next to the image", lower=1)
    start_new_model: bool = flag(False, "begin anew; the run in train_dir is moved to train_dir/previous/N")
    batch_size: int = flag(16, "images per training step", lower=1)
    label_loss: str = flag("CrossEntropyLoss", "loss class, from gan.losses or by dotted path")
    gradient_penalties: str = flag("", "penalties on D's gradient, from gan.losses or by dotted path, comma-separated")
    gradient_penalty_weight: float = flag(1.0, "weight of the gradient penalties in D's loss", lower=0)
    gradient_penalty_interval: int = flag(1, "steps between gradient penalties, which are as much stronger", lower=1)
    horizontal_flip: bool | None = flag(
        None,
        "mirror every other real image at random; default: yes, but not where images are 28x28 gray, as digits are",
    )
    augmentations: str = flag("", "changes to all images that D sees, from gan.augmentation or by dotted path")
    augmentation_probability: float = flag(1.0, "with which each augmentation changes an image", lower=0, upper=1)
    adaptive_augmentation_target: float | None = flag(
        None,
        "the probability follows from how sure D is of real images: it aims at this mean sign of D's logits",
        lower=0,
        upper=1,
    )
    negatives: str = flag(
        "Grain,Ghost",
        "ways to spoil real images that a guard beside D learns to refuse, from gan.negatives or by dotted path; "
        "empty: no guard",
    )
    shared_pass: bool = flag(
        False,
        "one pass through D serves both updates: a faster step, in which G learns from D before D's update; for "
        "discriminators without batch normalisation",
    )
    average_half_life: int = flag(20000, "images after which half of G's moving average is new; 0: no average", lower=0)
    average_discriminator: bool = flag(True, "what battles is D's moving average as well")
    held_out_images: int = flag(
        500, "training images that are kept back to fit p, at most a tenth, at least 20; 0: p as it is", lower=0
    )
    regularization_penalty: float = flag(1.0, "weight of the layers' own regularisers in both losses", lower=0)
    optimizer: str = flag("AdamOptimizer", "a Keras optimizer; one of its own for each network")
    base_learning_rate: float = flag(0.0003, "learning rate of the first step", above=0)
    discriminator_rate_factor: float = flag(1.0, "D's learning rate over G's", above=0)
    adam_beta1: float = flag(0.5, "decay of the optimizer's first moment, where it has one", lower=0, upper=0.9999)
    adam_beta2: float = flag(0.999, "decay of its second moment, where it has one", lower=0, upper=0.99999)
    learning_rate_decay: float = flag(0.95, "factor on the learning rate", above=0, upper=1)
    learning_rate_decay_examples: int = flag(4000000, "images after which the factor is applied once more", lower=1)
    clip_gradient_norm: float = flag(0.0, "largest norm of one network's gradient; 0: no clipping", lower=0)
    num_epochs: int = flag(50, "passes over the data after which training ends", lower=1)
    max_steps: int | None = flag(None, "steps after which training ends, if that comes before num_epochs", lower=1)
    export_model_steps: int = flag(5000, "steps between exports; there is one at the end in any case", lower=1)
    save_secs: float = flag(60.0, "seconds between saves for resuming; 0 saves after every step", lower=0)
    keep_saves: int = flag(3, "newest resume files to keep; exports are all kept", lower=1)
    export_generated_images: bool = flag(True, "write pictures of 16 generated images, and a film of them")
    export_image_steps: int = flag(
        500, "steps between pictures and looks at the samples' variety; 0: one each epoch", lower=0
    )
    image_dir: str = flag("", "folder for the pictures; empty: train_dir/images")
    histograms: bool = flag(False, "show every variable's distribution to the trackers, with each picture")
    track: str = flag(
        "tensorboard",
        "who is told of metrics, pictures, flags and files: tensorboard, wandb or classes by dotted path, "
        "comma-separated",
    )
    deterministic: bool | None = flag(None, "the same seed gives the same bits; default: yes on a CPU, no on a GPU")
    mixed_precision: str = flag(
        "none", "layers compute in this type and keep float32 weights", choices=("none", "float16", "bfloat16")
    )
    distribution: str = flag(
        "auto",
        "who shares each batch; mirrored: the GPUs of this machine, or its CPU in parts, to try it; multi_worker: the "
        "processes that TF_CONFIG names; auto: what there is",
        choices=distribution.KINDS,
    )
    num_devices: int | None = flag(
        None, "devices that share each batch, of each machine; default: all GPUs, or 2 parts of a CPU", lower=1
    )
    log_device_placement: bool = flag(False, "print the device of every operation")
    dry_run: bool = flag(False, "print the resolved options and the models, and stop")

    @classmethod
    def of_preset(cls, name, **settings):
        """Returns the options of a preset, with `settings` in place of its own: `--preset` for Python."""
        return cls(**{"preset": name, **presets.find(name).settings(), **settings})

    @classmethod
    def preset_settings(cls, given):
        return presets.find(given["preset"]).settings()


# What an export, also one that was cut short, consists of.
_EXPORT = {"assets", "fingerprint.pb", "saved_model.pb", "submission.json", "variables"}

# In which the processes of a cluster may differ; the chief's hold.
_LOCAL_OPTIONS = ("train_dir", "model_dir", "tensorboard_dir", "image_dir", "train_data_pattern", "track")
_LOCAL_OPTIONS += ("num_readers", "cache_mb", "start_new_model", "log_device_placement")

# A resumed run must agree with its beginning on these, or its numbers would mean something else.
_FIXED_OPTIONS = (
    "generator_model",
    "discriminator_model",
    "feature_size",
    "latent_size",
    "optimizer",
    "batch_size",
    "average_half_life",
    "average_discriminator",
    "held_out_images",
    "negatives",
    "mixed_precision",
    "seed",
)


def train(options):
    """Trains until `num_epochs` or `max_steps`, resuming a run that is already in `train_dir`.

    Args:
      options: `TrainOptions`.

    Raises:
      InputError: flags, data or models cannot be used, or do not fit the run in `train_dir`.
      RunError: the loss or a weight is not a number.
      Interrupted: SIGINT or SIGTERM; everything is saved.
    """
    plan = distribution.plan(options)
    _make_deterministic(options)
    if options.dry_run:
        _dry_run(options, plan)
        return
    devices = distribution.connect(plan)
    (_lead if devices.is_chief else _follow)(options, devices)


def _lead(options, devices):
    """What the chief does, or a process alone: it trains, and writes everything."""
    with contextlib.ExitStack() as held:
        # Whatever can be refused is refused before the folder changes.
        with devices.unanimous():
            folder, trackers = _prepare(options)
            held.enter_context(storage.lock(folder.path))
            folder.tidy()
            data = _read(options)
            goes_on = _goes_on(folder, options)
            record = _record(folder, options, data, goes_on, devices.plan)
        _refuse_differences(options, devices, data)
        networks = _networks(options, data, devices)
        with devices.unanimous():
            exporter = _exporter(options, data, networks)
            start = _restore(folder, networks) if goes_on else (0, 0)
        if options.start_new_model and (aside := folder.move_aside()):
            print(f"moved the old run to {aside}")
        folder.record(record)
        if changed := record["sessions"][-1]["changed"]:
            print("changed since the last session:", "; ".join(training_state.change_texts(changed)))
        training_session.Session(options, folder, data, networks, devices, exporter, *start, trackers).go()


def _follow(options, devices):
    """What the other processes of a cluster do: the chief's steps, without a trace."""
    with devices.unanimous():
        data = _read(options)
    _refuse_differences(options, devices, data)
    networks = _networks(options, data, devices)
    with devices.unanimous():
        pass  # the chief looks at its saves
    steps = training_session.Steps(options, data, networks, devices, 0, lambda: "the chief keeps its last save")
    with steps.heeding_signals():
        for _ in steps:
            pass
        devices.exchange("the end")  # the chief may still be writing
    if steps.signal:
        raise Interrupted(f"{steps.signal.name}: stopped after step {steps.done}", steps.signal)


def _read(options):
    with_labels = model_builder.uses_labels(options.generator_model, options.discriminator_model)
    data = readers.read(options, options.train_data_pattern, "train", with_labels)
    if len(data) < 2:
        raise InputError("there is one image alone: a generator learns what several have in common")
    return data


def _refuse_differences(options, devices, data):
    """Raises InputError where a process of the cluster would train something else than the chief."""
    own = {f"--{name}": value for name, value in dataclasses.asdict(options).items() if name not in _LOCAL_OPTIONS}
    chiefs, *others = map(json.loads, devices.exchange(json.dumps({**own, "the data's fingerprint": data.fingerprint})))
    for number, found in enumerate(others, 2):
        if differences := training_state.changes(chiefs, found):
            told = "; ".join(f"{name} is {mine}, the chief's {theirs}" for name, (theirs, mine) in differences.items())
            raise InputError(f"process {number} of {devices.processes} does not fit the chief: {told}")


def _prepare(options):
    """Returns the `training_state.RunFolder` and the trackers; refuses what can be seen without the data."""
    folder = training_state.RunFolder(storage.path(options.train_dir))
    folder.refuse_foreign_files()
    _check_model_dir(options)
    return folder, tracking.make(options.track)


def _check_model_dir(options):
    """Refuses a folder whose replacement would take something else with it."""
    if not options.model_dir:
        return
    model_dir = storage.path(options.model_dir)
    for name in ("train_dir", "tensorboard_dir", "image_dir"):
        if (value := getattr(options, name)) and storage.path(value).is_relative_to(model_dir):
            raise InputError(f"--{name}={value} lies in --model_dir={options.model_dir}, which exports replace")
    there = {entry.name for entry in model_dir.iterdir()} if model_dir.exists() else set()
    if foreign := sorted(there - _EXPORT):
        raise InputError(
            f"--model_dir={options.model_dir} holds {foreign[0]}, which is of no export, and exports replace it all; "
            "name another folder"
        )


def _goes_on(folder, options):
    """Whether this is a session of the run in the folder; refuses to train over exports that cannot be gone on from."""
    if options.start_new_model:
        return False
    if folder.saved_steps():
        return True
    if (folder.path / "checkpoint").exists():
        raise InputError(
            f"--train_dir={options.train_dir} holds a submission but no save in resume/ to go on from: "
            "--start_new_model moves it aside, or choose another folder"
        )
    return False


def _make_deterministic(options):
    if _is_deterministic(options):
        tf.config.experimental.enable_op_determinism()
    tf.debugging.set_log_device_placement(options.log_device_placement)


def _is_deterministic(options):
    on_cpu = not tf.config.list_physical_devices("GPU")
    return on_cpu if options.deterministic is None else options.deterministic


def _dry_run(options, plan):
    folder, _ = _prepare(options)
    data = _read(options)
    _record(folder, options, data, _goes_on(folder, options), plan)
    networks = _networks(options, data)
    decided = {"horizontal_flip": networks.flips, "deterministic": _is_deterministic(options)}
    decided |= {"distribution": plan.kind, "num_devices": plan.num_devices}
    decided["held_out_images"] = training_session.num_held_out(options, data)
    for name, value in (dataclasses.asdict(options) | decided).items():
        print(f"--{name}={value}")
    networks.generator.summary()
    networks.discriminator.summary()


def _networks(options, data, devices=None):
    return trainer.Trainer(options, data.shape, len(readers.class_numbers(data)[1]), devices)


def _record(folder, options, data, goes_on, plan):
    """Returns the content of `run.json`; refuses where the run that goes on differs in what cannot change."""
    now = {
        "options": dataclasses.asdict(options),
        "image_shape": list(data.shape),
        "data_count": len(data),
        "data_fingerprint": data.fingerprint,
        "classes": readers.class_numbers(data)[1],
        "devices": {"distribution": plan.kind, "replicas": plan.replicas, "processes": plan.processes},
    }
    if not goes_on:
        return {**now, "sessions": [{"step": 0, "changed": {}}]}
    before = folder.options()
    if not set(_FIXED_OPTIONS) <= set(before["options"]):
        raise InputError(
            f"the run in --train_dir={options.train_dir} was begun with gan {before.get('gan_version')}, which saved "
            "less than this version needs to go on: finish it with that one, or give another --train_dir or "
            "--start_new_model; what it has exported battles as before"
        )
    changed = training_state.changes(before["options"], now["options"])
    fixed = {f"--{name}": changed[name] for name in _FIXED_OPTIONS if name in changed}
    facts = ("image_shape", "data_fingerprint")
    fixed |= training_state.changes(before, {name: now[name] for name in facts})
    if fixed:
        if "data_fingerprint" in fixed:
            fixed["the data of --train_data_pattern (its fingerprint)"] = fixed.pop("data_fingerprint")
        differences = "; ".join(training_state.change_texts(fixed))
        raise InputError(
            f"the run in --train_dir={options.train_dir} cannot go on with these changes: {differences}. "
            "Give the old values, another --train_dir, or --start_new_model"
        )
    session = {"step": folder.saved_steps()[-1], "changed": changed}
    return {**now, "sessions": [*before["sessions"], session]}


def _exporter(options, data, networks):
    facts = {name: getattr(options, name) for name in ("generator_model", "discriminator_model", "seed")}
    facts |= {"image_shape": list(data.shape), "latent_size": options.latent_size}
    facts |= {"data_fingerprint": data.fingerprint}
    with class_lookup.blaming("export with any batch size"):
        return export_model.Exporter(networks.current_pair(), networks.contest, facts)


def _restore(folder, networks):
    """Loads the newest save into the networks and returns (its step, the number of pictures until then)."""
    step = folder.saved_steps()[-1]
    arrays = folder.load(step)
    pictures_written = int(arrays.pop("pictures_written"))
    networks.restore(arrays)
    return step, pictures_written


if __name__ == "__main__":
    flags.run(train, TrainOptions)
