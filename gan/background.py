"""Work beside the training steps, in a thread."""

import collections
import concurrent.futures
import threading

from gan.errors import Interrupted


class Background:
    """Does pieces of work one after the other, in one thread, while its owner goes on.

    It begins when its owner first tells or finishes: what the owner does before, such as a first step, is not delayed.
    What a piece returns is told to its owner, and what it raises is raised there, at the next `tell` or `finish`. After
    a piece that raised no other is done. Leaving the context waits for all of them, also where an error leaves it; only
    `Interrupted` drops those that have not begun.
    """

    def __init__(self):
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="background")
        self._begun = collections.deque()
        self._may_begin = threading.Event()
        self._failed = False

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        self._may_begin.set()
        self._thread.shutdown(wait=True, cancel_futures=error is Interrupted)
        if error is None:
            self.finish()

    def begin(self, work, told=lambda result: None):
        """Has `work()` done; `told(result)` is called by `tell` or `finish`."""
        self._begun.append((self._thread.submit(self._attempt, work), told))

    def tell(self):
        """Tells what has been done so far."""
        self._may_begin.set()
        while self._begun and self._begun[0][0].done():
            self._tell_next()

    def finish(self):
        """Waits for all that was begun, and tells it."""
        self._may_begin.set()
        while self._begun:
            self._tell_next()

    def _tell_next(self):
        future, told = self._begun.popleft()
        told(future.result())

    def _attempt(self, work):
        self._may_begin.wait()
        if self._failed:
            raise RuntimeError("the work before this failed")
        try:
            return work()
        except BaseException:
            self._failed = True
            raise
