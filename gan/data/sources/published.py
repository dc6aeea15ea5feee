"""Files that are published under an address: found in place, or downloaded by scikit-learn's downloader."""

import contextlib
import dataclasses
import http.client
import socket
import typing
import urllib.error
import urllib.parse
import warnings

from etils import epy

from gan import storage
from gan.errors import InputError, RunError, first_line

with epy.lazy_imports():
    import sklearn.datasets

_PATIENCE = 30  # seconds for the server's next bytes
_NO_NETWORK = (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException)


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file that everybody gets from the same address.

    Attributes:
      url: its address.
      sha256: of its bytes, hexadecimal.
      megabytes: its size.
      folder: returns where it is kept on this machine, as text.
      name: that it has there.
    """

    url: str
    sha256: str
    megabytes: int
    folder: typing.Callable
    name: str

    @property
    def path(self):
        """Where it is to be, an `epath.Path`."""
        return storage.path(self.folder()) / self.name

    def get(self):
        """Returns its path, downloading it if it is not there.

        Raises:
          InputError: what is there is another file, or not all of it.
          RunError: it is not there and cannot be downloaded.
        """
        path = self.path
        if not path.exists():
            self._download(path)
        elif path.is_dir() or storage.sha256(path) != self.sha256:
            raise InputError(
                f"{path} is cut short, damaged or another file: its SHA-256 is not {self.sha256}; remove it, or put "
                f"what is at {self.url} in its place"
            )
        return path

    def _download(self, path):
        print(f"downloading {self.url} ({self.megabytes} MB) to {path}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _patience(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about each further try
                sklearn.datasets.fetch_file(self.url, str(path.parent), path.name, self.sha256, n_retries=1)
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) is not None and not isinstance(error, _NO_NETWORK):
                raise  # it is the disk
            raise RunError(f"{self._obstacle(error)}; get {self.url} elsewhere and put it in place as {path}") from None

    def _obstacle(self, error):
        """Says in one clause why a download failed."""
        if isinstance(error, urllib.error.HTTPError):
            return f"{self.url} cannot be downloaded: the server answers {error.code} {error.reason}"
        if isinstance(error, _NO_NETWORK):
            host = urllib.parse.urlsplit(self.url).hostname
            return f"there is no network, or none that reaches {host} ({_reason(error)})"
        return f"what came from {self.url} is not the published file ({first_line(error)})"


@contextlib.contextmanager
def _patience():
    """Ends what waits for a server for too long: some networks answer nothing at all."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error):
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or first_line(cause)
