"""A team's models as the organiser sees them: functions of arrays that may fail, but never harm or hang."""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time

from gan import spec, storage
from gan.arena import sandbox, snapshot, wire
from gan.errors import Fault, printable

MEMORY_MB = 4096
MAX_INPUT_SIZE = 1 << 20
START_SECONDS = 300.0  # for a process of ours; on a machine that does much else, it may take long
_MAX_STDERR = 4000
_LAST_BLOCKS = 100


class Player:
    """One team's generator and discriminator, in a worker process of their own.

    The worker starts with the first call, and anew after a call that it did not survive.

    Args:
      files: the team's `snapshot.Snapshot`; an attribute as well.
      sandboxed: from `sandbox.resolve`.
      time_limit: seconds for everything between two calls of `start_part`, the start of the worker apart.

    Attributes:
      in_use: a lock, for whoever shares players between threads.
    """

    has_discriminator = True
    exempt_from_variety = False

    def __init__(self, files, sandboxed, time_limit):
        self.files = files
        self.in_use = threading.Lock()
        self._sandboxed = sandboxed
        self._time_limit = time_limit
        self._left = time_limit
        self._worker = None
        self._retired = False
        self._resources = contextlib.ExitStack()

    def start(self):
        """Starts the worker, if none runs; it gets ready while the caller does something else."""
        if self._retired:
            raise Fault("worker", "the contest has ended")
        if self._worker is None:
            folder = self._resources.enter_context(snapshot.local_copy(self.files))
            arguments = [self.files.checkpoint or "", str(MEMORY_MB), str(self._time_limit)]
            self._worker = _Worker(sandbox.start(folder, arguments, self._sandboxed))

    def start_part(self):
        """Gives the team its time again."""
        self._left = self._time_limit

    def input_size(self, role):
        """Returns the numbers in one input of a model, where its graph says so, else None.

        Raises:
          Fault: the submission cannot be played.
        """
        size = self._ask(role)[0].get("input_size")
        if size is None:
            return None
        if type(size) is not int or not 1 <= size <= MAX_INPUT_SIZE:
            raise Fault(role.name, f"one input has {size} numbers; at most {MAX_INPUT_SIZE} are allowed")
        return size

    def generate(self, noise):
        """Returns G's output for latent vectors [N, latent_size], as it comes.

        Raises:
          Fault: there is none.
        """
        return self._run(spec.GENERATOR, noise)

    def discriminate(self, images):
        """Returns D's output for images [N, image_size] in [0, 1], as it comes.

        Raises:
          Fault: there is none.
        """
        return self._run(spec.DISCRIMINATOR, images)

    def retire(self):
        """Ends the worker for good, also while another thread waits for its answer."""
        self._retired = True
        if self._worker is not None:
            self._worker.end()

    def close(self):
        """Ends the worker; a later call would start it again."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        self._resources.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, role, batch):
        output = self._ask(role, batch)[1]
        if output is None:
            self.close()
            raise Fault(role.name, "the worker answered without an output")
        return output

    def _ask(self, role, batch=None):
        self.start()
        with self._closing(role, f"the worker has not started within {START_SECONDS:g} seconds"):
            self._worker.await_start(START_SECONDS)
        begin = time.monotonic()
        try:
            with self._closing(role, f"time limit exceeded: the limit was {self._time_limit:g} seconds"):
                header, output = self._worker.ask({"role": role.name}, batch, self._left)
        finally:
            self._left = max(0.0, self._left - (time.monotonic() - begin))
        if "fault" in header:
            raise Fault(role.name, str(header["fault"]))
        return header, output

    @contextlib.contextmanager
    def _closing(self, role, late):
        """Ends a worker that did not answer as it should; `late` says that it took too long."""
        try:
            yield
        except wire.WireError as error:
            self.close()
            raise Fault(role.name, str(error)) from None
        except TimeoutError:
            self.close()
            raise Fault(role.name, late) from None
        except BaseException:  # a signal in the middle of an answer: the rest of it must not meet the next question
            self.close()
            raise


@contextlib.contextmanager
def visiting(folder, sandboxed, time_limit):
    """A `Player` of the submission in a folder, from a snapshot that lasts as long as the `with` block.

    Raises:
      SubmissionError: there is no submission that can be copied.
    """
    with (
        tempfile.TemporaryDirectory(prefix="gan-visit-") as store,
        Player(snapshot.take(folder, storage.path(store)), sandboxed, time_limit) as player,
    ):
        player.start()
        yield player


class _Worker:
    """The pipes of a worker process, with a clock and without trust in what comes out."""

    def __init__(self, process):
        self._process = process
        self._started = False
        self._stderr = b""
        for stream in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(stream.fileno(), False)

    def await_start(self, seconds):
        """Waits until the process can be asked, if that was not awaited before.

        Raises:
          TimeoutError, WireError: as for `ask`.
        """
        if not self._started:
            self._receive(b"", time.monotonic() + seconds)
            self._started = True

    def ask(self, header, batch, seconds):
        """Sends one message and returns the answer, (header, array or None).

        Raises:
          TimeoutError: no whole answer within `seconds`.
          WireError: the process ended, or what it says is no answer.
        """
        deadline = time.monotonic() + seconds
        self._refuse_early_answers()
        return self._receive(wire.pack(header, batch), deadline)

    def _receive(self, question, deadline):
        prefix = self._exchange(question, wire.LENGTHS.size, deadline)
        header_bytes, body_bytes = wire.lengths(prefix)
        text = self._exchange(b"", header_bytes, deadline)
        return wire.unpack(text, self._exchange(b"", body_bytes, deadline))

    def end(self):
        """Ends the process, however it is."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self):
        """Ends the process, waits for it, and closes the pipes."""
        self.end()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):  # what was not sent is of no use any more
                stream.close()

    def _exchange(self, data, wanted, deadline):
        """Sends `data`, reads `wanted` bytes, and empties the error stream, so that no side waits for the other."""
        answer, unsent = bytearray(), memoryview(data)
        process = self._process
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            if unsent:
                selector.register(process.stdin, selectors.EVENT_WRITE)
            while len(answer) < wanted or unsent:
                left = deadline - time.monotonic()
                events = selector.select(left) if left > 0 else []
                if not events and deadline <= time.monotonic():
                    raise TimeoutError
                for key, _ in events:
                    if key.fileobj is process.stdin:
                        unsent = self._send(unsent)
                        if not unsent:
                            selector.unregister(process.stdin)
                    elif key.fileobj is process.stderr:
                        if not self._collect_stderr():
                            selector.unregister(process.stderr)
                    else:
                        block = os.read(process.stdout.fileno(), min(wanted - len(answer), 1 << 20) or 1)
                        if not block:
                            raise wire.WireError(self._obituary())
                        answer += block
        if len(answer) > wanted:
            raise wire.WireError("the worker wrote without being asked")
        return bytes(answer)

    def _refuse_early_answers(self):
        with contextlib.suppress(BlockingIOError):
            if os.read(self._process.stdout.fileno(), 1):
                raise wire.WireError("the worker wrote without being asked")

    def _send(self, unsent):
        try:
            return unsent[os.write(self._process.stdin.fileno(), unsent[: 1 << 16]) :]
        except BrokenPipeError:
            raise wire.WireError(self._obituary()) from None

    def _collect_stderr(self):
        block = os.read(self._process.stderr.fileno(), 1 << 16)
        self._stderr = (self._stderr + block)[-_MAX_STDERR:]
        return block

    def _obituary(self):
        """Says how the process ended and the last thing that it had to say."""
        try:
            code = self._process.wait(1.0)
            for _ in range(_LAST_BLOCKS):  # somebody else may hold the stream and go on writing
                if not self._collect_stderr():
                    break
        except (subprocess.TimeoutExpired, BlockingIOError):
            code = self._process.poll()
        said = [line for line in self._stderr.decode(errors="replace").splitlines() if line.strip()]
        checks = (line[line.index("Check failed") :] for line in said if "Check failed" in line)  # a trace follows it
        telling = next(checks, said[-1] if said else "")
        last = f"; its last words: {printable(telling, 200)}" if telling else ""
        return f"the worker ended without an answer ({_cause(code)}){last}"


def _cause(code):
    """Names what ended a process; 128 + a signal's number is bubblewrap's way of telling of a signal."""
    if code is None:
        return "it closed its output"
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return f"killed by {signal.Signals(number).name}"
    return f"exit code {code}"
