"""The table of contents of a zip file, at a tenth of the memory that `zipfile` needs for a million members."""

import array
import dataclasses
import struct

from gan.data.sources import files
from gan.errors import InputError

_END = struct.Struct("<4s4H2LH")  # the last record of a zip file; a comment may follow
_END_64 = struct.Struct("<4sQ2H2L4Q")  # stands in for it, with larger numbers ...
_LOCATOR = struct.Struct("<4sLQL")  # ... and is followed by this
_MEMBER = struct.Struct("<4s4B4HL2L5H2L")
_LONGEST_COMMENT = 0xFFFF
_LARGEST = 1 << 30  # bytes: ten million members
_UTF8, _SIZES_64 = 1 << 11, 0x0001
_FULL = 0xFFFFFFFF  # in place of a number that has 64 bits and stands in the extra field
_DOS = 0


@dataclasses.dataclass(frozen=True)
class Member:
    """What the table says of a member.

    Attributes:
      name: with "/".
      offset: where its own header begins in the file.
      packed, size: its bytes in the file, and when it is unpacked.
      checksum: CRC-32.
      method: of compression, by its number.
      is_encrypted: whether it is.
      mode: Unix file mode, 0 if there is none.
    """

    name: str
    offset: int
    packed: int
    size: int
    checksum: int
    method: int
    is_encrypted: bool
    mode: int


class ZipDirectory:
    """Iterates over the `Member`s of a zip file, sorted by name.

    Attributes:
      is_whole: whether the table can be read to its end.
      length: bytes of the zip file.

    Args:
      archive: an `epath.Path`.

    Raises:
      InputError: the table is missing or cannot be read.
    """

    def __init__(self, archive):
        self.length = files.size_and_stamp(archive)[0]
        try:
            with files.opened(archive) as reader:
                self._table, self._shift = _read_table(reader, self.length)
        except files.Unreadable as error:
            raise InputError(f"{archive} {error}") from None
        except struct.error:
            raise InputError(f"{archive}: the zip file has no table of contents: it is cut short or damaged") from None
        starts, self.is_whole = _starts(self._table)
        if not starts and not self.is_whole:
            raise InputError(f"{archive}: the table of contents of the zip file is damaged")
        self._starts = array.array("Q", sorted(starts, key=self._sort_key))

    def __iter__(self):
        return map(self._member, self._starts)

    def _name(self, start):
        length = struct.unpack_from("<H", self._table, start + 28)[0]
        return self._table[start + _MEMBER.size : start + _MEMBER.size + length]

    def _sort_key(self, start):
        return self._name(start).replace(b"/", b"\0")  # files in the order of a walk through the folders

    def _member(self, start):
        fields = _MEMBER.unpack_from(self._table, start)
        system, flags, method = fields[2], fields[5], fields[6]
        checksum, packed, size, name_length, extra_length = fields[9:14]
        name = _text(self._name(start), flags)
        if system == _DOS:
            name = name.replace("\\", "/")  # as some programs for Windows write
        extra_start = start + _MEMBER.size + name_length
        extra = self._table[extra_start : extra_start + extra_length]
        size, packed, offset = _large_numbers(extra, (size, packed, fields[18]))
        return Member(name, offset + self._shift, packed, size, checksum, method, bool(flags & 1), fields[17] >> 16)


def _read_table(reader, length):
    """Returns (the table's bytes, what its offsets have to be shifted by).

    Raises:
      struct.error: it is not there.
    """
    tail_start = max(0, length - _LONGEST_COMMENT - _END.size)
    reader.seek(tail_start)
    tail = reader.read(length - tail_start)
    found = tail.rfind(b"PK\5\6")
    size, offset = _END.unpack(tail[found:][: _END.size] if found >= 0 else b"")[5:7]
    end = tail_start + found
    ends_64 = end - _LOCATOR.size - _END_64.size
    if ends_64 >= 0:
        reader.seek(ends_64)
        record = _END_64.unpack(reader.read(_END_64.size))
        if record[0] == b"PK\6\6" and reader.read(4) == b"PK\6\7":
            end, size, offset = ends_64, record[8], record[9]
    start = end - size
    if start < 0 or size > _LARGEST:
        raise struct.error
    reader.seek(start)
    return reader.read(size), start - offset


def _starts(table):
    """Returns (where members start in the table, whether it can be read to its end)."""
    starts, start = [], 0
    while start < len(table):
        if len(table) - start < _MEMBER.size or table[start : start + 4] != b"PK\1\2":
            return starts, False
        length = _MEMBER.size + sum(struct.unpack_from("<3H", table, start + 28))
        if start + length > len(table):
            return starts, False
        starts.append(start)
        start += length
    return starts, True


def _text(name, flags):
    if flags & _UTF8:
        return name.decode(errors="backslashreplace")
    try:
        return name.decode()  # many programs forget to say so
    except UnicodeDecodeError:
        return name.decode("cp437")


def _large_numbers(extra, numbers):
    """Returns a member's numbers with those that are in its extra field filled in."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == _SIZES_64:
            large = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            return tuple(next(large, _FULL) if number == _FULL else number for number in numbers)
        extra = extra[4 + length :]
    return numbers
