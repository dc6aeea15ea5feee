"""SIGINT and SIGTERM: how a user, or a service, ends a command."""

import contextlib
import signal
import threading

from gan.errors import Interrupted

STOPS = (signal.SIGINT, signal.SIGTERM)
STOPPED = "stopped; the same command goes on where it was"


def interrupt(number, _):
    """A handler that ends what runs by `Interrupted`, and the second time the process at once."""
    for each in STOPS:
        signal.signal(each, signal.SIG_DFL)
    raise Interrupted(STOPPED, number)


@contextlib.contextmanager
def handled_by(handler):
    """Within, the two signals call `handler(number, frame)`; in another thread than the main one they stay as they are.

    A shell starts a job in the background with SIGINT ignored; within, it is heeded there as well.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
