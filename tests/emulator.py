"""A storage server for tests: `gcp-storage-emulator` in a thread, with preconditions, and with faults to order."""

import contextlib
import dataclasses
import functools
import http.server
import io
import math
import re
import socket
import struct
import threading
import urllib.parse

from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import RequestHandler, Router
from gcp_storage_emulator.storage import Storage

ALWAYS = math.inf  # times
_OBJECTS = r"/b/[^/]+/o\b"  # the library asks about buckets behind one's back


class PreconditionFailed(Exception):
    """The object has not the generation that the request wants."""


class _Storage(Storage):
    """Adds `ifGenerationMatch`, which the emulator does not look at."""

    wanted = None

    def _check(self, bucket, name):
        found = self.objects.get(bucket, {}).get(name, {}).get("generation", 0)
        if self.wanted is not None and int(found) != self.wanted:
            raise PreconditionFailed

    def get_file(self, bucket_name, file_name, *more, **others):
        self._check(bucket_name, file_name)
        return super().get_file(bucket_name, file_name, *more, **others)

    def create_file(self, bucket_name, file_name, *more, **others):
        self._check(bucket_name, file_name)
        return super().create_file(bucket_name, file_name, *more, **others)


@dataclasses.dataclass
class Fault:
    """What happens to the next requests of a kind.

    Attributes:
      act: called with the request's handler, in place of an answer.
      method: "GET", "POST", ...
      pattern: a regular expression for the path and the query, unquoted.
      times: requests that it happens to; ALWAYS for all.
      spared: requests before these.
    """

    act: object
    method: str
    pattern: str
    times: float
    spared: int


class Server:
    """The server; `STORAGE_EMULATOR_HOST` is its `url`.

    Attributes:
      requests: [(method, path and query)] that were answered or met a fault.
    """

    def __init__(self):
        self.storage = _Storage(use_memory_fs=True)
        self.requests = []
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self._faults = []
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.ended.set()
        self._http.shutdown()
        self._http.server_close()

    def bucket(self, name):
        """Makes an empty bucket and returns its URI."""
        buckets.create_bucket(name, self.storage)
        return f"gs://{name}"

    def objects(self, bucket):
        """Returns {name: resource}."""
        return self.storage.objects.get(bucket, {})

    def content(self, bucket, name):
        return self.storage.get_file(bucket, name)

    def order(self, act, method="GET", pattern=_OBJECTS, times=1, spared=0):
        """Orders a fault; see `Fault`."""
        self._faults.append(Fault(act, method, pattern, times, spared))

    def unspent(self):
        """Returns the faults that were to happen a certain number of times and did not."""
        return [fault for fault in self._faults if 0 < fault.times < ALWAYS]

    def repair(self):
        """Forgets all faults."""
        self._faults.clear()

    def fault(self, method, path):
        self.requests.append((method, path))
        for fault in self._faults:
            if fault.times and fault.method == method and re.search(fault.pattern, path):
                if fault.spared:
                    fault.spared -= 1
                    continue
                fault.times -= 1
                return fault.act
        return None

    def count(self, method, pattern):
        """Returns how many requests of a kind have come."""
        return sum(kind == method and re.search(pattern, path) is not None for kind, path in self.requests)


class _Handler(RequestHandler):
    def __init__(self, owner, *args):
        self.owner = owner
        super().__init__(owner.storage, *args)

    def do(self):
        with self.owner.lock:
            act = self.owner.fault(self.command, urllib.parse.unquote(self.path))
        with contextlib.suppress(ConnectionError):
            act(self) if act else self.answer()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do

    def answer(self):
        """Answers as the emulator does."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        with self.owner.lock:
            self.storage.wanted = int(query["ifGenerationMatch"][0]) if "ifGenerationMatch" in query else None
            try:
                Router(self).handle(self.command)
            except PreconditionFailed:
                self.refuse(412)
            finally:
                self.storage.wanted = None

    def refuse(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_bytes(self):
        """Returns what `answer` would send."""
        out, self.wfile = self.wfile, io.BytesIO()
        try:
            self.answer()
            return self.wfile.getvalue()
        finally:
            self.wfile = out

    def log_message(self, *_):
        """Nothing."""


# Faults.


def refused(code):
    """An error from the server."""

    def act(handler):
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        handler.refuse(code)

    return act


def lost(act):
    """What was asked for is done, and then comes a fault in place of the answer."""

    def lose(handler):
        handler.answer_bytes()
        del handler.headers["Content-Length"]  # its body is read
        act(handler)

    return lose


def reset(handler):
    """The connection breaks."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def truncated(handler):
    """The answer ends in the middle of its body."""
    answer = handler.answer_bytes()
    handler.wfile.write(answer[: -max(1, (len(answer) - answer.index(b"\r\n\r\n") - 4) // 2)])


def stalled(handler):
    """Nothing comes any more after the middle of the body."""
    truncated(handler)
    handler.wfile.flush()
    handler.owner.ended.wait()


def after(change):
    """Something happens before the answer."""

    def act(handler):
        change()
        handler.answer()

    return act
