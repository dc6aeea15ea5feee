"""Data sets that are known by name: Labeled Faces in the Wild, MNIST and CIFAR-10.

Each is published as one file. It is looked for where scikit-learn (`lfw`) or Keras (`mnist`, `cifar10`) keeps it, so
that what one of them has downloaded is there already, and what is downloaded here is there for them.

`mnist` and `cifar10` are published in two parts, one to train on and one to test on. All images are taken together,
since a build makes its own splits; an image's place says which part it is of. `lfw` is the aligned ("funneled") variant
and of each picture only the face: rows 70 to 194 and columns 78 to 171 of 250 x 250, what `fetch_lfw_people` cuts out
as well. All pictures of a person are one group.
"""

import dataclasses
import functools
import gzip
import os
import pickle
import posixpath
import tarfile
import types
import typing
import warnings

import numpy as np
from etils import epy

from gan.data import decoding
from gan.data.sources.files import Unreadable
from gan.data.sources.folder import FolderSource
from gan.data.sources.idx import netpbm
from gan.data.sources.published import PublishedFile
from gan.data.sources.source import Digest, Grouping, Reader, Reference, Source
from gan.data.sources.tar_archive import TarSource
from gan.errors import InputError

with epy.lazy_imports():
    import sklearn.datasets

_DIGITS = tuple("0123456789")
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10_PARTS = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
_PICTURE = decoding.Transform(250, 250, 3)
_FACE = (slice(70, 195), slice(78, 172))
_PERSON = "([^/]+)/[^/]+$"


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set that is known by its name.

    Attributes:
      shape: (height, width, channels) that records have unless others are asked for.
      count: how many images it has.
      file: the `PublishedFile`.
      open: called with the name of the data set, the `DataSet` and the options; returns the `Source`.
    """

    shape: tuple
    count: int
    file: PublishedFile
    open: typing.Callable


def open_named(options):
    """Opens a data set by its name; what is not there yet is downloaded.

    Args:
      options: with the attributes `source`, one of `SETS`, and labels, group_pattern and group_column as `open_source`
        has them. With labels "auto", images of `mnist` and `cifar10` have labels; "folder" labels faces by person.

    Returns:
      A `Source`.

    Raises:
      InputError: a file that is in place is not the published one, or the other options do not fit.
      RunError: the file is not there and cannot be downloaded.
    """
    if options.group_column:
        raise InputError(f"--group_column is for a CSV file, not for --source={options.source}; use --group_pattern")
    known = SETS[options.source]
    return known.open(options.source, known, options)


class ArraySource(Source):
    """Images that are published as arrays of pixels, with their labels beside them.

    Args:
      kind: the name of the data set.
      known: the `DataSet`.
      options: see `open_named`.
      parts: called with the file; yields (part, uint8 [N, height, width, channels], numbers of the labels [N]).
      label_names: a text for each label, in order.
    """

    def __init__(self, kind, known, options, parts, label_names):
        if options.labels == "folder":
            raise InputError(f"--labels=folder is not for --source={kind}, which has its labels in its file")
        super().__init__(kind, Reader())
        self._group = Grouping(options.group_pattern)
        self._shape = known.shape
        self._parts = functools.partial(parts, known.file.get())
        self.count = known.count
        self.label_names = [] if options.labels == "none" else list(label_names)
        self.fingerprint = Digest(kind, known.file.sha256, self.label_names).finish()

    def references(self, start=0):
        before = 0
        for part, images, labels in self._parts():
            for number in range(max(0, start - before), len(images)):
                place = f"{part}[{number}]"
                label = self.label_names[labels[number]] if self.label_names else None
                image = netpbm(images[number].tobytes(), self._shape)
                yield Reference(place, label, self._group(place), None, image)
            before += len(images)


def _mnist_parts(file):
    with np.load(file) as arrays:
        for part in ("train", "test"):
            yield part, arrays[f"x_{part}"], arrays[f"y_{part}"]


def _cifar10_parts(file):
    with tarfile.open(file) as archive:
        for member in archive:
            part = posixpath.basename(member.name)
            if part in _CIFAR10_PARTS:
                batch = _unpickled(archive.extractfile(member))
                yield part, batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), batch[b"labels"]


def _unpickled(file):
    """Reads what Python 2 pickled. A pickle may run code, but the SHA-256 says that this is the published one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy 2.4.0 to 2.4.4 warn of pickles that old
        return pickle.load(file, encoding="bytes")


class FaceReader(Reader):
    """Cuts the faces out of the pictures that another reader reads: gives PPM files."""

    def __init__(self, pictures):
        self._pictures = pictures

    def read(self, reference):
        try:
            pixels = decoding.decode(self._pictures.read(reference), _PICTURE)
        except decoding.BadImage as error:
            raise Unreadable(str(error)) from None
        face = pixels[_FACE]
        return netpbm(face.tobytes(), face.shape)


class LfwSource(Source):
    """Labeled Faces in the Wild: the published file, or what scikit-learn unpacked from it before removing it.

    Args:
      kind: the name of the data set.
      known: the `DataSet`.
      options: see `open_named`.
    """

    def __init__(self, kind, known, options):
        labels = "folder" if options.labels == "folder" else "none"  # 5,749 people are no classes unless asked for
        settings = types.SimpleNamespace(labels=labels, group_pattern=options.group_pattern or _PERSON)
        unpacked = known.file.path.parent / "lfw_funneled"
        if unpacked.is_dir() and not known.file.path.exists():
            self._pictures = _unpacked_pictures(unpacked, known, settings)
            identity = self._pictures.fingerprint
        else:
            self._pictures = TarSource(known.file.get(), settings, gzip.open)
            identity = known.file.sha256
        super().__init__(kind, FaceReader(self._pictures.reader))
        self.count = known.count
        self.label_names = self._pictures.label_names
        self.others = self._pictures.others
        self.fingerprint = Digest(kind, identity, labels).finish()

    def references(self, start=0):
        return self._pictures.references(start)


def _unpacked_pictures(folder, known, settings):
    pictures = FolderSource(folder, settings)
    if pictures.count != known.count:
        raise InputError(
            f"{folder} holds {pictures.count:,} pictures, not {known.count:,}; remove it, or put what is at "
            f"{known.file.url} beside it as {known.file.path}"
        )
    return pictures


def _scikit_learn_folder():
    return f"{sklearn.datasets.get_data_home()}/lfw_home"


def _keras_folder():
    """Returns where Keras keeps data sets; importing it to be told would take seconds."""
    return f"{os.environ.get('KERAS_HOME') or '~/.keras'}/datasets"


# Addresses, hashes and names are those of the two libraries: the tests compare.
SETS = {
    "lfw": DataSet(
        shape=(50, 50, 1),
        count=13_233,
        file=PublishedFile(
            url="https://ndownloader.figshare.com/files/5976015",
            sha256="b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
            megabytes=243,
            folder=_scikit_learn_folder,
            name="lfw-funneled.tgz",
        ),
        open=LfwSource,
    ),
    "mnist": DataSet(
        shape=(28, 28, 1),
        count=70_000,
        file=PublishedFile(
            url="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
            sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            megabytes=11,
            folder=_keras_folder,
            name="mnist.npz",
        ),
        open=functools.partial(ArraySource, parts=_mnist_parts, label_names=_DIGITS),
    ),
    "cifar10": DataSet(
        shape=(32, 32, 3),
        count=60_000,
        file=PublishedFile(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            megabytes=170,
            folder=_keras_folder,
            name="cifar-10-batches-py-target_archive",
        ),
        open=functools.partial(ArraySource, parts=_cifar10_parts, label_names=_OBJECTS),
    ),
}
