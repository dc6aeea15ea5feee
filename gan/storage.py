"""Paths that may be local or `gs://`, and writes that a kill cannot leave half done.

All paths of the project are `etils.epath.Path` objects made by `path`. TensorFlow's in-memory file system (`ram://`)
is one of the schemes, so that tests can prove that nothing assumes a local disk.
"""

import contextlib
import errno
import hashlib
import io
import json

import filelock
from etils import epath
from etils.epath import backend, gpath, register

from gan import gs
from gan.errors import InputError
from gan.ordered_map import in_threads


@register.register_path_cls(gs.PREFIX)
class BucketPath(gpath.PosixGPath):
    """A path in Google Cloud Storage."""

    _backend = gs.backend


def _register_ram():
    """Teaches epath the scheme `ram://`, which TensorFlow serves but epath has no name for."""
    gpath._URI_PREFIXES += ("ram://",)
    gpath._URI_SCHEMES |= {"ram"}
    gpath._URI_MAP_ROOT["ram://"] = "/ram/"
    gpath._PREFIX_TO_BACKEND["ram"] = backend.tf_backend
    register.register_path_cls(("ram://",))(gpath.PosixGPath)


_register_ram()
_REMOTE = ("gs://", "ram://")
_RESERVED = ("/gs/", "/s3/", "/az/", "/hf/", "/ram/")  # where epath keeps remote paths; it would take these for such


def path(text):
    """Returns the `epath.Path` of a local path (`~` is the home folder) or an URI.

    Raises:
      InputError: the text is empty, its scheme is not one that can be read, or it names no bucket.
    """
    if not str(text):
        raise InputError("a path is empty; give a folder or a file, local or gs://")
    text = str(text)
    if "://" in text and not text.startswith(_REMOTE):
        scheme = text.split("://")[0]
        raise InputError(f"{text}: paths of the kind {scheme}:// are not supported; use a local path or gs://")
    if text.startswith(_RESERVED):
        raise InputError(f"{text}: local paths cannot begin with {text[:4]}; use another folder")
    if gs.is_gs(text):
        gs.check_name(text)
    return epath.Path(text).expanduser()


def is_local(target):
    """Whether `target` lies on this machine's own file system."""
    return "://" not in str(target)


def expand(patterns):
    """Turns comma-separated patterns into files.

    Args:
      patterns: file names or patterns with `*`, `?` or `[...]`, comma-separated, local or `gs://`.

    Returns:
      The matching files, sorted within each pattern, each once.

    Raises:
      InputError: a pattern matches no file, or names a folder.
    """
    files = {}
    for text in filter(None, (part.strip() for part in patterns.split(","))):
        matches = _matches(path(text))
        if not matches:
            raise InputError(f"no file matches {text!r}; expected record files, for instance data/train*.tfrecords")
        files.update({str(match): match for match in matches})
    if not files:
        raise InputError(f"no file pattern in {patterns!r}")
    return list(files.values())


def _matches(pattern):
    if pattern.exists():  # also a plain name that holds a wildcard character
        if pattern.is_dir():
            raise InputError(f"{pattern} is a folder; name its files, for instance {pattern}/*.tfrecords")
        return [pattern]
    if gs.is_gs(pattern):
        return [path(file) for file in gs.matching(pattern)]
    parts = pattern.parts
    first = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), None)
    if first is None:
        return []
    root = type(pattern)(*parts[:first]) if first else epath.Path(".")
    return sorted((match for match in root.glob("/".join(parts[first:])) if not match.is_dir()), key=str)


def write_bytes(target, data):
    """Writes a file so that a reader, or a kill, sees either the old content or the new one."""
    with replacing(target) as writer:
        writer.write(data)


def write_text(target, text):
    write_bytes(target, text.encode())


def write_json(target, value):
    """Writes plain data as indented JSON; numbers that JSON cannot hold (NaN) are an error."""
    write_bytes(target, _json(value))


def _json(value):
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read_json(source):
    return json.loads(source.read_text())


def update_json(target, change, default):
    """Changes plain data in a file; of several who do so at once none loses what another did.

    Args:
      target: the file.
      change: returns the new data; it is called with what is there, or with `default`, and on gs:// maybe again.
    """
    if not gs.is_gs(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            filelock.FileLock(str(target.parent / f".{target.name}.lock"))
            if is_local(target)
            else contextlib.nullcontext()
        ):
            write_json(target, change(read_json(target) if target.exists() else default))
        return
    while True:
        try:
            before = gs.find(target)
            changed = change(read_json(target) if before else default)
            gs.send(io.BytesIO(_json(changed)), target, replaces=before.generation if before else 0)
            return
        except OSError as error:
            if error.errno != errno.ESTALE:  # somebody else was faster
                raise


def copy_file(source, target):
    """Copies one file, 8 MB at a time; like `write_bytes`, never half. A download goes on where it broke off."""
    if gs.is_gs(source) and is_local(target):
        gs.fetch(source, target)
        return
    with source.open("rb") as reader, replacing(target) as writer:
        while block := reader.read(1 << 23):
            writer.write(block)


def copy_files(pairs):
    """Copies files, several at a time; an error ends what has not begun.

    Args:
      pairs: (source, target), `epath.Path`s.
    """
    in_threads(lambda pair: copy_file(*pair), pairs)


@contextlib.contextmanager
def lock(folder):
    """Holds a folder for this process, where it is local; a killed process lets go.

    Raises:
      InputError: another process holds it.
    """
    if not is_local(folder):  # an object store has no locks
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise InputError(f"{folder} is in use by another process; wait for it, or name another folder") from None


@contextlib.contextmanager
def replacing(target):
    """Opens a temporary neighbour of `target` for writing and renames it when all is written."""
    if gs.is_gs(target):  # where an object is there when all of it is
        with target.open("wb") as writer:
            yield writer
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.tmp"
    temporary.unlink(missing_ok=True)  # left by a kill; some remote file systems would append to it
    try:
        with temporary.open("wb") as writer:
            yield writer
        temporary.replace(target)
    except OSError:  # a full disk needs the space
        temporary.unlink(missing_ok=True)
        raise


def publish_folder(source, target, last):
    """Copies a local folder to `target`, replacing what is there.

    On this machine the folder is renamed into place when it is whole. An object store cannot rename a folder at once;
    there the file `last` goes before all others and arrives after them, and its presence says that they are there.
    """
    temporary = target.parent / f".{target.name}.tmp" if is_local(target) else target
    (temporary / last).unlink(missing_ok=True)
    temporary.rmtree(missing_ok=True)
    files = files_below(source)
    for group in ([f for f in files if f.name != last], [f for f in files if f.name == last]):
        copy_files((file, temporary / file.relative_to(source)) for file in group)
    if temporary is not target:
        target.rmtree(missing_ok=True)
        temporary.rename(target)


def move(source, target):
    """Moves a file or a folder to a place on the same file system."""
    if is_local(source) or not source.is_dir():
        source.rename(target)
        return
    for file in files_below(source):  # an object store has no folders that could be renamed
        move(file, target / file.relative_to(source))
    source.rmtree(missing_ok=True)


def files_below(folder):
    """Returns every file under `folder`, sorted by path."""
    if gs.is_gs(folder):
        return [folder / name for name in gs.names_below(folder)]
    found = []
    for entry in folder.iterdir():
        found.extend(files_below(entry) if entry.is_dir() else [entry])
    return sorted(found, key=str)


def sha256(file):
    """Returns the hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as reader:
        while block := reader.read(1 << 23):
            digest.update(block)
    return digest.hexdigest()


def size_and_generation(file):
    """Returns a file's size in bytes and its generation, which changes with an object's content; None elsewhere.

    Raises:
      FileNotFoundError: it is not there.
    """
    if not gs.is_gs(file):
        return file.stat().length, None
    entry = gs.find(file)
    if entry is None:
        raise FileNotFoundError(errno.ENOENT, "no such bucket or object", str(file))
    return entry.size, entry.generation
