"""Images in a tar file, plain or compressed, which is never unpacked to disk."""

import contextlib
import functools
import math
import tarfile

from gan import storage
from gan.data.sources import files, packing
from gan.data.sources.archive_names import LEAVES, is_left_out, leaves, place_of
from gan.data.sources.source import Digest, Reader, as_text
from gan.data.sources.tree import File, TreeSource
from gan.errors import printable

# `tarfile` raises these, too, where an archive is damaged or made to do harm.
_DAMAGE = (*packing.DAMAGE, tarfile.TarError, ValueError, OverflowError, RecursionError)
_LARGEST_HEADER = 1 << 20  # bytes of all that stands before a member's data


class TarReader(Reader):
    """Reads members of a plain tar file; they are named by (offset, bytes)."""

    def __init__(self, archive):
        self._archive = archive

    def _read(self, where):
        with files.opened(self._archive) as reader:
            return _take(reader, *where)


def _take(stream, offset, size):
    try:
        stream.seek(offset)
        data = stream.read(size)
    except _DAMAGE:
        data = b""
    if len(data) < size:
        raise files.Unreadable("is cut short or damaged")
    return data


class TarSource(TreeSource):
    """A tar file, in its own order.

    One that is compressed or remote is read from its beginning in one go. To be surveyed it has to be read to its end,
    so that is left out where labels do not need it; `count` is None then.

    Args:
      target: the file, an `epath.Path`.
      options: see `open_source`.
      unpack: what `packing.unpacker` says of the file.
    """

    def __init__(self, target, options, unpack):
        self._unpack = unpack
        self._streamed = unpack is not None or not storage.is_local(target)
        self._size, self._stamp = files.size_and_stamp(target)
        surveyed = not self._streamed or options.labels != "none"
        super().__init__(target, options, "tar", TarReader(target), surveyed=surveyed)
        members = None if self._streamed else self.fingerprint
        self.fingerprint = Digest(self.kind, self._size, self._stamp, members).finish()

    def _may_repeat(self, place):
        return True

    def _files(self):
        last = "its beginning"
        with contextlib.ExitStack() as stack:
            try:
                stream = stack.enter_context(packing.opened(self._target, self._unpack))
                for member in _members(stream, math.inf if self._unpack else self._size):
                    if file := self._file(member, stream):
                        last = file.place
                        yield file
            except _DAMAGE:
                fault = f"is cut short or damaged after {printable(last)}; what comes after is lost"
                yield File(self._target.name, fault=fault, listed=True)

    def _file(self, member, stream):
        """Returns the `File` of a member, or None if it is hidden or a folder."""
        if member.isdir() or is_left_out(member.name):
            return None
        where = (member.offset_data, member.size)
        take = functools.partial(_take, stream, *where) if self._streamed else None
        gone = leaves(member.name)
        fault = LEAVES if gone else _fault(member)
        return File(place_of(as_text(member.name)), member.size, member.mtime, fault, where, take, listed=gone)


def _fault(member):
    """Says why a member must not be read, or returns None."""
    if member.issym():
        return "is a symbolic link"
    if member.islnk():
        return "is a hard link"
    if not member.isfile() or member.issparse():
        return "is not a plain file"
    return files.TOO_LARGE if member.size > files.LARGEST else None


class _Header(tarfile.TarInfo):
    """A header that notes why there was no next one; `TarFile.next` takes any reason for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            archive.ended_by = error
            raise


class _Headers:
    """A stream as `tarfile` sees it: refuses to do what only a damaged or hostile header asks for."""

    def __init__(self, stream, size):
        self._stream = stream
        self._size = size
        self.begin_member()

    def begin_member(self):
        self._left = _LARGEST_HEADER

    def tell(self):
        return self._stream.tell()

    def seek(self, position):
        if not self.tell() <= position <= self._size:  # back: a circle of headers
            raise tarfile.ReadError("the archive ends before its members do")
        self._stream.seek(position)

    def read(self, count):
        if not 0 <= count <= self._left:
            raise tarfile.ReadError("a header is too large")
        self._left -= count
        return self._stream.read(count)


def _members(stream, size):
    """Yields a `tarfile.TarInfo` for each member.

    Args:
      stream: the uncompressed archive.
      size: its bytes, as far as they are known.

    Raises:
      _DAMAGE: the archive is cut short or damaged.
    """
    headers = _Headers(stream, size)
    archive = tarfile.TarFile(fileobj=headers, tarinfo=_Header, encoding="utf-8")
    while member := archive.next():
        archive.members.clear()  # it would keep all
        headers.begin_member()
        if member.size < 0:
            raise tarfile.ReadError("a member has a negative size")
        yield member
    if not isinstance(archive.ended_by, tarfile.EOFHeaderError):
        raise tarfile.ReadError("the archive has no end mark")
