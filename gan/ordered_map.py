"""`map` over threads, in order, for items and results that must not all be held at once."""

import collections


def ordered_map(pool, function, items, window):
    """Yields the result for each item, in order.

    Args:
      pool: a `concurrent.futures.Executor`.
      function: of one item.
      items: any iterable; it is read as results are taken.
      window: the most results that wait to be taken.
    """
    waiting = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
