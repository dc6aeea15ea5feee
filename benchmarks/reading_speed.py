"""Measures whether reading records slows training, and how fast they are read.

    python benchmarks/reading_speed.py --train_data_pattern=faces/train.tfrecords

Steps of the preset with the reader, and as many of the same training on one batch that is held in memory, in turns; the
median of the turns' ratios counts, since machines are shared. Then records per second: parsed from the files once, as
`gan.train` does; taken in shuffled batches from then on; and by a plain `tf.data` pipeline that parses one example at a
time, which does both at once, every epoch.
"""

import dataclasses
import statistics
import time

from etils import epy

from gan import flags, random_noise_generator, readers, seeds, train
from gan.flags import flag

with epy.lazy_imports():
    import tensorflow as tf

    from gan import trainer

_WARM_UP = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedOptions(readers.ReaderOptions):
    """Flags of the measurement."""

    train_data_pattern: str = flag("", "record files, comma-separated patterns")
    preset: str = flag("dcgan", "what is trained")
    steps: int = flag(6, "steps in a turn", lower=1)
    turns: int = flag(10, "turns of each", lower=1)


def seconds_of(function):
    begin = time.monotonic()
    function()
    return time.monotonic() - begin


def compare_training(options, data):
    """Prints the ratio of training on batches that are read to training on one that is held."""
    chosen = train.TrainOptions.of_preset(options.preset)
    batches = readers.Batches(data, chosen.batch_size, chosen.seed)
    networks, held = trainer.Trainer(chosen, data.shape), batches[0]
    noise = random_noise_generator.generate_noise(chosen.batch_size, chosen.latent_size, seeds.generator(0, "noise"))

    def steps(read):
        for number in range(options.steps):
            networks.step(number, batches[number] if read else held, noise, chosen.base_learning_rate)

    for read in (True, False) * _WARM_UP:
        steps(read)
    ratios = []
    for turn in range(options.turns):
        order = (True, False) if turn % 2 else (False, True)
        seconds = {read: seconds_of(lambda read=read: steps(read)) for read in order}
        ratios.append(seconds[False] / seconds[True])
    print(f"{options.preset}: steps per second with the reader / on one batch held in memory, {options.turns} turns of")
    print(f"{options.steps} steps: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


def compare_reading(options, data):
    """Prints records per second."""
    count, size = len(data), data.shape[0] * data.shape[1] * data.shape[2]
    files = [str(file) for file in tf.io.gfile.glob(options.train_data_pattern.split(","))]
    batches = readers.Batches(data, 128, seed=0)
    feature = {"image_raw": tf.io.FixedLenFeature([size], tf.int64)}
    plain = tf.data.TFRecordDataset(files)
    plain = plain.map(
        lambda record: tf.cast(tf.io.parse_single_example(record, feature)["image_raw"], tf.float32) / 255
    )
    ways = {
        "parsed once": lambda: readers.read(options, options.train_data_pattern, "train"),
        "in batches": lambda: [batches[step] for step in range(count // 128)],
        "plain tf.data": lambda: [None for _ in plain.as_numpy_iterator()],
    }
    rates = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            rates[name].append(count / seconds_of(way))
    slowest = statistics.median(rates["plain tf.data"])
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"{name}: {rate:,.0f} records/s, {rate / slowest:.1f} times plain tf.data")


def measure(options):
    data = readers.read(options, options.train_data_pattern, "train")
    compare_reading(options, data)
    compare_training(options, data)


if __name__ == "__main__":
    flags.run(measure, SpeedOptions)
