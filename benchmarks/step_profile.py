"""Shows where the time of a preset's training step goes, by kind of operation.

In the root of a checkout:

    python -m benchmarks.step_profile --preset=dcgan

Operations that run side by side count each for itself, so their sum may exceed the time of the steps.
"""

import collections
import dataclasses
import re
import tempfile

from etils import epath, epy

from benchmarks import turns
from gan import flags, random_noise_generator, seeds, train
from gan.errors import RunError
from gan.flags import flag

with epy.lazy_imports():
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from benchmarks.zoo import tables
    from gan import trainer

_IMAGE_SHAPE = (50, 50, 1)
_WARM_UP = 2
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")  # whose operations count by themselves


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileOptions(flags.Options):
    """Flags of the profile."""

    preset: str = flag("dcgan", "what is trained, on drawn images of 50x50")
    steps: int = flag(5, "steps that are looked at, after a few to warm up", lower=1)
    lines: int = flag(15, "kinds of operations that are shown by themselves", lower=1)


def profile(options):
    """Prints the table.

    Args:
      options: `ProfileOptions`.

    Raises:
      InputError: there is no such preset.
      RunError: the profiler saw no operation.
    """
    tf.config.experimental.enable_op_determinism()  # as `gan.train` does on a CPU
    chosen = train.TrainOptions.of_preset(options.preset)
    networks = trainer.Trainer(chosen, _IMAGE_SHAPE)
    images = seeds.generator(0, "images").random((chosen.batch_size, networks.contest.image_size), "float32")
    noise = random_noise_generator.generate_noise(chosen.batch_size, chosen.latent_size, seeds.generator(0, "noise"))

    def steps(count):
        for number in range(count):
            networks.step(number, images, noise, chosen.base_learning_rate)

    steps(_WARM_UP)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            seconds = turns.seconds_of(lambda: steps(options.steps))
        spent = seconds_by_operation(epath.Path(folder))
    print(f"{options.preset}: {1000 * seconds / options.steps:.1f} ms a step")
    print(in_markdown(spent, options.steps, options.lines))


def seconds_by_operation(folder):
    """Returns {kind of operation: [seconds of each that was run]}.

    Args:
      folder: what `tf.profiler` has written, an `epath.Path`.

    Raises:
      RunError: there is no operation in it.
    """
    spent = collections.defaultdict(list)
    for file in folder.glob("plugins/profile/*/*.xplane.pb"):
        for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes:
            names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
            for event in (event for line in plane.lines for event in line.events):
                # An operation is shown as its place in the graph, and its kind as the kernels have it.
                found = re.fullmatch(r"[^\s:]+:(?:_MklNative|_Mkl|_)?(\w+)", names[event.metadata_id])
                if found and found[1] not in _CALLS:
                    spent[found[1]].append(event.duration_ps / 1e12)
    if not spent:
        raise RunError("the profiler saw no operation; does another profile run in this process?")
    return spent


def in_markdown(spent, steps, lines):
    """Returns the table: the kinds that take most, and all others together."""
    total = sum(map(sum, spent.values()))
    ranked = sorted(spent.items(), key=lambda item: -sum(item[1]))
    others = [seconds for _, of_kind in ranked[lines:] for seconds in of_kind]
    shown = [*ranked[:lines], *([("others", others)] if others else [])]
    rows = [
        [kind, f"{len(of) / steps:g}", f"{1000 * sum(of) / steps:.1f}", f"{sum(of) / total:.1%}"] for kind, of in shown
    ]
    return tables.markdown(("operation", "in a step", "ms in a step", "share"), rows)


if __name__ == "__main__":
    flags.run(profile, ProfileOptions)
