"""A `subpool.Future` made by hand is an ordinary `concurrent.futures.Future`."""

import asyncio
import threading
from concurrent import futures

import pytest

import tasks
from subpool import Future


@pytest.fixture(params=[Future, futures.Future])
def future(request):
    """Ours and the standard one: each test holds for both."""
    return request.param()


def test_a_result_set_by_hand(future):
    """A class that only the pool can end is no Future."""
    assert (future.running(), future.done(), future.cancelled()) == (False, False, False)
    assert future.set_running_or_notify_cancel()
    assert future.running()
    assert not future.cancel()
    future.set_result(5)
    assert (future.result(), future.exception(), future.done()) == (5, None, True)


def test_an_exception_set_by_hand(future):
    """With its own type and no cause of ours."""
    future.set_exception(LookupError(3))
    with pytest.raises(LookupError) as caught:
        future.result()
    assert caught.value.__cause__ is None
    assert type(future.exception()) is LookupError


def test_cancel_by_hand(future):
    """The standard two steps: cancelled, then notified."""
    assert future.cancel()
    assert future.cancel()
    assert future._state == "CANCELLED"
    assert not future.set_running_or_notify_cancel()
    assert future._state == "CANCELLED_AND_NOTIFIED"
    with pytest.raises(futures.CancelledError):
        future.result()


def test_ending_twice(future):
    """The second end is an error."""
    future.set_result(1)
    with pytest.raises(futures.InvalidStateError):
        future.set_result(2)
    with pytest.raises(futures.InvalidStateError):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_timeouts(future):
    """And none of them changes the future."""
    for method in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            method(timeout=0)
        with pytest.raises(TimeoutError):
            method(0.001)
    future.set_result(1)
    assert future.result(timeout=0) == 1


def test_callbacks(future):
    """In order, once each, at once when it has ended."""
    seen = []
    future.add_done_callback(lambda _: seen.append(1))
    future.add_done_callback(lambda _: seen.append(2))
    future.set_result(None)
    future.add_done_callback(lambda got: seen.append(got is future))
    assert seen == [1, 2, True]


def test_waiting_for_one_set_by_another_thread(future):
    """The condition is made lazily, by whichever thread comes first."""
    thread = threading.Thread(target=lambda: future.set_result(7))
    thread.start()
    assert future.result() == 7
    thread.join()
    assert futures.wait([future]).done == {future}
    assert list(futures.as_completed([future])) == [future]


def test_asyncio_wraps_it(future):
    """As it does the standard one."""

    async def main():
        wrapped = asyncio.wrap_future(future)
        future.set_result(9)
        return await wrapped

    assert asyncio.run(main()) == 9


def test_repr(future):
    """The standard repr needs all of the standard attributes."""
    assert "state=pending" in repr(future)
    future.set_result(3)
    assert "state=finished returned int" in repr(future)


def test_attributes(future):
    """Programs hang their own things on futures, and mistype names."""
    future.mine = 3
    assert future.mine == 3
    with pytest.raises(AttributeError, match="no_such"):
        _ = future.no_such
    assert not hasattr(future, "_no_such")


def test_a_subclass_with_an_init_of_its_own():
    """Subclassing is allowed for the standard class."""

    class Mine(Future):
        def __init__(self, name):
            super().__init__()
            self.name = name

    future = Mine("n")
    future.set_result(1)
    assert (future.name, future.result()) == ("n", 1)


def test_a_pools_future_is_both(pool):
    """isinstance checks decide how libraries treat it."""
    future = pool.submit(tasks.nothing)
    assert isinstance(future, Future)
    assert isinstance(future, futures.Future)
    assert asyncio.isfuture(future) is False
    assert Future[int] is not None


def test_attributes_of_a_pools_future(pool):
    """The lazy attributes must not swallow mistyped ones."""
    future = pool.submit(tasks.add, 1, 2)
    future.mine = 3
    assert future.mine == 3
    with pytest.raises(AttributeError, match="no_such"):
        _ = future.no_such
    future.result()
    assert (future._result, future._exception, future._state) == (3, None, "FINISHED")
