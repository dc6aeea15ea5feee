"""Where raw images come from: folders, zip and tar files, CSV and IDX files, local or `gs://`; data sets known by name.

Bytes only; nothing is decoded (faces that have to be cut out are the one exception), nothing is unpacked to disk, and
memory does not grow with the images.
"""

import tarfile

from gan import storage
from gan.data.sources import files, idx, packing
from gan.data.sources.files import Unreadable
from gan.data.sources.folder import FolderSource
from gan.data.sources.idx import IdxSource
from gan.data.sources.named import SETS, open_named
from gan.data.sources.source import LABELS, Others, RawImage, Reader, Reference, Source
from gan.data.sources.table import TableSource
from gan.data.sources.tar_archive import TarSource
from gan.data.sources.tree import SUFFIXES
from gan.data.sources.zip_archive import ZipSource
from gan.errors import InputError

__all__ = [
    "LABELS",
    "SETS",
    "Others",
    "RawImage",
    "Reader",
    "Reference",
    "Source",
    "Unreadable",
    "open_named",
    "open_source",
]

_EXPECTED = "expected a folder, a zip or tar file, a .csv file or an IDX file"
_ZIP = (b"PK\3\4", b"PK\5\6")
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"P5", b"P6", b"II*\0", b"MM\0*")
_HEAD = tarfile.BLOCKSIZE


def open_source(options):
    """Opens a source, whatever its kind.

    The source is surveyed at once: every name is looked at, and no image is kept.

    Args:
      options: with the attributes
        input: a path, local or `gs://`;
        labels: one of `LABELS`;
        group_pattern: a regular expression; what its first group, or all of it, finds in a place names the group;
        path_column, label_column, group_column: of a CSV file.

    Returns:
      A `Source`.

    Raises:
      InputError: the input is not there, of no known kind, damaged as a whole, without images, or the other options do
        not fit it.
    """
    target = storage.path(options.input)
    if options.group_column and target.suffix.lower() != ".csv":
        raise InputError(f"--group_column is for a CSV file, and {target} is none; use --group_pattern")
    if target.is_dir():
        return FolderSource(target, options)
    try:
        with files.opened(target) as stream:
            head = stream.read(_HEAD)
    except Unreadable as error:
        raise InputError(f"--input={options.input} {error}; {_EXPECTED}") from None
    return _open_file(target, head, options)


def _open_file(target, head, options):
    suffix = target.suffix.lower()
    if not head:
        raise InputError(f"{target} is empty; {_EXPECTED}")
    if head.startswith(_ZIP):
        return ZipSource(target, options)
    unpack = packing.unpacker(head)
    inner = _unpacked_head(target, unpack) if unpack else head
    if idx.is_idx(inner):
        return IdxSource(target, options, unpack)
    if _is_tar(inner):
        return TarSource(target, options, unpack)
    if suffix == ".csv" and not unpack:
        return TableSource(target, options)
    if head.startswith(_IMAGES) or suffix in SUFFIXES:
        raise InputError(f"{target} is a single image; give the folder that it lies in")
    content = "holds neither a tar file nor an IDX file" if unpack else f"begins with {head[:12]!r}"
    raise InputError(f"{target} {content}; {_EXPECTED}")


def _unpacked_head(target, unpack):
    try:
        with packing.opened(target, unpack) as stream:
            return stream.read(_HEAD)
    except packing.DAMAGE:
        raise InputError(f"{target} is cut short or damaged; get it again") from None


def _is_tar(head):
    """Whether a file that begins with `head` is a tar file; an empty one is only zeros."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return len(head) == _HEAD and not any(head)
    return True
