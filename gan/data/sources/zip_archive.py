"""Images in a zip file, which is never unpacked to disk."""

import stat
import struct
import zlib

from gan import storage
from gan.data.sources import files
from gan.data.sources.archive_names import LEAVES, is_left_out, leaves, place_of
from gan.data.sources.source import Reader
from gan.data.sources.tree import File, TreeSource
from gan.data.sources.zip_directory import ZipDirectory

_STORED, _DEFLATED = 0, 8
_BLOCK = 1 << 20
_HEADER = struct.Struct("<4s22x2H")


class ZipReader(Reader):
    """Reads members of a zip file; they are named by (offset, bytes in the file, bytes unpacked, CRC-32, method)."""

    def __init__(self, archive):
        self._archive = archive

    def _read(self, where):
        offset, packed, size, checksum, method = where
        with files.opened(self._archive) as reader:
            reader.seek(offset)
            header = reader.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise files.Unreadable(files.CUT_SHORT)
            magic, name_length, extra_length = _HEADER.unpack(header)
            if magic != b"PK\3\4":
                raise files.Unreadable("is damaged (it has no header)")
            reader.seek(offset + _HEADER.size + name_length + extra_length)
            data = reader.read(packed) if method == _STORED else _inflate(reader, packed, size)
        if len(data) > size:
            raise files.Unreadable("is damaged (it is larger than it says)")
        if len(data) < size:
            raise files.Unreadable(files.CUT_SHORT)
        if zlib.crc32(data) != checksum:
            raise files.Unreadable("is damaged (its checksum is wrong)")
        return data


def _inflate(reader, packed, size):
    """Unpacks a member, and stops one byte after the size that it should have."""
    inflater, data = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    try:
        while packed and not inflater.eof and len(data) <= size:
            block = reader.read(min(packed, _BLOCK))
            if not block:
                break
            packed -= len(block)
            data += inflater.decompress(block, size + 1 - len(data))
    except zlib.error:
        raise files.Unreadable("is damaged (it cannot be unpacked)") from None
    return bytes(data)


class ZipSource(TreeSource):
    """A zip file, in order of name.

    Args:
      target: the file, an `epath.Path`.
      options: see `open_source`.
    """

    def __init__(self, target, options):
        self._directory = ZipDirectory(target)
        super().__init__(target, options, "zip", ZipReader(target), remote=not storage.is_local(target))

    def _may_repeat(self, place):
        return True

    def _files(self):
        for member in self._directory:
            if member.name.endswith("/") or is_left_out(member.name):
                continue
            gone = leaves(member.name)
            fault = LEAVES if gone else _fault(member, self._directory.length)
            stamp = (member.checksum, member.packed)
            where = (member.offset, member.packed, member.size, member.checksum, member.method)
            yield File(place_of(member.name), member.size, stamp, fault, where, listed=gone)
        if not self._directory.is_whole:
            fault = "has a damaged table of contents; what comes after is lost"
            yield File(self._target.name, fault=fault, listed=True)


def _fault(member, length):
    """Says why a member of a zip file of `length` bytes must not be read, or returns None."""
    if stat.S_ISLNK(member.mode):
        return "is a symbolic link"
    if member.is_encrypted:
        return "is encrypted"
    if member.size > files.LARGEST:
        return files.TOO_LARGE
    if member.method not in (_STORED, _DEFLATED):
        return f"is compressed by method {member.method}, which is not supported"
    if not 0 <= member.offset <= length - member.packed:
        return files.CUT_SHORT
    if member.method == _STORED and member.packed != member.size:
        return "is damaged (it has two sizes)"
    return None
