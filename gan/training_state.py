"""What a run needs to go on exactly where it was: resume files, the record of its options, and the folder's lock.

All of it lives apart from the submission: `train_dir/resume/step_N.npz` holds every variable that the training step
touches, `train_dir/run.json` the options and the data's fingerprint. The place in the data and in the random draws
needs no saving, because both are functions of the step (see `gan.readers.Batches` and `gan.seeds`).
"""

import dataclasses
import fnmatch
import io
import re
import zipfile
import zlib

import numpy as np

from gan import __version__, storage
from gan.errors import InputError

# What a run writes into its folder; nothing else there is ever moved or overwritten.
_OWN_FILES = (
    "run.json",
    "submission.json",
    "checkpoint",
    "model.ckpt-*",
    "export",
    "resume",
    "eval",
    "images",
    "train.log",
    "quality.json",
    "events.out.tfevents.*",
    "wandb",
    "submitted.json",
)
_MOVING = ".moving"  # in `previous/N/` until everything has arrived there


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A `train_dir`.

    Attributes:
      path: the folder, an `epath.Path`.
    """

    path: object

    def has_run(self):
        return (self.path / "run.json").exists()

    def own_entries(self):
        """The entries of the folder that a run writes, whichever of them exist."""
        entries = list(self.path.iterdir()) if self.path.exists() else []
        own = (entry for entry in entries if any(fnmatch.fnmatchcase(entry.name, name) for name in _OWN_FILES))
        return sorted(own, key=str)

    def tidy(self):
        """Ends what a kill has left half done: a move to `previous/N/`, and temporary files."""
        for place in self._entries("previous"):
            if (place / _MOVING).exists():
                self._finish_move(place)
        for name in ("", "export", "resume", "eval"):
            for entry in self._entries(name):
                if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                    entry.rmtree() if entry.is_dir() else entry.unlink()

    def _entries(self, name):
        folder = self.path / name
        return list(folder.iterdir()) if folder.exists() else []

    def refuse_foreign_files(self):
        """Raises InputError where files that a run would overwrite lie there but were not written by one."""
        entries = self.own_entries()
        if entries and not self.has_run():
            raise InputError(
                f"--train_dir={self.path} holds {entries[0].name!r} but no run.json, so gan.train did not write it: "
                "choose another folder, or move the files yourself"
            )

    def move_aside(self):
        """Moves a run's files into the next free `previous/N/` and returns that folder, or None without a run."""
        entries = self.own_entries()
        if not entries:
            return None
        number = 1
        while (target := self.path / "previous" / str(number)).exists():
            number += 1
        storage.write_text(target / _MOVING, "")
        self._finish_move(target)
        return target

    def _finish_move(self, target):
        # run.json goes last: while anything is left here, it says that a run wrote it.
        for entry in sorted(self.own_entries(), key=lambda entry: entry.name == "run.json"):
            storage.move(entry, target / entry.name)
        (target / _MOVING).unlink()

    def options(self):
        """Returns `run.json`: {"options", "image_shape", "classes", "data_fingerprint", "data_count", "sessions"}."""
        try:
            if not self.has_run():
                raise ValueError("there is none")
            run = storage.read_json(self.path / "run.json")
            if not {"options", "image_shape", "data_fingerprint", "sessions"} <= set(run):
                raise ValueError("entries are missing")
            return run
        except ValueError as error:
            raise InputError(
                f"{self.path}/run.json cannot be used ({error}); begin anew in another --train_dir"
            ) from None

    def record(self, run):
        storage.write_json(self.path / "run.json", {"gan_version": __version__, **run})

    def saved_steps(self):
        """Returns the steps with a resume file, oldest first."""
        names = [entry.name for entry in self._entries("resume")]
        return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"step_(\d+)\.npz", name)))

    def save(self, step, arrays, keep):
        """Writes the resume file of a step and drops all but the newest `keep`.

        Args:
          arrays: {name: array}.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        storage.write_bytes(self._resume_file(step), buffer.getvalue())
        for old in self.saved_steps()[:-keep]:
            self._resume_file(old).unlink()

    def load(self, step):
        """Returns the arrays of a resume file.

        Raises:
          InputError: the file is damaged.
        """
        file = self._resume_file(step)
        try:
            with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (ValueError, EOFError, LookupError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{file} is damaged ({error}); delete it to go on from the save before it") from None

    def _resume_file(self, step):
        return self.path / "resume" / f"step_{step}.npz"


def export_folder(train_dir, step):
    """Returns the folder of a run that holds the SavedModel of a step."""
    return train_dir / "export" / f"step_{step}"


def changes(before, now):
    """Returns {name: [before, now]} for the values that differ between two records of one run."""
    return {name: [before.get(name), value] for name, value in now.items() if before.get(name) != value}


def change_texts(found):
    """Returns what `changes` has found as a list of clauses: "batch_size was 16, is now 17"."""
    return [f"{name} was {old}, is now {new}" for name, (old, new) in found.items()]


def name_variables(owners):
    """Names Keras variables for saving.

    Args:
      owners: {"generator": variables, ...}.

    Returns:
      {"generator/000/kernel": tf.Variable, ...}; layer names, which Keras numbers on and on, do not count.
    """
    return {
        f"{owner}/{i:03}/{variable.name}": variable.value
        for owner, variables in owners.items()
        for i, variable in enumerate(variables)
    }


def assign(variables, arrays):
    """Sets variables from saved arrays.

    Args:
      variables: {name: variable}.
      arrays: {name: array}, as saved.

    Raises:
      InputError: the names or the shapes differ, because the model's code has changed since.
    """
    for name in [*variables, *arrays]:
        wanted = tuple(variables[name].shape) if name in variables else "nothing"
        saved = arrays[name].shape if name in arrays else "nothing"
        if wanted != saved:
            raise InputError(
                f"the model has changed since this run began: {name} is now {wanted}, saved is {saved}; "
                "restore the code, or begin anew with --start_new_model or another --train_dir"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])
