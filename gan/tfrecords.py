"""TFRecord files as bytes: what TensorFlow reads and writes, without waiting for TensorFlow.

A record is framed by its length and two checksums, in this order: 8 bytes length, 4 bytes checksum of them, the record,
4 bytes checksum of it; numbers are little-endian. The whole may be compressed by gzip.
"""

import gzip
import struct
import zlib

import google_crc32c

_BLOCK = 4 << 20  # bytes read at once
_HEAD, _TAIL = 12, 4
_GZIP_MAGIC = b"\x1f\x8b"


class Break(Exception):
    """A file cannot be read any further; the message is the reason, one clause about the next record."""


def frame(record):
    """Returns a record as it stands in a file."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _checksum(length), record, _checksum(record)))


def _checksum(data):
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def read(file, count):
    """Yields the records of a file, in lists of `count`; the last may be shorter.

    Args:
      file: an `epath.Path`; gzip is recognised by content.
      count: records at once.

    Raises:
      Break: after all records before the break.
    """
    records = []
    try:
        for record in _records(file):
            records.append(record)
            if len(records) == count:
                yield records
                records = []
    except Break:
        if records:
            yield records
        raise
    if records:
        yield records


def _records(file):
    """Yields the records of a file; raises `Break`."""
    with file.open("rb") as opened:
        packed = opened.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        opened.seek(0)
        stream, held, at = gzip.GzipFile(fileobj=opened) if packed else opened, b"", 0
        while True:
            while len(held) - at >= _HEAD:
                length = _length(held, at)
                end = at + _HEAD + length + _TAIL
                if end > len(held):
                    break
                record = held[at + _HEAD : end - _TAIL]
                if held[end - _TAIL : end] != _checksum(record):
                    raise Break("cannot be read: its checksum is wrong, so the file is damaged")
                yield record
                at = end
            block = _read(stream, _BLOCK)
            if not block:
                break
            held, at = held[at:] + block, 0
        if at < len(held):
            raise Break("is cut short: the file is truncated")


def _length(held, at):
    text = held[at : at + 8]
    if held[at + 8 : at + _HEAD] != _checksum(text):
        raise Break("cannot be read: the file is damaged there, or is no TFRecord file")
    return struct.unpack("<Q", text)[0]


def _read(stream, count):
    try:
        # One block of a compressed file at a time, so that nothing before a break is lost.
        return stream.read1(count) if isinstance(stream, gzip.GzipFile) else stream.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Break(f"cannot be read: the compressed file is truncated or damaged ({error})") from None
