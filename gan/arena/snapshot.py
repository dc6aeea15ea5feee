"""Copies submissions into a store of ours: a team's own files may change, or be something other than files.

A snapshot is a folder named by the hash of its content. Whatever is played later is played from it.
"""

import contextlib
import dataclasses
import datetime
import errno
import hashlib
import pathlib
import re
import stat
import tempfile

from etils import epy
from google.protobuf import text_format

from gan import gs, receipt, storage
from gan.errors import InputError, SubmissionError, first_line
from gan.ordered_map import in_threads

with epy.lazy_imports():
    from tensorflow.python.framework import errors as tf_errors
    from tensorflow.python.training import checkpoint_state_pb2

MAX_BYTES = 2 << 30
MAX_FILES = 100
MAX_SOURCE_BYTES = 50 << 20
MAX_SOURCE_FILES = 2000
_MAX_CHECKPOINT_FILE_BYTES = 1 << 20
_MAX_NAME = 200  # a file system allows 255, and an ending follows
_RECORD = "snapshot.json"
# What reading a team's folder may end in; the rest, as a full disk, is the organiser's own.
_UNREADABLE = {
    *(errno.EACCES, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM),
    errno.ESTALE,  # an object has another generation than a moment ago
}


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The files of a submission, and nothing else, as they were at one moment.

    Attributes:
      path: the copy, an `epath.Path`.
      digest: SHA-256 over the names and hashes of all files, hexadecimal.
      checkpoint: the name of its TF1 checkpoint, "model.ckpt-N"; None for a SavedModel.
      sha256: {file name: hash}, the team's `source/` included.
      taken: when, in UTC, ISO 8601.
      generations: {file name: object generation} for files that came from an object store.
    """

    path: object
    digest: str
    checkpoint: str | None
    sha256: dict
    taken: str
    generations: dict


def take(folder, store, taken=None):
    """Copies the submission in `folder` to `store/DIGEST`, unless it is there already.

    Args:
      folder, store: `epath.Path`s, local or remote.
      taken: when the files were taken, where `folder` is itself a snapshot in another store.

    Returns:
      The `Snapshot`.

    Raises:
      SubmissionError: there is no submission, a file is missing, is a link or no plain file, is too large, changed
        while it was copied, or is not what the receipt of the upload names.
    """
    with _staging(folder, store) as stage:
        local = stage / "files"
        with _blaming_team(folder):
            uploaded = _receipt(folder, stage)
            if uploaded and (known := _known(folder, store, uploaded)):
                return known
            checkpoint, copied = _copy_all(folder, local, uploaded)
        for file in storage.files_below(local):
            if file.relative_to(local).as_posix() not in copied:
                file.unlink()  # of a submission that was there when an earlier call was killed
        hashes = {name: storage.sha256(local / name) for name in sorted(copied)}
        generations = {name: generation for name, generation in copied.items() if generation is not None}
        if uploaded:
            uploaded.insist(hashes, generations)
        digest = _digest(hashes)
        taken = taken or datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        snapshot = Snapshot(folder_of(store, digest), digest, checkpoint, hashes, taken, generations)
        record = dataclasses.asdict(dataclasses.replace(snapshot, path=None))
        if (snapshot.path / _RECORD).exists():
            return read(snapshot.path)
        storage.write_json(local / _RECORD, {"format": 1, "from": str(folder), **record})
        storage.publish_folder(local, snapshot.path, last=_RECORD)
    return snapshot


@contextlib.contextmanager
def _staging(folder, store):
    """A local folder for files on their way, empty or with those that an earlier, broken-off download brought."""
    if not (gs.is_gs(folder) and storage.is_local(store)):
        with tempfile.TemporaryDirectory(prefix="gan-submission-") as temporary:
            yield storage.path(temporary)
        return
    stage = store / f".{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.tmp"
    stage.mkdir(parents=True, exist_ok=True)
    try:
        yield stage
    except SubmissionError:  # no other try would bring it
        stage.rmtree()
        raise
    stage.rmtree()


@contextlib.contextmanager
def _blaming_team(folder):
    try:
        yield
    except (OSError, tf_errors.OpError) as error:
        if isinstance(error, OSError) and error.errno not in _UNREADABLE:
            raise
        raise SubmissionError(f"{folder} cannot be read ({first_line(error)})") from None


def _receipt(folder, temporary):
    """Returns the `receipt.Receipt` of an upload to `folder`, or None where there is none."""
    if not _there(folder, receipt.NAME):
        return None
    _copy(folder, [receipt.NAME], temporary, receipt.MAX_BYTES)
    found = receipt.parse((temporary / receipt.NAME).read_bytes())
    if not found.complete:
        raise SubmissionError(f"{folder}: the upload of {found.time} has not ended; run gan.submit_model again")
    return found


def _known(folder, store, uploaded):
    """Returns the snapshot of an upload that is in the store already, if the objects are still those of then."""
    if not (folder_of(store, uploaded.snapshot) / _RECORD).exists():
        return None
    states = {
        **_states(folder, uploaded.model),
        **_states(folder.parent, uploaded.source),
    }
    generations = {name: generation for name, (_, generation) in states.items()}
    known = read(folder_of(store, uploaded.snapshot))
    return known if known.generations == generations and known.digest == uploaded.snapshot else None


def _copy_all(folder, local, uploaded):
    """Copies what belongs to a submission; returns its TF1 checkpoint's name, or None, and what `_copy` does.

    Args:
      uploaded: the `receipt.Receipt` that says what belongs to it, or None.
    """
    checkpoint, names = _model_files(folder, local, uploaded)
    if len(names) > MAX_FILES:
        raise SubmissionError(f"{folder} holds {len(names)} files; at most {MAX_FILES} are allowed")
    copied = _copy(folder, names, local, MAX_BYTES)
    if uploaded is None:
        return checkpoint, copied | _copy(folder, _source_files(folder), local, MAX_SOURCE_BYTES)
    if len(uploaded.source) > MAX_SOURCE_FILES:
        raise SubmissionError(f"{folder}: source/ holds more than {MAX_SOURCE_FILES} files")
    return checkpoint, copied | _copy(folder.parent, list(uploaded.source), local, MAX_SOURCE_BYTES)


def read(folder):
    """Returns the `Snapshot` in a folder that `take` made."""
    record = storage.read_json(folder / _RECORD)
    fields = {field.name: record[field.name] for field in dataclasses.fields(Snapshot)}
    return Snapshot(**{**fields, "path": folder})


def folder_of(store, digest):
    """Returns the folder in a store where the snapshot with this hash lies."""
    return store / digest[:16]


def verified(store, digest):
    """Returns the `Snapshot` with this hash, after a look at every file.

    Raises:
      InputError: it is missing, or is not as it was taken.
    """
    folder = folder_of(store, digest)
    if not folder.exists():
        raise InputError(f"{folder} is missing: a snapshot that plays")
    files = read(folder)
    if changed := difference(files):
        raise InputError(changed)
    if files.digest != digest:
        raise InputError(f"{folder} is not the snapshot that was taken")
    return files


def all_in(store):
    """Returns the whole snapshots of a store; what a kill left of another one is no snapshot."""
    folders = store.iterdir() if store.exists() else ()
    return [read(folder) for folder in folders if not folder.name.startswith(".") and (folder / _RECORD).exists()]


def difference(snapshot):
    """Says which file is not as it was when the snapshot was taken, or returns None."""
    if _digest(snapshot.sha256) != snapshot.digest:
        return f"{snapshot.path / _RECORD} has changed since it was taken"
    for name, sha256 in snapshot.sha256.items():
        file = snapshot.path / name
        if not file.exists():
            return f"{file} is missing"
        if storage.sha256(file) != sha256:
            return f"{file} has changed since it was taken"
    return None


@contextlib.contextmanager
def local_copy(snapshot):
    """A `pathlib.Path` to the snapshot's files, copied for the length of the `with` block where they are remote."""
    if storage.is_local(snapshot.path):
        yield pathlib.Path(snapshot.path)
        return
    with tempfile.TemporaryDirectory(prefix="gan-snapshot-") as temporary:
        target = storage.path(temporary) / "model"
        storage.publish_folder(snapshot.path, target, last=_RECORD)
        yield pathlib.Path(target)


def _digest(hashes):
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _model_files(folder, local, uploaded):
    """Returns the TF1 checkpoint's name, or None, and the names of the files that belong to the model."""
    if _there(folder, "checkpoint"):
        _copy(folder, ["checkpoint"], local, _MAX_CHECKPOINT_FILE_BYTES)
        checkpoint = _checkpoint_name(local / "checkpoint", folder)
        data = _data_files(folder, checkpoint)
        if uploaded:  # another upload may have left more
            data = [name for name in data if name in uploaded.model]
        return checkpoint, ["checkpoint", f"{checkpoint}.meta", f"{checkpoint}.index", *data]
    if _there(folder, "saved_model.pb"):
        names = ["saved_model.pb", "variables/variables.index"]
        return None, names + [f"variables/{name}" for name in _data_files(folder / "variables", "variables")]
    if not folder.exists():
        raise SubmissionError(f"{folder} does not exist")
    raise SubmissionError(
        f"{folder} holds no submission: expected a TF1 checkpoint ('checkpoint', model.ckpt-N.*) or a "
        "SavedModel ('saved_model.pb'), as gan.train writes them"
    )


def _there(folder, name):
    """Whether a file, or a link that leads nowhere, is there."""
    file = folder / name
    return file.exists() or (storage.is_local(folder) and pathlib.Path(file).is_symlink())


def _data_files(folder, prefix):
    pattern = re.compile(re.escape(prefix) + r"\.data-\d{5}-of-\d{5}")
    return sorted(entry.name for entry in folder.iterdir() if pattern.fullmatch(entry.name)) if folder.is_dir() else []


def _source_files(folder):
    """Names of the files of the team's own code, which is never run and only shown to reviewers."""
    names, folders = [], [folder / "source"] if (folder / "source").is_dir() else []
    seen = 0
    while folders:
        here = folders.pop()
        _refuse_special_files(folder, here.relative_to(folder).as_posix())
        for entry in here.iterdir():
            if not entry.name.isprintable():  # bytes that are no text could not be written into a JSON file
                raise SubmissionError(f"{folder}: source/{entry.name} is no name of a file that can be shown")
            if entry.is_dir():
                folders.append(entry)
            else:
                names.append(entry.relative_to(folder).as_posix())
            seen += 1
            if seen > MAX_SOURCE_FILES:
                raise SubmissionError(f"{folder}/source holds more than {MAX_SOURCE_FILES} files")
    return sorted(names)


def _copy(folder, names, local, max_bytes):
    """Copies files once their sizes are known, and returns {name: object generation}, which is None on a disk.

    Args:
      max_bytes: the most that all of them may hold together.
    """
    for name in names:
        _refuse_special_files(folder, name)
    before = _states(folder, names)
    left = max_bytes
    for name, (size, _) in before.items():
        if size > left:
            raise SubmissionError(f"{folder}: {name} has {size} bytes; at most {left} are allowed here")
        left -= size
    storage.copy_files((folder / name, local / name) for name in names)
    after = _states(folder, names)
    for name, state in before.items():
        if after[name] != state or (local / name).stat().length != state[0]:
            raise SubmissionError(f"{folder}: {name} changed while it was copied; stop the run that writes it")
    return {name: generation for name, (_, generation) in before.items()}


def _states(folder, names):
    """Returns {name: (size, object generation)}."""
    names = list(names)
    return dict(zip(names, in_threads(lambda name: _state(folder, name), names), strict=True))


def _state(folder, name):
    try:
        return storage.size_and_generation(folder / name)
    except (FileNotFoundError, tf_errors.NotFoundError):
        raise SubmissionError(f"{folder}: {name} is missing") from None


def _refuse_special_files(folder, name):
    """A link could lead to another team's files, a pipe would never end."""
    if not storage.is_local(folder):
        return
    parts = pathlib.PurePath(name).parts
    for depth in range(1, len(parts) + 1):
        path = pathlib.Path(folder, *parts[:depth])
        mode = path.lstat().st_mode if path.exists() or path.is_symlink() else None
        if mode is None:
            return
        if stat.S_ISLNK(mode):
            raise SubmissionError(f"{path} is a link; a submission holds files of its own")
        if not (stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and path.name != parts[-1]) or _is_source(parts, mode)):
            raise SubmissionError(f"{path} is not a plain file")


def _is_source(parts, mode):
    return parts[0] == "source" and stat.S_ISDIR(mode)


def _checkpoint_name(file, folder):
    """The newest checkpoint's file name; savers of old wrote a path of their own machine before it."""
    try:
        state = text_format.Parse(file.read_text(), checkpoint_state_pb2.CheckpointState())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{folder}/checkpoint is damaged ({error})") from None
    name = re.split(r"[/\\]", state.model_checkpoint_path)[-1]
    if not name or name.startswith(".") or not name.isprintable() or len(name.encode()) > _MAX_NAME:
        raise SubmissionError(f"{folder}/checkpoint names no checkpoint: {state.model_checkpoint_path!r}")
    return name
