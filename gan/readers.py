"""Readers: which images a record file holds. Teams edit this file, or name a reader of their own in `--reader`."""

import dataclasses
import functools
import sys

import numpy as np

from gan import class_lookup, digits, flags, records, seeds, spec
from gan.errors import InputError


class BaseReader:
    """Base of all readers: says what an image looks like and reads files of such images.

    `with_labels`: whether each record must hold an integer `label`; also set where a model learns from them.
    """

    with_labels = False

    def get_image_size(self):
        """Returns (width, height) in pixels."""
        raise NotImplementedError

    def get_channels(self):
        """Returns 1 for gray, 3 for RGB."""
        return 1

    def get_image_shape(self):
        """Returns (height, width, channels)."""
        width, height = self.get_image_size()
        return (height, width, self.get_channels())

    def read(self, patterns, **settings):
        """Returns the `gan.records.Records` of the files that match; `settings` are those of `gan.records.read`."""
        return records.read(patterns, self.get_image_shape(), with_labels=self.with_labels, **settings)


class FaceReader(BaseReader):
    """Gray faces, 50x50."""

    def get_image_size(self):
        return (50, 50)


class MnistReader(BaseReader):
    """Gray handwritten digits, 28x28, with their label."""

    with_labels = True

    def get_image_size(self):
        return (28, 28)


class ImageReader(BaseReader):
    """Images of any size, gray or RGB."""

    def __init__(self, width, height, channels=1):
        self._size = (width, height)
        self._channels = channels

    def get_image_size(self):
        return self._size

    def get_channels(self):
        return self._channels


class Batches:
    """Endless shuffled batches, each image once per epoch; batch `k` is a pure function of records, seed and `k`.

    The epochs' shuffled orders, one after the other, are cut into batches: every batch is full, however few images
    there are, and a run that is resumed at step k needs nothing but k to find its place.

    Args:
      data: `Records`.
      batch_size: images in a batch.
      seed: the master seed.
      held_out: so many images, chosen by the seed, are in no batch.
    """

    def __init__(self, data, batch_size, seed, held_out=0):
        self._data = data
        self._classes, _ = class_numbers(data)
        self._batch_size = batch_size
        chosen = seeds.generator(seed, "held out").permutation(len(data))
        self._held_out, self._used = np.sort(chosen[:held_out]), np.sort(chosen[held_out:])
        self._order = functools.lru_cache(maxsize=2)(
            lambda epoch: seeds.generator(seed, "epoch", epoch).permutation(self._used)
        )

    def __getitem__(self, step):
        """Returns batch `step` (from 0): float32 [batch_size, height * width * channels] in [0, 1]."""
        return spec.from_8bit(self._data.pixels.take(self._indices(step)))

    def classes(self, step):
        """Returns the class numbers of batch `step`, int32 [batch_size], or None; see `class_numbers`."""
        return None if self._classes is None else self._classes[self._indices(step)]

    def held_out(self):
        """Returns the images that are in no batch: float32 [held_out, height * width * channels] in [0, 1]."""
        return spec.from_8bit(self._data.pixels.take(self._held_out))

    def _indices(self, step):
        places = range(step * self._batch_size, (step + 1) * self._batch_size)
        count = len(self._used)
        return [self._order(place // count)[place % count] for place in places]


_MOST_CLASSES = 1000


def class_numbers(data):
    """Returns the class of each image and the label of each class.

    Whatever labels occur are numbered from 0 up in ascending order, so that no class is without images.

    Args:
      data: `Records`.

    Returns:
      (int32 [N], [label, ...]), or (None, []) where images have no labels, or so many that they are no classes.
    """
    if data.labels is None:
        return None, []
    labels, numbers = np.unique(data.labels, return_inverse=True)
    return (None, []) if len(labels) > _MOST_CLASSES else (numbers.astype(np.int32), labels.tolist())


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReaderOptions(flags.ReadingOptions):
    """Flags of the commands that read with a reader."""

    reader: str = flags.flag("", "reader class, from gan.readers or by dotted path; empty: chosen by the image size")
    cache_mb: int = flags.flag(1024, "images kept in memory, in megabytes; beyond it, in a temporary file", lower=0)


def read(options, patterns, split, with_labels=False):
    """Reads the images that a command's flags name, and tells which records were skipped.

    Args:
      options: a `ReaderOptions`.
      patterns: record files; empty for the embedded digits.
      split: which of the embedded digits, "train" or "validation".
      with_labels: whether labels are needed, also where the reader would leave them out.

    Returns:
      `gan.records.Records`.
    """
    if not patterns:
        if options.reader or options.image_shape not in (None, digits.SHAPE):
            raise InputError(
                "no file pattern means the embedded 28x28 digits; name your files by --train_data_pattern "
                "(in gan.eval: --eval_data_pattern)"
            )
        return digits.load(split)
    settings = {"num_readers": options.num_readers, "cache_mb": options.cache_mb}
    reader = _choose(options)
    reader.with_labels |= with_labels
    with class_lookup.blaming(f"{type(reader).__name__}.read"):
        data = reader.read(patterns, max_bad_records=options.max_bad_records, **settings)
    if data.bad:
        print(f"skipped {len(data.bad)} bad record(s); the first: {data.bad[0]}", file=sys.stderr)
    return data


def _choose(options):
    shape = options.image_shape
    if options.reader and options.reader != "ImageReader":
        if shape is not None:
            raise InputError(f"--reader={options.reader} fixes the image size; leave out --use_mnist and --image_*")
        return class_lookup.find(options.reader, "gan.readers", BaseReader, "reader")()
    if options.use_mnist:
        return MnistReader()
    if shape is not None:
        height, width, channels = shape
        return ImageReader(width, height, channels)
    if options.reader:
        raise InputError("--reader=ImageReader needs --image_height and --image_width")
    return FaceReader()
