"""Record files: their names and their formats."""

from gan import examples

FORMATS = {"contest": examples.INTEGERS, "bytes": examples.BYTES}


def shard_name(split, number, count):
    return f"{split}-{number:05}-of-{count:05}.tfrecords"
