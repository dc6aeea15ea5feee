"""Builds for the tests: pictures to build from, builds that start in no time, and what they leave."""

import csv
import pathlib
from unittest import mock

import numpy as np
from bad_images import encoded
from PIL import Image

from gan import build_records, storage
from gan.data import runners


class InThisProcess:
    """A runner that costs nothing to start, and sees what a test has patched."""

    tells_progress = False

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, tasks):
        return map(function, tasks)


def alive(pid):
    """Whether a process is there and is no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def options(source, output, **settings):
    return build_records.BuildOptions(input=str(source), output=str(output), **{"height": 8, "width": 8, **settings})


def build(source, output, local_runner=InThisProcess, **settings):
    """Builds and returns the content of the manifest."""
    with mock.patch.object(runners, "LocalRunner", local_runner):
        return build_records.build(options(source, output, **settings))


def picture(number, height=12, width=16):
    """Returns the number-th of many unlike pictures: uint8 [height, width, 3]."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def png(number):
    return encoded(picture(number), "PNG")


TREE = {f"{number:03}.png": png(number) for number in range(60)}
CLASSES = {f"{('cat', 'dog', 'eel')[number % 3]}/{place}": data for number, (place, data) in enumerate(TREE.items())}


def listed(lines, tree=TREE):
    """Returns a tree with a table of it, "list.csv"."""
    return {**tree, "list.csv": "\n".join(lines).encode()}


def content(folder):
    """Returns {place: bytes} of the files below a folder, local or remote, without the lock."""
    folder = storage.path(str(folder))
    files = {str(file.relative_to(folder)): file.read_bytes() for file in storage.files_below(folder)}
    return {place: data for place, data in files.items() if place != ".lock"}


def records_in(folder):
    """Returns {name: bytes} of the record files in a folder."""
    return {place: data for place, data in content(folder).items() if place.endswith(".tfrecords")}


def table(file):
    """Returns the rows of a CSV file as dictionaries."""
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def split_of(folder, *names):
    """Returns {place: (split, row)} of the tables in a folder."""
    return {row["place"]: (name, row) for name in names for row in table(folder / f"{name}.csv")}


def examples(file):
    """Returns the `tf.train.Example`s of a record file, as TensorFlow reads it."""
    import tensorflow as tf

    return [tf.train.Example.FromString(record) for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()]


def pixels_of(example):
    """Returns the pixels of a record of either format."""
    feature = example.features.feature["image_raw"]
    if feature.bytes_list.value:
        return np.frombuffer(feature.bytes_list.value[0], np.uint8)
    return np.array(feature.int64_list.value)
