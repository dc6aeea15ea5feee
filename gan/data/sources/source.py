"""What all sources are: references to files in a fixed order, and a reader that turns one into bytes."""

import concurrent.futures
import dataclasses
import hashlib
import re

from gan import ordered_map
from gan.data.sources import files
from gan.errors import InputError

LABELS = ("auto", "folder", "none")
_WINDOW = 16  # remote files that are read at once


@dataclasses.dataclass(frozen=True)
class RawImage:
    """A file that should be an image; nothing is decoded.

    Attributes:
      place: its name within the source, with "/", not absolute, unlike all others.
      data: its bytes, or None where `fault` says why there are none.
      label, group: text, or None.
      fault: one clause, such as "is a symbolic link", or None.
    """

    place: str
    data: bytes | None
    label: str | None
    group: str | None
    fault: str | None = None


@dataclasses.dataclass(frozen=True)
class Reference:
    """A `RawImage` that is not read yet; it can be sent to another process.

    Attributes:
      place, label, group, fault: as in `RawImage`.
      where: for the source's reader. It holds the bytes themselves where they can be read in passing only.
    """

    place: str
    label: str | None
    group: str | None
    fault: str | None
    where: object


class Reader:
    """Reads what a source's references name; it can be sent to another process."""

    def read(self, reference):
        """Returns the bytes of a file.

        Raises:
          files.Unreadable: there are none; the message is the fault.
        """
        if reference.fault:
            raise files.Unreadable(reference.fault)
        return reference.where if isinstance(reference.where, bytes) else self._read(reference.where)

    def _read(self, where):
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Others:
    """Files that were left out because their names are not those of images.

    Attributes:
      count: how many there are.
      names: the places of the first few.
    """

    count: int = 0
    names: tuple = ()


class Source:
    """Where raw images come from.

    Attributes:
      kind: "folder", "zip", "tar", "csv", "idx", or the name of a published data set, such as "mnist".
      reader: the `Reader` of the references.
      fingerprint: hexadecimal SHA-256 of what is known without reading the images: places, sizes, times or checksums.
      count: how many images there are, those with a fault included; None where only reading everything would tell.
      label_names: all labels, whole numbers by value and other names as text; empty if images have no labels.
      others: the `Others`; None where `count` is.
    """

    def __init__(self, kind, reader, *, remote=False):
        self.kind = kind
        self.reader = reader
        self.fingerprint = None
        self.count = None
        self.label_names = []
        self.others = Others()
        self._remote = remote

    def references(self, start=0):
        """Yields the `Reference` of each image, from number `start` on."""
        raise NotImplementedError

    def images(self, start=0):
        """Yields the `RawImage`s in the source's order, from number `start` on."""
        references = self.references(start)
        if not self._remote:
            yield from map(self._image, references)
            return
        with concurrent.futures.ThreadPoolExecutor(_WINDOW) as pool:
            yield from ordered_map.ordered_map(pool, self._image, references, _WINDOW)

    def _image(self, reference):
        data, fault = None, None
        try:
            data = self.reader.read(reference)
        except files.Unreadable as error:
            fault = str(error)
        return RawImage(reference.place, data, reference.label, reference.group, fault)


class Digest:
    """A fingerprint in the making: SHA-256 over plain values, in order."""

    def __init__(self, *values):
        self._sha256 = hashlib.sha256()
        self.add(*values)

    def add(self, *values):
        self._sha256.update(repr(values).encode())

    def finish(self):
        return self._sha256.hexdigest()


class UniquePlaces:
    """Gives each place once: what comes again is numbered, "x.jpg (2)".

    Only hashes are kept, since a million names would take far more memory.
    """

    def __init__(self):
        self._seen = set()
        self._times = {}

    def __call__(self, place):
        unique = place
        while (key := hashlib.blake2b(unique.encode(), digest_size=8).digest()) in self._seen:
            self._times[place] = self._times.get(place, 1) + 1
            unique = f"{place} ({self._times[place]})"
        self._seen.add(key)
        return unique


class Grouping:
    """Names the group of an image by its place.

    Args:
      pattern: a regular expression; its first group, or all that it matches if it has none, is the name. "": no groups.

    Raises:
      InputError: it is no regular expression.
    """

    def __init__(self, pattern):
        try:
            self._pattern = re.compile(pattern) if pattern else None
        except re.error as error:
            raise InputError(f"--group_pattern={pattern} is not a regular expression ({error})") from None

    def __call__(self, place):
        match = self._pattern and self._pattern.search(place)
        return match[1 if self._pattern.groups else 0] if match else None


def in_order(names):
    """Returns labels as a sorted list: by value if all are whole numbers, so that 10 comes after 9."""
    if all(name.isdecimal() and len(name) < 20 for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def as_text(name):
    """Returns a file's name as text that can be written: bytes that are not UTF-8 are spelled out."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
