"""Google Cloud Storage as a file system: what `gan.storage` asks of it for paths that begin with `gs://`.

Every request is tried again for a minute where another try may help. What is read is pinned to one generation of the
object and compared with its CRC-32C, and so is what is written. `STORAGE_EMULATOR_HOST` names another server.
"""

import base64
import contextlib
import dataclasses
import errno
import fnmatch
import functools
import io
import mimetypes
import os
import re
import tempfile

import google_crc32c
from etils import epy
from etils.epath import stat_utils

from gan.errors import InputError, RunError, first_line
from gan.ordered_map import in_threads

with epy.lazy_imports():  # takes a second, and few commands need it
    import requests
    import urllib3
    from google.api_core import exceptions
    from google.auth import exceptions as auth_exceptions
    from google.cloud import storage as google_storage
    from google.cloud.storage import exceptions as storage_exceptions
    from google.cloud.storage import retry as storage_retry

PREFIX = "gs://"
TIMEOUT = (10, 60)  # seconds to connect, and without a byte
RETRY_SECONDS = 60
_BUFFER = 256 << 10  # bytes; larger reads are one request each
_IN_MEMORY = 8 << 20  # bytes of a file that is being written; more goes to a temporary file
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_NO_FILE_NAMES = ("", ".", "..")  # a folder's own marker and parts of paths; objects may have such names


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a folder holds.

    Attributes:
      name: its name there.
      is_folder: whether it is a folder; the rest is None for one.
      size: bytes.
      generation: changes with the content.
      crc32c: of the content, in base64.
      mtime: seconds since 1970.
    """

    name: str
    is_folder: bool = False
    size: int | None = None
    generation: int | None = None
    crc32c: str | None = None
    mtime: int | None = None


def is_gs(place):
    """Whether a path lies in Google Cloud Storage."""
    return str(place).startswith(PREFIX)


def check_name(place):
    """Refuses a path without the name of a bucket.

    Raises:
      InputError: it has none.
    """
    bucket = _split(place)[0]
    if not _BUCKET_NAME.fullmatch(bucket):
        raise InputError(
            f"{place}: {bucket!r} is no name of a bucket; expected gs://NAME/... with 3 or more of a-z, 0-9, -, _ and ."
        )


def bucket_of(place):
    """Returns the URI of the bucket that a path lies in."""
    return PREFIX + _split(place)[0]


def _split(place):
    bucket, _, name = os.fspath(place).removeprefix(PREFIX).partition("/")
    return bucket, name


@functools.cache
def _client():
    try:
        return google_storage.Client(project=None)
    except auth_exceptions.DefaultCredentialsError as error:
        if file := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise InputError(f"GOOGLE_APPLICATION_CREDENTIALS={file} cannot be used: {first_line(error)}") from None
        return google_storage.Client.create_anonymous_client()  # public data needs no more


forget_client = _client.cache_clear
os.register_at_fork(after_in_child=forget_client)  # two processes cannot share a connection


@contextlib.contextmanager
def _answering(place):
    """Turns the library's errors into those of a file system, and those of the network into `RunError`."""
    place = os.fspath(place)
    try:
        yield _client()
    except exceptions.NotFound:
        raise _missing(place) from None
    except (
        exceptions.Forbidden,
        exceptions.Unauthorized,
        auth_exceptions.InvalidOperation,  # where there are no credentials
        auth_exceptions.RefreshError,  # where they have expired
    ) as error:
        raise PermissionError(errno.EACCES, f"no permission: {_reason(error)}{_advice()}", place) from None
    except exceptions.PreconditionFailed:
        raise _changed(place) from None
    except exceptions.BadRequest as error:
        raise InputError(f"{place}: refused by Google Cloud Storage: {_reason(error)}") from None
    except storage_exceptions.DataCorruption:
        raise RunError(f"{place}: arrived with a wrong checksum; try again") from None
    except (
        exceptions.GoogleAPIError,
        auth_exceptions.GoogleAuthError,
        storage_exceptions.InvalidResponse,
        urllib3.exceptions.HTTPError,
        requests.exceptions.RequestException,
        ConnectionError,
        TimeoutError,
    ) as error:
        raise RunError(f"{place}: Google Cloud Storage does not answer ({_reason(error)}); try again") from None


def _reason(error):
    """The innermost error says what happened; those around it are the libraries'."""
    inner = [getattr(error, "cause", None), getattr(error, "reason", None), *error.args]
    inner = [value for value in inner if isinstance(value, Exception)]
    return _reason(inner[0]) if inner else re.sub(r"^[A-Z]+ https?://\S+: ", "", first_line(error)).rstrip(".")


def _advice():
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415 - as above

    if isinstance(_client()._credentials, AnonymousCredentials):
        return "; there are no credentials here: run gcloud auth application-default login"
    return ""


def _missing(place):
    return FileNotFoundError(errno.ENOENT, "no such bucket or object", os.fspath(place))


def _changed(place):
    return OSError(errno.ESTALE, "changed meanwhile", os.fspath(place))


def _retry():
    return storage_retry.DEFAULT_RETRY.with_timeout(RETRY_SECONDS)


def _settings():
    return {"retry": _retry(), "timeout": TIMEOUT}


# What there is.


def find(file):
    """Returns the `Entry` of an object, or None where there is none.

    Raises:
      PermissionError, RunError: it cannot be asked.
    """
    bucket, name = _split(file)
    if not name:
        return None
    with _answering(file) as client:
        blob = client.bucket(bucket).get_blob(name, **_settings())
    return blob and _entry(blob, name.rpartition("/")[2])


def listing(folder):
    """Returns the `Entry`s in a folder, sorted by name; objects whose names are none of a file are left out.

    Raises:
      FileNotFoundError: there is no such bucket, or nothing in the folder.
      PermissionError, RunError: it cannot be asked.
    """
    bucket, prefix = _folder(folder)
    with _answering(folder) as client:
        blobs = client.list_blobs(bucket, prefix=prefix, delimiter="/", **_settings())
        found = [_entry(blob, blob.name[len(prefix) :]) for blob in blobs]
    folders = [Entry(name[len(prefix) : -1], is_folder=True) for name in blobs.prefixes]
    if prefix and not found and not folders:
        raise _missing(folder)
    named = {entry.name: entry for entry in found + folders if entry.name not in _NO_FILE_NAMES}
    return sorted(named.values(), key=lambda entry: entry.name)


def names_below(folder):
    """Returns the names of all objects in a folder and its folders, relative to it, sorted.

    Raises:
      as `listing`.
    """
    bucket, prefix = _folder(folder)
    with _answering(folder) as client:
        names = [blob.name[len(prefix) :] for blob in client.list_blobs(bucket, prefix=prefix, **_settings())]
    if prefix and not names:
        raise _missing(folder)
    return sorted(name for name in names if not set(name.split("/")) & set(_NO_FILE_NAMES))


def matching(pattern):
    """Returns the objects that a pattern with `*`, `?` or `[...]` names, as URIs, sorted; as on a disk, neither those
    that begin with a dot nor those in a folder.

    Raises:
      PermissionError, RunError: it cannot be asked.
    """
    bucket, parts = _split(pattern)
    *folders, last = parts.split("/")
    found = [f"{PREFIX}{bucket}"]
    for part in folders:
        found = [f"{folder}/{name}" for folder in found for name in _matching(folder, part, of_folders=True)]
    return sorted(f"{folder}/{name}" for folder in found for name in _matching(folder, last, of_folders=False))


def _matching(folder, part, of_folders):
    if of_folders and not any(c in part for c in "*?["):
        return [part]
    try:
        names = [entry.name for entry in listing(folder) if entry.is_folder == of_folders]
    except FileNotFoundError:
        return []
    return [n for n in names if fnmatch.fnmatchcase(n, part) and (part.startswith(".") or not n.startswith("."))]


def _folder(folder):
    bucket, name = _split(folder)
    name = name.rstrip("/")
    return bucket, f"{name}/" if name else ""


def _entry(blob, name):
    return Entry(name, False, blob.size, blob.generation, blob.crc32c, int(blob.updated.timestamp()))


# Reading and writing.


class _Reader(io.RawIOBase):
    """Reads one generation of an object; what is read from its beginning to its end must have its checksum."""

    def __init__(self, place):
        super().__init__()
        self._place, self.entry = place, find(place)
        if self.entry is None:
            raise _missing(place)
        self._at = self._summed = 0
        self._sum = google_crc32c.Checksum()

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._at

    def seek(self, offset, whence=io.SEEK_SET):
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.entry.size}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def readinto(self, buffer):
        data = self._fetch(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self):
        return self._fetch(self.entry.size)

    def _fetch(self, count):
        begin, end = self._at, min(self._at + count, self.entry.size)
        if begin >= end:
            return b""
        bucket, name = _split(self._place)
        with _answering(self._place) as client:
            data = (
                client.bucket(bucket)
                .blob(name)
                .download_as_bytes(
                    start=begin,
                    end=end - 1,
                    raw_download=True,
                    checksum=None,  # the service knows that of the whole object only
                    if_generation_match=self.entry.generation,
                    **_settings(),
                )
            )
        if len(data) != end - begin:
            raise _changed(self._place)
        self._at = end
        if begin == self._summed:
            self._add(data)
        return data

    def _add(self, data):
        self._sum.update(data)
        self._summed += len(data)
        if self._summed == self.entry.size and _base64(self._sum) != self.entry.crc32c:
            raise _changed(self._place)


def fetch(source, target):
    """Downloads an object to a local file that is there when all of it has arrived, with its checksum.

    What an earlier call brought before it broke off, or was killed, is not asked for again: it waits beside the target,
    under a hidden name with the generation.

    Raises:
      FileNotFoundError, PermissionError, RunError: as for other reads.
      OSError: ESTALE, the object changes meanwhile.
    """
    reader = _Reader(source)
    if _holds(target, reader.entry):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{target.name}.{reader.entry.generation}.part"
    with part.open("ab") as arrived:
        reader.seek(arrived.tell())
        while block := reader.read(_IN_MEMORY):
            arrived.write(block)
    if not _holds(part, reader.entry):
        part.unlink()
        raise _changed(source)
    part.replace(target)


def _holds(file, entry):
    if not file.exists() or file.stat().length != entry.size:
        return False
    with file.open("rb") as stream:
        return crc32c(stream) == entry.crc32c


class _Writer(io.BufferedIOBase):
    """Collects what is written and sends it when it is closed, so that nobody ever sees half of it.

    Where it appends, `flush` sends what there is so far.
    """

    def __init__(self, place, before=None):
        super().__init__()
        self._place = place
        self._appends = before is not None
        self._held = tempfile.SpooledTemporaryFile(_IN_MEMORY)
        self._held.write(before or b"")
        self._unsent, self._dropped = True, False

    def writable(self):
        return True

    def write(self, data):
        self._unsent = True
        return self._held.write(data)

    def tell(self):
        return self._held.tell()

    def flush(self):
        if self._appends:
            self._send()

    def _send(self):
        if self._unsent and not self._dropped:
            send(self._held, self._place)
            self._unsent = False

    def close(self):
        if self.closed:
            return
        try:
            self._send()
        finally:
            super().close()
            self._held.close()

    def drop(self):
        """What was written is not to be sent: it is but a part. What is appended is whole at any time."""
        self._dropped = not self._appends

    def __exit__(self, kind, *_):
        if kind is not None:
            self.drop()
        self.close()


class _TextWriter(io.TextIOWrapper):
    """Text of a `_Writer`."""

    def __exit__(self, kind, *_):
        if kind is not None:
            self.buffer.drop()
        self.close()


def crc32c(stream):
    """Returns the checksum of a stream from where it stands to its end, as an `Entry` has it."""
    checksum = google_crc32c.Checksum()
    while block := stream.read(_IN_MEMORY):
        checksum.update(block)
    return _base64(checksum)


def _base64(checksum):
    return base64.b64encode(checksum.digest()).decode()


def send(stream, target, *, replaces=None):
    """Uploads all of a stream that can seek; the object is there when all of it has arrived, with its checksum.

    Args:
      stream: opened for reading bytes.
      target: a file.
      replaces: the generation that the object must have now, 0 for none; None for any.

    Returns:
      Its `Entry`.

    Raises:
      FileNotFoundError: there is no such bucket.
      PermissionError, RunError: it cannot be written.
      OSError: ESTALE, it is not the generation that was expected.
    """
    bucket, name = _split(target)
    if not name:
        raise InputError(f"{target} is a whole bucket; name a file in it")
    size = stream.seek(0, io.SEEK_END)
    try:
        with _answering(target) as client:
            blob = client.bucket(bucket).blob(name)
            blob.cache_control = "no-cache"  # a page of a contest that goes on changes; an hour is what others keep it
            kind = mimetypes.guess_type(name)[0]
            blob.upload_from_file(
                stream,
                rewind=True,
                size=size,
                content_type=kind,
                checksum="crc32c",
                if_generation_match=replaces,
                **_settings(),
            )
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        stream.seek(0)
        there = find(target)  # a second try does not find what it is to replace where the answer to the first was lost
        if there is None or (there.size, there.crc32c) != (size, crc32c(stream)):
            raise
        return there
    return _entry(blob, name.rpartition("/")[2])


def delete(files):
    """Deletes objects; those that are gone already do not matter, as they are after a try whose answer was lost."""
    in_threads(_delete, files)


def _delete(file):
    bucket, name = _split(file)
    with contextlib.suppress(FileNotFoundError), _answering(file) as client:
        client.bucket(bucket).delete_blob(name, **_settings())


class Backend:
    """The part of `etils.epath`'s backends that the project uses; folders are there as long as something is in them."""

    def open(self, path, mode):
        kind = mode.replace("b", "")
        if kind == "r":
            stream = io.BufferedReader(_Reader(path), _BUFFER)
        else:
            stream = _Writer(path, self._content(path) if kind == "a" else None)
        if "b" in mode:
            return stream
        return io.TextIOWrapper(stream, "utf-8") if kind == "r" else _TextWriter(stream, "utf-8")

    def _content(self, path):
        if find(path) is None:
            return b""
        with self.open(path, "rb") as reader:
            return reader.read()

    def exists(self, path):
        return find(path) is not None or self.isdir(path)

    def isdir(self, path):
        bucket, prefix = _folder(path)
        try:
            with _answering(path) as client:
                found = list(client.list_blobs(bucket, prefix=prefix, max_results=1, **_settings()))
        except FileNotFoundError:
            return False
        return bool(found) or not prefix

    def listdir(self, path):
        return [entry.name for entry in listing(path)]

    def makedirs(self, path, *, exist_ok=False, mode=None):
        """An object store has no folders."""

    mkdir = makedirs

    def rmtree(self, path):
        if not _split(path)[1]:
            raise InputError(f"{path} is a whole bucket, which is never emptied: name a folder in it")
        delete(f"{os.fspath(path)}/{name}" for name in names_below(path))

    def remove(self, path):
        if find(path) is None:
            raise _missing(path)
        _delete(path)

    def rename(self, path, dst):
        (bucket, name), (other_bucket, other_name) = _split(path), _split(dst)
        with _answering(path) as client:
            source, target = client.bucket(bucket).blob(name), client.bucket(other_bucket).blob(other_name)
            token = None
            while (token := target.rewrite(source, token=token, **_settings())[0]) is not None:
                pass
        _delete(path)

    replace = rename

    def stat(self, path):
        if entry := find(path):
            return stat_utils.StatResult(is_directory=False, length=entry.size, mtime=entry.mtime)
        if self.isdir(path):
            return stat_utils.StatResult(is_directory=True, length=0, mtime=0)
        raise _missing(path)


backend = Backend()
