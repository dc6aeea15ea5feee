"""Trackers, which `--track` names: where a run's numbers, pictures, flags and files go to be looked at.

A tracker only watches, so it never stops a run: one that fails is reported in one line and left out from there on.
"""

import contextlib
import importlib.util
import os
import pathlib
import secrets
import tempfile

from etils import epy

from gan import class_lookup, storage
from gan.errors import InputError

with epy.lazy_imports():
    import tensorflow as tf
    import wandb
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import api as hparams
    from tensorboard.plugins.scalar import summary_v2 as scalar

_NAMES = {"tensorboard": "TensorBoardTracker", "wandb": "WandbTracker"}
EVENTS_BYTES = 4 << 20  # of a file of events after which the next one begins, where they are copied
WANDB_SECONDS = 30.0  # that its server is waited for, at the start and at the end of a session


class BaseTracker:
    """Base of all trackers. A method that is not overridden does nothing.

    A tracker is made without arguments. Making it raises InputError where it cannot work at all; whatever its methods
    raise leaves it out of the rest of the run.
    """

    def start(self, folder, run, step):
        """Begins a session of a run.

        Args:
          folder: the run's folder, an `epath.Path`.
          run: the content of `run.json`: {"options": {flag: value}, "image_shape", "data_count", ...}.
          step: the number of steps that earlier sessions have done.
        """

    def scalars(self, step, values):
        """Takes numbers, {name: float}."""

    def picture(self, step, name, picture):
        """Takes a picture, uint8 [height, width] or [height, width, 3]."""

    def histograms(self, step, arrays):
        """Takes arrays whose values' distribution is to be shown, {name: array}."""

    def artifact(self, step, name, path):
        """Takes a file or a folder that the run has written, an `epath.Path`."""

    def flush(self):
        """Brings what was taken to safety: the run has just been saved."""

    def close(self, failed):
        """Ends the session; `failed`: by an error."""

    def places(self):
        """Returns where to look, {address or command: what is seen there}."""
        return {}


class TensorBoardTracker(BaseTracker):
    """Writes events for TensorBoard, into the run's folder or `--tensorboard_dir`.

    Where that is remote, they are written here and copied, because an object cannot grow; a file that has become large
    is followed by another, so that little is copied twice.

    It takes no artifacts: they lie in the run's folder anyway.
    """

    def start(self, folder, run, step):
        self._folder = storage.path(run["options"].get("tensorboard_dir") or folder)
        self._local = self._folder if storage.is_local(self._folder) else storage.path(tempfile.mkdtemp(prefix="gan-"))
        self._events = tf.summary.create_file_writer(str(self._local))
        flags = {name: "" if value is None else value for name, value in run["options"].items()}
        rows = [f"| --{name} | {value} |" for name, value in flags.items()]
        with self._events.as_default(step):
            tf.summary.text("flags", "\n".join(["| flag | value |", "| --- | --- |", *rows]))
            hparams.hparams(flags)

    def scalars(self, step, values):
        summary = summary_pb2.Summary()
        for name, value in values.items():
            summary.MergeFrom(scalar.scalar_pb(name, value))
        with self._events.as_default(step):
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())  # at once: a tenth of the time of each

    def picture(self, step, name, picture):
        height, width, *channels = picture.shape
        with self._events.as_default(step):
            tf.summary.image(name, picture.reshape(1, height, width, *channels or [1]))

    def histograms(self, step, arrays):
        with self._events.as_default(step):
            for name, values in arrays.items():
                tf.summary.histogram(name, values)

    def flush(self):
        self._events.flush()
        if self._local != self._folder and sum(self._copy()) > EVENTS_BYTES:
            self._events.close()
            self._copy()
            for file in storage.files_below(self._local):
                file.unlink()
            self._events = tf.summary.create_file_writer(str(self._local))

    def close(self, failed):
        self._events.close()
        if self._local != self._folder:
            self._copy()
            self._local.rmtree()

    def _copy(self):
        """Copies what is written, and returns the sizes of the files in bytes."""
        files = storage.files_below(self._local)
        storage.copy_files((file, self._folder / file.name) for file in files)
        return [file.stat().length for file in files]

    def places(self):
        return {f"tensorboard --logdir={self._folder}": "curves, pictures and flags"}


class WandbTracker(BaseTracker):
    """Sends everything to Weights & Biases, or keeps it in `wandb/` of the run's folder with `WANDB_MODE=offline`.

    Its own environment variables (`WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_NAME`, `WANDB_API_KEY`, ...) hold.
    """

    def __init__(self):
        if not importlib.util.find_spec("wandb"):
            raise InputError("--track=wandb needs another package: pip install 'gan[track]'")
        try:
            settings = wandb.setup(wandb.Settings(silent=True)).settings
            ready = settings.mode not in ("online", "run", "shared") or wandb.login(prompt=False, verify=False)
        except (wandb.Error, ValueError) as error:
            raise InputError(f"--track=wandb: {' '.join(str(error).split())}") from None
        if not ready:
            raise InputError("--track=wandb: nobody is logged in; run `wandb login`, or set WANDB_MODE=offline")

    def start(self, folder, run, step):
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "gan"),
            name=os.environ.get("WANDB_NAME", folder.name),
            id=_wandb_id(folder),
            resume="allow",
            dir=str(folder) if storage.is_local(folder) else tempfile.mkdtemp(prefix="gan-wandb-"),
            config={
                **run["options"],
                **{name: run[name] for name in ("image_shape", "data_count", "data_fingerprint")},
            },
            settings=wandb.Settings(console="off", init_timeout=WANDB_SECONDS, finish_timeout=WANDB_SECONDS),
        )
        # A run that goes on from a save repeats steps, which wandb's own counter would not take.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step, values):
        self._run.log({**values, "step": step})

    def picture(self, step, name, picture):
        self._run.log({name: wandb.Image(picture), "step": step})

    def histograms(self, step, arrays):
        self._run.log({**{name: wandb.Histogram(values) for name, values in arrays.items()}, "step": step})

    def artifact(self, step, name, path):
        artifact = wandb.Artifact(f"{name}-{self._run.id}", type=name, metadata={"step": step})
        for file in storage.files_below(path) if path.is_dir() else [path]:
            with artifact.new_file(str(file.relative_to(path.parent)), mode="wb") as writer:
                writer.write(file.read_bytes())
        self._run.log_artifact(artifact, aliases=["latest", f"step_{step}"])

    def close(self, failed):
        try:
            self._run.finish(exit_code=int(failed))
        except Exception:
            wandb.teardown()  # or it tries again when Python ends, and complains at length
            raise

    def places(self):
        if self._run.offline:
            sessions = pathlib.Path(self._run.settings.sync_dir).with_name(f"offline-run-*-{self._run.id}")
            return {f"wandb sync {sessions}": "sends what was tracked to Weights & Biases"}
        return {self._run.url: "curves, pictures, flags and files"} if self._run.url else {}


def _wandb_id(folder):
    """Returns the id under which wandb knows the run in a folder, so that a resumed run goes on there as well."""
    file = folder / "wandb" / "run_id"
    if not file.exists():
        storage.write_text(file, secrets.token_hex(4))
    return file.read_text()


def make(names):
    """Returns the trackers of a comma-separated list: of "tensorboard", "wandb" or classes by dotted path.

    Raises:
      InputError: there is no such tracker, or it cannot work: a package is missing, nobody is logged in.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    for name in given:
        if "." not in name and name not in _NAMES:
            raise InputError(f"--track={name}: expected {', '.join(_NAMES)} or a class by dotted path, comma-separated")
    found = [class_lookup.find(_NAMES.get(name, name), __name__, BaseTracker, "track") for name in dict.fromkeys(given)]
    return [class_lookup.make(tracker) for tracker in found]


class Watchers:
    """Trackers that are told of a run, each for as long as it works.

    Args:
      trackers: of `make`.
      say: is called with the sentence that reports a failure.
    """

    def __init__(self, trackers, say):
        self._trackers = list(trackers)
        self._say = say

    def tell(self, call):
        """Calls `call(tracker)` with each tracker, and leaves out those that fail."""
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it must not stop the run
                self._trackers.remove(tracker)
                with contextlib.suppress(Exception, SystemExit):
                    tracker.close(failed=True)
                name, reason = type(tracker).__name__, class_lookup.error_line(error)
                self._say(f"warning: {name} failed: {reason}; it is left out from here on, training goes on")

    def places(self):
        """Returns the places of all trackers that still work; see `BaseTracker.places`."""
        found = {}
        self.tell(lambda tracker: found.update(tracker.places()))
        return found
