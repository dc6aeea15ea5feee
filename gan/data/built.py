"""Folders that `gan.build_records` has filled: what their `manifest.json` says, and whether their files still agree."""

import dataclasses
import fnmatch

from gan import storage, tfrecords
from gan.data import reports
from gan.errors import InputError

_COUNTED_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Built:
    """What a manifest says of the record files beside it.

    Attributes:
      shape: (height, width, channels) of the images.
      label_names: {label: its name}; empty where images have none.
      files: {name: (records, hexadecimal SHA-256)}.
    """

    shape: tuple
    label_names: dict
    files: dict


def load(folder):
    """Returns the `Built` of a folder, an `epath.Path`, or None where no manifest of `gan.build_records` is in it."""
    try:
        content = reports.manifest(folder)
        transform = content["settings"]["transform"]
        return Built(
            shape=tuple(int(transform[side]) for side in ("height", "width", "channels")),
            label_names={int(label): name for name, label in content["labels"].items()},
            files={
                file["name"]: (int(file["records"]), str(file["sha256"]))
                for split in content["splits"].values()
                for file in split["files"]
            },
        )
    except (AttributeError, LookupError, TypeError, ValueError):  # none, or another program's
        return None


@dataclasses.dataclass(frozen=True)
class Finding:
    """Whether a file is as its manifest says.

    Attributes:
      verdict: "same", "differs", "missing" (the manifest names it) or "surplus" (the manifest does not).
      file: an `epath.Path`.
      words: more about it.
    """

    verdict: str
    file: object
    words: str

    def __str__(self):
        return f"{self.verdict}: {self.file}: {self.words}"


def verify(patterns):
    """Compares record files with the `manifest.json` in their folder.

    Args:
      patterns: comma-separated files or patterns. Files that the manifest names are missing where a pattern fits them.

    Yields:
      A `Finding` for each file, folder by folder, the missing ones last.

    Raises:
      InputError: no file matches, or a folder has no manifest of `gan.build_records`.
    """
    folders = {}
    for file in storage.expand(patterns):
        folders.setdefault(file.parent, []).append(file)
    manifests = {folder: load(folder) for folder in folders}
    for folder, manifest in manifests.items():
        if manifest is None:
            raise InputError(f"{folder} has no manifest.json of gan.build_records to compare with")
    for folder, files in folders.items():
        named = manifests[folder].files
        for file in files:
            yield _compare(file, named[file.name]) if file.name in named else _surplus(file)
        for name in sorted(named.keys() - {file.name for file in files}):
            if _fits(folder / name, patterns):
                yield Finding("missing", folder / name, f"manifest.json names it, with {named[name][0]:,} records")


def _surplus(file):
    return Finding("surplus", file, "manifest.json does not name it")


def _compare(file, expected):
    found = count_records(file), storage.sha256(file)
    if found == expected:
        return Finding("same", file, f"{found[0]:,} records")
    faults = []
    if found[0] != expected[0]:
        faults.append(f"{found[0]:,} whole records, manifest.json says {expected[0]:,}")
    if found[1] != expected[1]:
        faults.append(f"SHA-256 {found[1]}, manifest.json says {expected[1]}")
    return Finding("differs", file, "; ".join(faults))


def count_records(file):
    """Returns how many records of a file can be read."""
    count = 0
    try:
        for serialized in tfrecords.read(file, _COUNTED_AT_ONCE):
            count += len(serialized)
    except tfrecords.Break:
        pass
    return count


def _fits(file, patterns):
    parts = (part.strip() for part in patterns.split(","))
    return any(fnmatch.fnmatchcase(str(file), str(storage.path(part))) for part in parts if part)
