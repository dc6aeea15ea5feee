"""Compressed files, read as if they were not."""

import bz2
import contextlib
import gzip
import lzma
import zlib

from gan.data.sources import files

# What reading raises where a file is cut short or damaged.
DAMAGE = (files.Unreadable, OSError, EOFError, zlib.error, lzma.LZMAError)
_MAGIC = {b"\x1f\x8b\x08": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


def unpacker(head):
    """Returns what opens a file that begins with `head`, or None if it is not compressed."""
    return next((unpack for magic, unpack in _MAGIC.items() if head.startswith(magic)), None)


@contextlib.contextmanager
def opened(file, unpack):
    """Opens a file for reading bytes.

    Args:
      file: an `epath.Path`.
      unpack: what `unpacker` says of it.

    Raises:
      DAMAGE: it cannot be opened or read; also from within the block.
    """
    with files.opened(file) as stream:
        if unpack is None:
            yield stream
            return
        with unpack(stream) as unpacked:
            yield unpacked
