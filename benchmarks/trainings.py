"""Trainings as `gan.train` makes them, whose steps a benchmark makes one by one."""

import typing

from etils import epy

from gan import readers

with epy.lazy_imports():
    import tensorflow as tf

    from gan import distribution, records, trainer, training_session


class Training(typing.NamedTuple):
    """What has been begun: what it learns from, what learns, and the steps, which are made as they are iterated."""

    data: "records.Records"
    networks: "trainer.Trainer"
    steps: "training_session.Steps"


def begin(options):
    """Returns a `Training` of `TrainOptions`, before its first step; nothing is saved.

    Only in a process of its own, whose operations are deterministic from then on.
    """
    tf.config.experimental.enable_op_determinism()  # as `gan.train` does on a CPU
    data, devices = readers.read(options, options.train_data_pattern, "train"), distribution.Devices()
    networks = trainer.Trainer(options, data.shape, devices=devices)
    steps = training_session.Steps(options, data, networks, devices, 0, lambda: "nothing is saved here")
    return Training(data, networks, steps)
