"""Copies a submission to a folder of ours: its files may change, or be something other than files."""

import contextlib
import dataclasses
import pathlib
import re
import stat
import tempfile

from google.protobuf import text_format
from tensorflow.python.training import checkpoint_state_pb2

from gan import storage
from gan.arena.subgraph import SubmissionError

MAX_BYTES = 2 << 30
MAX_FILES = 100
_MAX_CHECKPOINT_FILE_BYTES = 1 << 20


@dataclasses.dataclass
class Snapshot:
    """The files of a submission, and nothing else, as they were at one moment.

    Attributes:
      path: the local copy, a `pathlib.Path`.
      checkpoint: the name of its TF1 checkpoint, "model.ckpt-N"; None for a SavedModel.
      sha256: {file name: hash}.
    """

    path: pathlib.Path
    checkpoint: str | None
    sha256: dict


@contextlib.contextmanager
def take(folder):
    """Copies the submission in `folder`, an `epath.Path`, for the length of a `with` block.

    Raises:
      SubmissionError: there is no submission, a file is missing, is a link or no plain file, or is too large.
    """
    with tempfile.TemporaryDirectory(prefix="gan-submission-") as temporary:
        local = pathlib.Path(temporary)
        checkpoint = None
        if (folder / "checkpoint").exists():
            _copy(folder, "checkpoint", local, _MAX_CHECKPOINT_FILE_BYTES)
            checkpoint = _checkpoint_name(local / "checkpoint", folder)
            names = [f"{checkpoint}.meta", f"{checkpoint}.index", *_data_files(folder, checkpoint)]
        elif (folder / "saved_model.pb").exists():
            names = ["saved_model.pb", "variables/variables.index"]
            names += [f"variables/{name}" for name in _data_files(folder / "variables", "variables")]
        else:
            raise SubmissionError(
                f"{folder} holds no submission: expected a TF1 checkpoint ('checkpoint', model.ckpt-N.*) or a "
                "SavedModel ('saved_model.pb'), as gan.train writes them"
            )
        if len(names) > MAX_FILES:
            raise SubmissionError(f"{folder} holds {len(names)} files; at most {MAX_FILES} are allowed")
        left = MAX_BYTES
        for name in names:
            left -= _copy(folder, name, local, left)
        files = [path for path in sorted(local.rglob("*")) if path.is_file()]
        hashes = {str(path.relative_to(local)): storage.sha256(storage.path(path)) for path in files}
        yield Snapshot(local, checkpoint, hashes)


def _data_files(folder, prefix):
    pattern = re.compile(re.escape(prefix) + r"\.data-\d{5}-of-\d{5}")
    return sorted(entry.name for entry in folder.iterdir() if pattern.fullmatch(entry.name)) if folder.exists() else []


def _copy(folder, name, local, max_bytes):
    """Copies one file and returns its size."""
    source = folder / name
    if storage.is_local(folder):
        _refuse_special_files(folder, name)
    if not source.exists():
        raise SubmissionError(f"{folder}: {name} is missing")
    size = source.stat().length
    if size > max_bytes:
        raise SubmissionError(f"{folder}: {name} has {size} bytes; at most {max_bytes} are allowed here")
    (local / name).parent.mkdir(exist_ok=True)
    storage.copy_file(source, storage.path(local / name))
    return size


def _refuse_special_files(folder, name):
    """A link could lead to another team's files, a pipe would never end."""
    parts = pathlib.PurePath(name).parts
    for depth in range(1, len(parts) + 1):
        path = pathlib.Path(folder, *parts[:depth])
        mode = path.lstat().st_mode if path.exists() or path.is_symlink() else None
        if mode is None:
            return
        if stat.S_ISLNK(mode):
            raise SubmissionError(f"{path} is a link; a submission holds files of its own")
        if not (stat.S_ISREG(mode) if depth == len(parts) else stat.S_ISDIR(mode)):
            raise SubmissionError(f"{path} is not a plain file")


def _checkpoint_name(file, folder):
    """The newest checkpoint's file name; savers of old wrote a path of their own machine before it."""
    try:
        state = text_format.Parse(file.read_text(), checkpoint_state_pb2.CheckpointState())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{folder}/checkpoint is damaged ({error})") from None
    name = re.split(r"[/\\]", state.model_checkpoint_path)[-1]
    if not name or name.startswith("."):
        raise SubmissionError(f"{folder}/checkpoint names no checkpoint: {state.model_checkpoint_path!r}")
    return name
