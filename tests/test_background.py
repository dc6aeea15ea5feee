import concurrent.futures
import threading

import pytest

from gan import background
from gan.errors import Interrupted

SECONDS = 300  # after which a test gives up


def begin_waiting(beside, done):
    """Begins a piece of work that ends when the event comes that is returned."""
    release = threading.Event()

    def work():
        assert release.wait(SECONDS)
        done.append("first")
        return "result"

    beside.begin(work)
    return release


def test_work_is_done_in_order_and_told_to_its_owner():
    told = []
    with background.Background() as beside:
        for number in range(5):
            beside.begin(
                lambda number=number: (number, threading.current_thread().name),
                lambda found: told.append((*found, threading.current_thread())),
            )
    assert [number for number, _, _ in told] == [0, 1, 2, 3, 4]
    assert {name.partition("_")[0] for _, name, _ in told} == {"background"}
    assert {thread for _, _, thread in told} == {threading.current_thread()}


def test_only_what_is_done_is_told():
    done, told = [], []
    with background.Background() as beside:
        release = begin_waiting(beside, done)
        beside.begin(lambda: "second", told.append)
        beside.tell()
        assert (done, told) == ([], [])
        release.set()
        beside.finish()
        assert (done, told) == (["first"], ["second"])


class Stop(BaseException):
    pass


def test_nothing_is_done_before_the_owner_first_tells():
    done = []
    with background.Background() as beside:
        beside.begin(lambda: done.append("work"))
        done.append("owner")
        beside.tell()
        beside.finish()
    assert done == ["owner", "work"]


@pytest.mark.parametrize("kind", [OSError, Stop])
def test_an_error_is_raised_where_it_can_be_handled_and_nothing_is_done_after_it(kind):
    done = []

    def fail():
        raise kind("disk full")

    with pytest.raises(kind, match="disk full"), background.Background() as beside:
        beside.begin(fail)
        beside.begin(lambda: done.append("after"))
        beside.finish()
    assert done == []


def test_an_error_that_was_not_asked_for_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), background.Background() as beside:
        beside.begin(lambda: 1 / 0)


@pytest.mark.parametrize("error, expected", [(KeyError(), ["first", "second"]), (Interrupted("stop", 2), ["first"])])
def test_an_error_of_the_owner_waits_but_for_one_who_is_in_a_hurry(error, expected, monkeypatch):
    done = []
    beside = background.Background()
    release = begin_waiting(beside, done)
    beside.begin(lambda: done.append("second"))
    shutdown = concurrent.futures.ThreadPoolExecutor.shutdown

    def release_after_dropping(self, wait, cancel_futures):
        shutdown(self, wait=False, cancel_futures=cancel_futures)
        release.set()
        shutdown(self, wait=wait)

    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "shutdown", release_after_dropping)
    with pytest.raises(type(error)), beside:
        raise error
    assert done == expected
