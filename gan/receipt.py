"""The receipt of an upload, which lies beside the model: half of an upload, or a mixture of two, never plays.

A team's bucket holds `model/`, which is the submission, and `source/`, which reviewers read:

    gs://TEAM/model/checkpoint, model.ckpt-N.*, receipt.json
    gs://TEAM/source/run.json, my_models.py

`receipt.json` is the first object that an upload writes, to say that one has begun, and the last one: then it names
every object by its hash and its generation, and only what it names belongs to the submission.
"""

import dataclasses
import json
import pathlib
import re

from gan.errors import SubmissionError

NAME = "receipt.json"
MAX_BYTES = 1 << 20
MODEL, SOURCE = "model/", "source/"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class File:
    """An object that belongs to a submission.

    Attributes:
      bytes: its size.
      sha256: of its content, hexadecimal.
      crc32c: of its content, in base64.
      generation: the object's generation.
    """

    bytes: int
    sha256: str
    crc32c: str
    generation: int


@dataclasses.dataclass(frozen=True)
class Receipt:
    """A receipt, whole or of an upload that has begun.

    Attributes:
      time: when the upload began or, of a whole one, ended; in UTC, ISO 8601.
      complete: whether the upload has ended.
      objects: names of all objects that an upload has written or may have, beginning with "model/" or "source/".
      files: {name: `File`} of a whole upload.
      snapshot: hash of the whole submission, hexadecimal, as the organiser's pages show it; "" while it is under way.
      facts: what a person may want to know: step, version.
    """

    time: str
    complete: bool
    objects: tuple
    files: dict
    snapshot: str = ""
    facts: dict = dataclasses.field(default_factory=dict)

    @property
    def model(self):
        """{name in the submission's folder: `File`}."""
        return {name.removeprefix(MODEL): file for name, file in self.files.items() if name.startswith(MODEL)}

    @property
    def source(self):
        """{name that begins with "source/": `File`}."""
        return {name: file for name, file in self.files.items() if name.startswith(SOURCE)}

    def as_json(self):
        """Returns the receipt as plain data."""
        return {
            "format": 1,
            **dataclasses.asdict(self),
            "objects": list(self.objects),
            "files": {name: dataclasses.asdict(file) for name, file in sorted(self.files.items())},
        }

    def insist(self, hashes, generations):
        """Compares the receipt with what was found.

        Args:
          hashes: {name in a snapshot: SHA-256}.
          generations: {name in a snapshot: generation}, of files in an object store.

        Raises:
          SubmissionError: something is missing, is too much, or is another.
        """
        named = {**self.model, **self.source}
        for name in sorted(named.keys() | hashes.keys()):
            file = named.get(name)
            is_the_same = file is not None and hashes.get(name) == file.sha256
            if not is_the_same or (name in generations and generations[name] != file.generation):
                raise SubmissionError(
                    f"{name} is not what {NAME} names: something was written there after the upload, or beside it; "
                    "run gan.submit_model again"
                )


def parse(data):
    """Reads a receipt, which may be a stranger's.

    Args:
      data: the bytes of the file.

    Returns:
      A `Receipt`.

    Raises:
      SubmissionError: it is damaged.
    """
    try:
        return _receipt(json.loads(data))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise SubmissionError(f"{NAME} is damaged ({error}); run gan.submit_model again") from None


def _receipt(content):
    if content["format"] != 1:
        raise ValueError(f"its format is {content['format']!r}, expected 1")
    files = {name: File(**file) for name, file in content["files"].items()}
    objects = tuple(content["objects"])
    for name in (*objects, *files):
        _check_name(name)
    for name, file in files.items():
        if not (isinstance(file.bytes, int) and isinstance(file.generation, int) and _SHA256.fullmatch(file.sha256)):
            raise ValueError(f"what it says about {name}")
    time, complete, snapshot = content["time"], content["complete"], content["snapshot"]
    if not isinstance(time, str) or not isinstance(complete, bool) or bool(_SHA256.fullmatch(snapshot)) != complete:
        raise ValueError("what it says about itself")
    return Receipt(time, complete, objects, files, snapshot, dict(content["facts"]))


def _check_name(name):
    """A name becomes a path on the organiser's disk."""
    parts = pathlib.PurePosixPath(name).parts
    if not name.startswith((MODEL, SOURCE)) or not name.isprintable() or ".." in parts or "/".join(parts) != name:
        raise ValueError(f"{name!r} is no name of an object")
