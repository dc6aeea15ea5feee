"""`map` over threads, in order: as a stream that holds few items and results at once, or all at once."""

import collections
import multiprocessing.pool


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


def in_threads(function, items, threads=8):
    """Returns the results for all items, in order; an error ends what has not begun."""

    def attempt(item):
        try:
            return function(item), None
        except BaseException as error:  # noqa: BLE001 - one that ends the thread would leave the pool waiting for its result
            return None, error

    pool = multiprocessing.pool.ThreadPool(threads)
    try:
        results = []
        for result, error in pool.imap(attempt, items):
            if error is not None:
                raise error
            results.append(result)
        return results
    except Exception:
        pool.terminate()
        pool.join()  # nothing goes on behind the back of who handles the error; Ctrl-C waits for nothing
        raise
    finally:
        pool.terminate()
