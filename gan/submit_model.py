"""Checks a submission as the organiser will, and uploads it to the team's bucket.

    python -m gan.submit_model --train_dir=my_run --bucket=gs://team-a
    python -m gan.submit_model --train_dir=my_run --bucket=gs://team-a --dry_run    # check, and say what would be sent

gs://team-a/model then holds the submission, gs://team-a/source the run's options and the modules that it names, for
reviewers. A submission that may not battle is not uploaded. The receipt, which names every object by its hash, lies in
gs://team-a/model/receipt.json and, as a copy, in TRAIN_DIR/submitted.json. Stopped, the same command goes on.
"""

if not __package__:  # `python gan/submit_model.py` works like `python -m gan.submit_model`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import tempfile

from etils import epy

from gan import __version__, flags, gs, receipt, storage
from gan.arena import options as arena_options
from gan.errors import InputError, RunError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import self_check, snapshot
    from gan.cloud import source, transfer


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmitModelOptions(arena_options.CheckOptions):
    """Flags of `gan.submit_model`."""

    train_dir: str = flag("/tmp/kmlc_gan_train/", "run whose submission is uploaded")
    bucket: str = flag("", "the team's bucket, gs://NAME, or a folder in it")
    sandbox: str = flags.inherit(arena_options.SandboxOptions, "sandbox", "auto")
    dry_run: bool = flag(False, "check, say what would be uploaded, and stop")

    def __post_init__(self):
        super().__post_init__()
        if not gs.is_gs(self.bucket):
            raise InputError(f"--bucket={self.bucket}: expected the team's bucket, for instance gs://team-a")
        storage.path(self.bucket)


def submit_model(options):
    """Checks a submission and uploads it.

    Args:
      options: `SubmitModelOptions`.

    Returns:
      The receipt as plain data, see `gan.receipt`; None after a dry run.

    Raises:
      RunError: the submission may not battle, or the upload failed.
      InputError, OSError: there is no submission, no such bucket, or no permission.
    """
    train_dir, bucket = storage.path(options.train_dir), storage.path(options.bucket)
    if not options.dry_run:
        transfer.require(bucket)  # before a check that takes a while
    with tempfile.TemporaryDirectory(prefix="gan-submit-") as temporary:
        work = storage.path(temporary)
        taken = _collect(train_dir, work)
        files = _check(work / "submission", options)
        print(f"submission {files.digest} of {train_dir}, for {bucket}:")
        named = {}
        for name, sha256 in sorted(files.sha256.items()):
            file = named[_object(name)] = work / "submission" / name
            print(f"  {_object(name)}  {file.stat().length:,} bytes  {sha256}")
        if options.dry_run:
            print("dry run: nothing was uploaded")
            return None
        facts = {"gan_version": __version__, "checkpoint": taken.checkpoint}
        done = transfer.upload(named, bucket, files.digest, facts)
    copy = train_dir / "submitted.json"
    storage.write_json(copy, done.receipt.as_json())
    print(_sum(done))
    print(f"submitted: {bucket / receipt.MODEL}; the receipt: {bucket / receipt.MODEL / receipt.NAME}, {copy}")
    return done.receipt.as_json()


def _collect(train_dir, work):
    """Makes `work/submission` of the run's model and its source; returns the `snapshot.Snapshot` of the model."""
    taken = snapshot.take(train_dir, work / "taken")
    files = {name: taken.path / name for name in taken.sha256} | source.of_run(train_dir)
    storage.copy_files((file, work / "submission" / name) for name, file in files.items())
    return taken


def _check(folder, options):
    """Returns the `snapshot.Snapshot` of a submission that may battle."""
    files, report = self_check.run(folder, options, self_check.examples(options))
    self_check.print_findings(report)
    if not report.may_battle:
        raise RunError(f"{options.train_dir} may not battle, so nothing was uploaded: {report.first_failure()}")
    return files


def _sum(done):
    there = len(done.receipt.files) - len(done.sent)
    parts = [f"{len(done.sent)} files uploaded"]
    parts += [f"{there} were there already"] * (there > 0)
    parts += [f"{len(done.deleted)} of earlier uploads deleted"] * (len(done.deleted) > 0)
    return ", ".join(parts)


def _object(name):
    """The name in the bucket of a file of a submission."""
    return name if name.startswith(receipt.SOURCE) else receipt.MODEL + name


if __name__ == "__main__":
    flags.run(submit_model, SubmitModelOptions)
