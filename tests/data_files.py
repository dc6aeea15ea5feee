"""Writes folders, archives, tables and IDX files of raw images, good and broken ones, for the tests."""

import io
import struct
import tarfile
import types
import zipfile

from gan import storage


def options(target, **settings):
    """Returns what `sources.open_source` takes, with the defaults of the command."""
    columns = {"path_column": "path", "label_column": "label", "group_column": ""}
    return types.SimpleNamespace(**{"input": str(target), "labels": "auto", "group_pattern": "", **columns, **settings})


def folder(target, tree):
    """Writes {place: bytes} below a folder, local or remote."""
    for place, data in tree.items():
        storage.write_bytes(storage.path(str(target)) / place, data)
    return target


def zipped(tree, method=zipfile.ZIP_DEFLATED):
    """Returns {name or `zipfile.ZipInfo`: bytes} as a zip file's bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    return file.getvalue()


def zip_symlink(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


def tarred(tree, packing="", form=tarfile.PAX_FORMAT):
    """Returns {name: bytes, or a `tarfile.TarInfo` for what is no file} as a tar file's bytes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{packing}", format=form) as archive:
        for name, data in tree.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def tar_entry(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def idx(values, *dimensions, kind=0x08):
    """Returns an IDX file's bytes."""
    return struct.pack(f">HBB{len(dimensions)}I", 0, kind, len(dimensions), *dimensions) + bytes(values)


def truncated_file(file, size):
    """Makes a file of zeros that takes no space on the disk."""
    with open(file, "wb") as writer:
        writer.truncate(size)
