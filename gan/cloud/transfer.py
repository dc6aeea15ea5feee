"""Uploads a submission to a team's bucket, so that nobody takes half of it for a whole one.

The receipt (`gan.receipt`) is what makes it whole: it is written first, to say that an upload has begun, and last. What
is there already with an equal checksum is not sent again, so an upload that was stopped goes on where it was.
"""

import contextlib
import dataclasses
import datetime
import errno
import io
import json

import tqdm
from tqdm.utils import CallbackIOWrapper

from gan import gs, receipt, storage
from gan.errors import InputError, RunError, SubmissionError
from gan.ordered_map import in_threads


@dataclasses.dataclass(frozen=True)
class Upload:
    """What came of an upload.

    Attributes:
      receipt: the `receipt.Receipt`.
      sent: names of the objects that were sent; the others were there already.
      deleted: names of objects of earlier uploads.
    """

    receipt: receipt.Receipt
    sent: tuple
    deleted: tuple


def require(bucket):
    """Makes sure that a bucket is there and answers.

    Raises:
      InputError: there is none of that name.
      PermissionError, RunError: it cannot be asked.
    """
    name = gs.bucket_of(bucket)
    if not storage.path(name).exists():
        raise InputError(f"{name}: no such bucket; make it by gcloud storage buckets create {name}, or name another")


def upload(files, bucket, snapshot, facts):
    """Uploads a submission.

    Args:
      files: {"model/checkpoint": file, "source/run.json": file, ...}, local `epath.Path`s.
      bucket: the team's bucket or a folder in it, an `epath.Path`.
      snapshot: the hash of the whole submission.
      facts: plain data for the receipt.

    Returns:
      An `Upload`.

    Raises:
      FileNotFoundError, PermissionError: there is no such bucket, or it may not be written.
      RunError: the service does not answer, or somebody else uploads at the same time.
    """
    place = bucket / receipt.MODEL / receipt.NAME
    with _alone(bucket):
        before, generation = _before(place)
        objects = tuple(sorted({*before, *files}))
        begun = receipt.Receipt(_now(), False, objects, {})
        generation = _write(place, begun, generation)
        found, sent = _send(files, bucket)
        left = tuple(name for name in objects if name not in files)
        gs.delete(bucket / name for name in left)
        whole = receipt.Receipt(_now(), True, tuple(sorted(files)), found, snapshot, facts)
        _write(place, whole, generation)
    return Upload(whole, sent, left)


@contextlib.contextmanager
def _alone(bucket):
    try:
        yield
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        raise RunError(f"{bucket}: somebody else uploads there at this moment; run this command again") from None


def _before(place):
    """Returns (names of the objects of earlier uploads, generation of their receipt or 0)."""
    found = gs.find(place)
    if found is None:
        return (), 0
    try:
        if found.size > receipt.MAX_BYTES:
            raise SubmissionError(f"it has {found.size} bytes")
        return receipt.parse(place.read_bytes()).objects, found.generation
    except SubmissionError as error:
        raise InputError(f"{place} is no receipt of gan.submit_model ({error}); move it away") from None


def _write(place, paper, generation):
    """Writes a receipt in place of the one of a generation, and returns its own."""
    content = io.BytesIO((json.dumps(paper.as_json(), indent=2) + "\n").encode())
    return gs.send(content, place, replaces=generation).generation


def _send(files, bucket):
    """Returns ({name: `receipt.File`}, names that were sent)."""
    total = sum(file.stat().length for file in files.values())
    with tqdm.tqdm(total=total, unit="B", unit_scale=True, desc="uploading", disable=None) as bar:
        results = in_threads(lambda name: _send_one(files[name], bucket / name, bar), files)
    described = {name: file for name, (file, _) in zip(files, results, strict=True)}
    return described, tuple(name for name, (_, sent) in zip(files, results, strict=True) if sent)


def _send_one(file, target, bar):
    """Returns (`receipt.File`, whether it was sent)."""
    size, there = file.stat().length, gs.find(target)
    with file.open("rb") as stream:
        checksum = gs.crc32c(stream)
    sent = there is None or (there.size, there.crc32c) != (size, checksum)
    if sent:
        with file.open("rb") as stream:
            # A request of an upload that was killed may still be on its way: it must not replace what comes now.
            there = gs.send(CallbackIOWrapper(bar.update, stream), target, replaces=there.generation if there else 0)
    else:
        bar.update(size)
    if (there.size, there.crc32c) != (size, checksum):
        raise RunError(f"{target} arrived with another checksum; try again")
    return receipt.File(size, storage.sha256(file), checksum, there.generation), sent


def _now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
