"""What a source asks of a file system beyond `gan.storage`: listings with sizes, and reads that say what went wrong."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import stat

from gan import errors, gs, storage
from gan.errors import first_line

LARGEST = 256 << 20  # bytes; what is larger is a bomb or no picture
TOO_LARGE = "is larger than 256 MB"
CUT_SHORT = "is cut short"
# Of TensorFlow's file layer, those that another try would not mend; the others are not the file's fault.
_LASTING_ERRORS = (
    "NotFoundError",
    "PermissionDeniedError",
    "FailedPreconditionError",
    "InvalidArgumentError",
    "OutOfRangeError",
)
LINK_TO_FOLDER = "is a symbolic link to a folder"


class Unreadable(Exception):
    """A file gives no bytes; the message is the reason, one clause."""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """An entry of a folder.

    Attributes:
      name: its name there.
      is_folder: whether it is a folder.
      size: bytes.
      stamp: changes when the content does, as far as the file system says.
      fault: why it must not be opened, or None.
    """

    name: str
    is_folder: bool = False
    size: int = 0
    stamp: int | None = None
    fault: str | None = None


def listing(folder, root):
    """Returns an iterator of `Found`, sorted by name.

    Args:
      folder: an `epath.Path`.
      root: the folder that symbolic links must not lead out of.

    Raises:
      OSError: the folder cannot be read.
      RunError: Google Cloud Storage does not answer.
    """
    if gs.is_gs(folder):  # a request for a thousand names, where `stat` takes one for each
        return (Found(e.name, e.is_folder, e.size or 0, e.generation) for e in gs.listing(folder))
    if storage.is_local(folder):
        names, real_root = sorted(os.listdir(folder)), os.path.realpath(root)
        return (_look(folder / name, real_root) for name in names)
    names = sorted(entry.name for entry in folder.iterdir())
    return filter(None, (_remote_look(folder / name) for name in names))


def _look(file, root):
    try:
        status = os.lstat(file)
        if stat.S_ISLNK(status.st_mode):
            if fault := _link_fault(file, root):
                return Found(file.name, fault=fault)
            status = os.stat(file)
    except OSError as error:
        return Found(file.name, fault=reason(error))
    if stat.S_ISDIR(status.st_mode):
        return Found(file.name, is_folder=True)
    fault = None if stat.S_ISREG(status.st_mode) else "is not a file but a pipe, a socket or a device"
    return Found(file.name, size=status.st_size, stamp=status.st_mtime_ns, fault=fault)


def _link_fault(link, root):
    """Says why a symbolic link is not followed, or returns None.

    Links to folders never are: what they hold is met where it lies, and links in a circle have no end.
    """
    try:
        target = pathlib.Path(os.path.realpath(link, strict=True))
    except OSError as error:
        circle = error.errno == errno.ELOOP
        return "is a symbolic link that leads to itself" if circle else "is a broken symbolic link"
    if not target.is_relative_to(root):
        return "is a symbolic link that leads outside the folder"
    return LINK_TO_FOLDER if target.is_dir() else None


def _remote_look(file):
    try:
        status = file.stat()
    except FileNotFoundError:  # in "cats", ram:// lists "cats-and" as "-and", too
        return None
    return Found(file.name, status.is_directory, status.length)


def size_and_stamp(file):
    """Returns a file's size in bytes, and what changes when its content does, or None where nothing tells."""
    if storage.is_local(file):
        status = os.stat(file)
        return status.st_size, status.st_mtime_ns
    return storage.size_and_generation(file)


def read(file):
    """Returns the bytes of a file.

    Raises:
      Unreadable: it cannot be read, or is larger than 256 MB.
    """
    with opened(file) as reader:
        size = os.fstat(reader.fileno()).st_size if storage.is_local(file) else LARGEST
        data = reader.read(min(size, LARGEST) + 1)  # as little as is needed: that much is reserved
    if len(data) > LARGEST:
        raise Unreadable(TOO_LARGE)
    return data


@contextlib.contextmanager
def opened(file):
    """Opens a file for reading bytes.

    Raises:
      Unreadable: it cannot be opened or read; also from within the block.
    """
    try:
        if storage.is_local(file) and not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would be waited for
            raise Unreadable("is not a file")
        with file.open("rb") as reader:
            yield reader
    except OSError as error:
        raise Unreadable(reason(error)) from None
    except errors.of_tensorflow(_LASTING_ERRORS) as error:
        raise Unreadable(f"cannot be read ({first_line(error)})") from None


def reason(error):
    """Returns an `OSError` as a clause."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    return f"cannot be read ({error.strerror or first_line(error)})"
