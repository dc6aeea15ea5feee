"""Keeps the workers of the teams that played last; the others end, and start again when they are needed."""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import threading

from gan.arena.player import Player

_WORKER_BYTES = 200 << 20
_LEAST, _MOST = 4, 200  # the most by the files that a process may have open
_MEMORY = pathlib.Path("/proc/meminfo")
_CONTAINER = pathlib.Path("/sys/fs/cgroup")  # of control groups, version 2


class Pool:
    """Workers that are kept. Use it in a `with` block, which ends them all.

    Args:
      sandboxed, time_limit: as for `Player`.
      size: workers kept, None for `capacity`; more run only while more are in use.

    Attributes:
      threads: an executor, one thread a core. It lives as long as the workers do, because bubblewrap ends a worker
        together with the thread that started it.
    """

    def __init__(self, sandboxed, time_limit, size):
        self._make = lambda files: Player(files, sandboxed, time_limit)
        self._size = size or capacity()
        self._players = collections.OrderedDict()  # the one that was used last stands last
        self._users = collections.Counter()
        self._lock = threading.Lock()
        self.threads = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    @contextlib.contextmanager
    def playing(self, slug, files):
        """The `Player` of a team's snapshot, for one user at a time; it is not ended while somebody uses it."""
        key = (slug, files.digest)
        with self._lock:
            player = self._players.pop(key, None) or self._make(files)
            self._players[key] = player
            self._users[key] += 1
            surplus = self._surplus()
        for other in surplus:
            other.close()
        try:
            with player.in_use:
                yield player
        finally:
            with self._lock:
                self._users[key] -= 1

    def _surplus(self):
        """Takes out the players beyond `size` that nobody uses."""
        idle = [key for key in self._players if not self._users[key]]
        return [self._players.pop(key) for key in idle[: max(0, len(self._players) - self._size)]]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for player in self._players.values():
            player.retire()  # also one that another thread waits for
        self.threads.shutdown(cancel_futures=True)
        for player in self._players.values():
            player.close()
        self._players.clear()


def capacity():
    """Returns how many workers half of the free memory of this machine, or of this container, holds."""
    return max(_LEAST, min(_MOST, _free_bytes() // 2 // _WORKER_BYTES))


def _free_bytes():
    lines = dict(line.split(":") for line in _MEMORY.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    limit = _CONTAINER / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text) - int((_CONTAINER / "memory.current").read_text()))
    return free
