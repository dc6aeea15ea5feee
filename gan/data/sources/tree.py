"""What folders and archives have in common: files in folders, of which some are images."""

import dataclasses
import posixpath
import typing

from gan.data.sources import files
from gan.data.sources.class_folders import ClassFolders
from gan.data.sources.source import Digest, Grouping, Others, Reference, Source, UniquePlaces
from gan.errors import InputError, printable

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".tif", ".tiff")
_OTHERS_NAMED = 5


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a tree, as it is met.

    Attributes:
      place: its name within the source; others may have the same.
      size: bytes, as announced.
      stamp: changes when the content does.
      fault: why it is not to be read, or None.
      where: for the source's reader.
      take: reads the bytes now, where that is possible in passing only.
      listed: whether it is named among the images whatever its suffix.
    """

    place: str
    size: int = 0
    stamp: object = None
    fault: str | None = None
    where: object = None
    take: typing.Callable | None = None
    listed: bool = False

    @property
    def suffix(self):
        return posixpath.splitext(self.place)[1].lower()

    @property
    def is_other(self):
        """Whether its name says that it is no image; without a suffix it does not say."""
        return not self.listed and self.suffix not in SUFFIXES and self.suffix != ""


def is_hidden(name):
    """Whether a file or a folder is left out silently."""
    return name.startswith(".") or name == "__MACOSX"


class TreeSource(Source):
    """A source of files in folders.

    Args:
      target: the folder or archive, an `epath.Path`.
      options: see `open_source`.
      surveyed: whether all files are looked at first. Without that, nothing is known but how to read them.

    Raises:
      InputError: there are no images, or they do not lie as `options.labels` says.
    """

    def __init__(self, target, options, kind, reader, *, surveyed=True, **settings):
        super().__init__(kind, reader, **settings)
        self._target = target
        self._group = Grouping(options.group_pattern)
        self._classes = ClassFolders(options.labels, in_archive=kind != "folder")
        if surveyed:
            self._survey()
        else:
            self.others = None
            if next(self._images(), None) is None:
                raise InputError(f"{target} holds no images")

    def _files(self):
        """Yields every `File` that is not hidden, in order."""
        raise NotImplementedError

    def _may_repeat(self, place):
        """Whether another file may have the same place."""
        raise NotImplementedError

    def _images(self):
        return (file for file in self._files() if not file.is_other)

    def _survey(self):
        """Looks at every file once, and keeps none."""
        digest, count, others, named = Digest(self.kind), 0, 0, []
        for file in self._files():
            if file.is_other:
                others += 1
                named += [file.place] if others <= _OTHERS_NAMED else []
                continue
            count += 1
            digest.add(file.place, file.size, file.stamp, file.fault)
            if not file.fault:
                self._classes.see(file.place, doubtful=not file.suffix)
        if not count:
            found = f" but {others} other file(s), for instance {printable(named[0])}" if others else ""
            raise InputError(f"{self._target} holds no images{found}; expected {' '.join(SUFFIXES)}")
        self.fingerprint = digest.finish()
        self.count = count
        self.others = Others(others, tuple(named))
        self.label_names = self._classes.decide()

    def references(self, start=0):
        unique = UniquePlaces()
        for number, file in enumerate(self._images()):
            place = unique(file.place) if self._may_repeat(file.place) else file.place
            if number >= start:
                yield self._reference(place, file)

    def _reference(self, place, file):
        label, fault, where = self._classes.label(file.place), file.fault, file.where
        if self.label_names and label is None:
            fault = fault or "lies outside the class folders"
        if file.take and not fault:
            try:
                where = file.take()
            except files.Unreadable as error:
                fault = str(error)
        return Reference(place, label, self._group(file.place), fault, where)
