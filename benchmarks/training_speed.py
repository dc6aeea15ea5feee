"""A DCGAN training step, against what a user would take instead and against what the machine can do."""

import collections
import importlib
import importlib.metadata
import importlib.util
import itertools
import pathlib
import shutil
import statistics
import sysconfig

from etils import epy

from benchmarks import floor, table, trainings, turns
from benchmarks.peers.recipe import Recipe
from gan import random_noise_generator, readers, seeds, train

with epy.lazy_imports():
    from gan import trainer

OWN, SHARED, KERNELS = "gan", "gan, --shared_pass", "kernels alone"
# D without batch normalisation answers for each image by itself, which sharing needs.
OWN_SETTINGS = {OWN: {}, SHARED: {"discriminator_model": "PlainDiscriminator", "shared_pass": True}}
PEERS = {
    "Keras GradientTape": ("keras_tape", {}),
    "Keras fit": ("keras_fit", {}),
    "Keras fit, no XLA": ("keras_fit", {"jit_compile": False}),
    "PyTorch eager": ("pytorch", {}),
    "PyTorch channels-last": ("pytorch", {"channels_last": True}),
    "PyTorch compiled": ("pytorch", {"compiled": True}),
    "PyTorch compiled, channels-last": ("pytorch", {"compiled": True, "channels_last": True}),
}
PRODUCTS = {
    "product, TensorFlow": floor.product_in_tensorflow,
    "product, PyTorch": floor.product_in_pytorch,
}
_STEPS = 5  # in a turn
_BRIEF = Recipe(batch_size=8, features=4)


def rows(options):
    """Yields the `table.Row`s of the step's speed."""
    recipe, steps = (_BRIEF, 1) if options.brief else (Recipe(), _STEPS)
    absent = missing()
    makers = {name: (own_loop, name, recipe, options.faces(), steps) for name in OWN_SETTINGS}
    makers |= {name: (peer_loop, name, recipe, options.faces(), steps) for name in PEERS}
    makers |= {name: (product,) for name, product in PRODUCTS.items()} | {KERNELS: (kernels_alone, recipe)}
    makers = {name: maker for name, maker in makers.items() if name not in absent}
    print(f"  {len(makers)} contestants get ready", flush=True)
    with turns.in_processes(makers) as works:
        print(f"  they take {options.turns} turns, after one to warm up", flush=True)
        measured = turns.take(works, options.turns)
    yield _against_peers(measured, absent, OWN, 1.25)
    yield from _against_the_machine(measured, recipe)
    yield _against_peers(measured, absent, SHARED, 1.5)


def missing():
    """Returns {contestant: why it cannot take part}."""
    if importlib.util.find_spec("torch") is None:
        return {name: "needs pip install '.[bench]'" for name in (*PEERS, *PRODUCTS) if "PyTorch" in name}
    header = pathlib.Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which("g++") is None or not header.exists():
        return {name: "needs a C++ compiler, g++, and Python's headers" for name in PEERS if "compiled" in name}
    return {}


def own_options(recipe, pattern, **settings):
    """Returns the `TrainOptions` of the preset `dcgan`, for any number of steps."""
    sizes = {"batch_size": recipe.batch_size, "feature_size": recipe.features}
    return train.TrainOptions.of_preset("dcgan", train_data_pattern=pattern, num_epochs=10**6, **sizes, **settings)


def faces(options):
    """Returns the `Records` to train on."""
    return readers.read(options, options.train_data_pattern, "train")


def own_loop(name, recipe, pattern, steps):
    """Returns a piece of work: steps as `gan.train` makes them, input included; it returns images per second."""
    made = iter(trainings.begin(own_options(recipe, pattern, **OWN_SETTINGS[name])).steps)
    return lambda: steps * recipe.batch_size / turns.seconds_of(lambda: _exhaust(itertools.islice(made, steps)))


def _exhaust(iterator):
    collections.deque(iterator, maxlen=0)


def peer_loop(name, recipe, pattern, steps):
    """Returns the same of a peer."""
    module, settings = PEERS[name]
    data = faces(own_options(recipe, pattern))
    images = readers.Batches(data, len(data), 0)[0].reshape(-1, *data.shape) * 2 - 1
    loop = importlib.import_module(f"benchmarks.peers.{module}").Loop(recipe, images, **settings)
    return lambda: steps * recipe.batch_size / loop.seconds_of(steps)


def kernels_alone(recipe):
    """Returns a piece of work: each convolution and product of a step by itself; it returns their seconds."""
    kernels = step_kernels(recipe)
    return lambda: sum(floor.seconds_alone(kernel) * kernel.times for kernel in kernels)


def step_kernels(recipe):
    """Returns the `floor.Kernel`s of a step."""
    networks = trainer.Trainer(own_options(recipe, ""), (50, 50, 1))
    noise = random_noise_generator.generate_noise(recipe.batch_size, recipe.latent_size, seeds.generator(0, "noise"))
    images = networks.generator(noise)["output"]
    return floor.kernels_of_step(networks.generator, networks.discriminator, noise, images)


def _against_peers(measured, absent, own, at_least):
    fastest = fastest_peer(measured)
    reasons = [f"{name} {reason}" for name, reason in absent.items()]
    return table.Row(
        what=f"DCGAN training, input included: {own}",
        unit="images/s",
        measured={name: measured[name] for name in (own, *PEERS) if name in measured},
        judged=f"{own} / {fastest}, the fastest peer",
        number=turns.ratio(measured, own, fastest),
        at_least=None if absent else at_least,  # the fastest may be missing
        remark="; ".join(reasons) or f"PyTorch {importlib.metadata.version('torch')}",
    )


def fastest_peer(measured):
    """Returns the name of the peer with the highest median of images per second."""
    return max((name for name in PEERS if name in measured), key=lambda name: statistics.median(measured[name]))


def _against_the_machine(measured, recipe):
    """The step is to be near to the floor; or near to its kernels, where these stop short of a matrix product."""
    work = floor.multiply_adds(step_kernels(recipe))
    seconds = {
        OWN: [recipe.batch_size / rate for rate in measured[OWN]],
        **{name: [work / speed for speed in measured[name]] for name in PRODUCTS if name in measured},
    }
    quickest = min((name for name in seconds if name != OWN), key=lambda name: statistics.median(seconds[name]))
    of_floor = turns.ratio(seconds, quickest, OWN)
    of_kernels = turns.ratio(alone := {OWN: seconds[OWN], KERNELS: measured[KERNELS]}, KERNELS, OWN)
    floor_is_near = of_floor >= 0.75
    yield table.Row(
        what=f"DCGAN training step, {work / 1e9:.3g} thousand million multiply-adds",
        unit="s",
        measured=seconds,
        judged=f"time of as many in a large {quickest} / time of the step",
        number=of_floor,
        at_least=0.75 if floor_is_near else None,
        remark="" if floor_is_near else "the kernels alone stop short of a matrix product: the next row is judged",
    )
    yield table.Row(
        what="DCGAN training step, its convolutions and products alone",
        unit="s",
        measured=alone,
        judged="time of the kernels / time of the step",
        number=of_kernels,
        at_least=None if floor_is_near else 0.9,
    )
