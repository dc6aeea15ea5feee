"""Contestants that take turns, A B C A B C: a machine whose speed drifts slows all of them alike."""

import contextlib
import functools
import multiprocessing
import signal
import statistics
import time

import tqdm

from gan import flags
from gan.errors import RunError


def take(contestants, turns, warm_up=1):
    """Lets contestants take turns.

    Args:
      contestants: {name: function that does its piece of work and returns a number}.
      turns: of each.
      warm_up: turns before these, which do not count.

    Returns:
      {name: [number of each turn]}.
    """
    numbers = tqdm.trange(warm_up + turns, desc="turns", leave=False, disable=None)  # a bar where there is a terminal
    rounds = [{name: work() for name, work in contestants.items()} for _ in numbers]
    return {name: [found[name] for found in rounds[warm_up:]] for name in contestants}


def ratio(measured, above, below):
    """Returns the median, over the turns, of one contestant's number over another's in the same turn."""
    return statistics.median(a / b for a, b in zip(measured[above], measured[below], strict=True))


def seconds_of(work):
    """Returns the seconds that a function takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@contextlib.contextmanager
def in_processes(makers):
    """Puts each contestant into a process of its own, which is idle until it is its turn.

    Args:
      makers: {name: (function, *arguments)}; the function, of a module, is called in the new process and returns the
        contestant's piece of work, for `take`.

    Yields:
      {name: function that has the process do the work and returns what that returned}.

    Raises:
      RunError: a process ended before its time.
    """
    with contextlib.ExitStack() as held:
        connections = {name: held.enter_context(_process(name, *maker)) for name, maker in makers.items()}
        for name, connection in connections.items():
            _ask(name, connection)  # whether it is ready
        yield {name: functools.partial(_ask, name, connection, True) for name, connection in connections.items()}


@contextlib.contextmanager
def _process(name, function, *arguments):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, function, arguments), name=name, daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()  # which ends it, unless it is at work
        process.join(timeout=1)
        process.kill()
        process.join()


def _serve(connection, function, arguments):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    with flags.quiet_stderr():  # an error that ends this process is shown none the less
        work = function(*arguments)
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while connection.recv():
            connection.send(work())


def _ask(name, connection, *words):
    """Tells a process what there is to tell, and returns its answer."""
    try:
        for word in words:
            connection.send(word)
        return connection.recv()
    except (EOFError, OSError):
        raise RunError(f"the process of {name} has ended; what it printed says why") from None
