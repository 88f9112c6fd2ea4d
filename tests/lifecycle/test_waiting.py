"""`wait`, `as_completed` and asyncio, with our futures, standard ones, and both at once."""

import asyncio
import threading
from concurrent import futures

import pytest

import tasks
from subpool import Future, interpreter
from subpool import futures as futures_module


@pytest.fixture
def blocked(pool, gate):
    future = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    return future


def test_wait_for_all(pool2):
    """Each way to wait listens; a future that ended before must count as well."""
    ended = pool2.submit(tasks.add, 1, 2)
    ended.result()
    waited = {ended, *(pool2.submit(tasks.identity, number) for number in range(20))}
    done, pending = futures.wait(waited)
    assert (done, pending) == (waited, set())


def test_wait_for_the_first(pool, blocked, gate):
    """FIRST_COMPLETED with one running future and one that ends."""
    others = [pool.submit(tasks.nothing) for _ in range(2)]
    opener = threading.Thread(target=gate.open)
    opener.start()
    done, pending = futures.wait([blocked, *others], return_when=futures.FIRST_COMPLETED)
    opener.join()
    assert blocked in done
    assert done | pending == {blocked, *others}


def test_wait_for_the_first_exception(pool, blocked, gate):
    """Results do not end this wait, an exception does."""
    failing = pool.submit(tasks.raise_custom)
    last = pool.submit(tasks.block, *gate.fds)
    gate.open()
    done, pending = futures.wait([blocked, failing, last], return_when=futures.FIRST_EXCEPTION)
    assert (done, pending) == ({blocked, failing}, {last})
    gate.open()


def test_wait_times_out(blocked, gate):
    """And leaves no waiter behind."""
    done, pending = futures.wait([blocked], timeout=0.001)
    assert (done, pending) == (set(), {blocked})
    assert blocked._waiters == []
    gate.open()
    assert futures.wait([blocked]).done == {blocked}


def test_as_completed_gives_each_once(pool2):
    """A future that ends between the first look and the listening was given twice."""
    for _ in range(20):
        submitted = [pool2.submit(tasks.identity, number) for number in range(20)]
        got = [future.result() for future in futures.as_completed(submitted)]
        assert sorted(got) == list(range(20))


def test_an_end_is_published_once(blocked, gate):
    """`result()` publishes too, when the completer is late: the waiter counted the end twice."""
    delivered = threading.Event()
    blocked.add_done_callback(lambda _: delivered.set())
    waiter = futures._base._create_and_install_waiters([blocked], futures._base._AS_COMPLETED)
    with blocked._condition:  # the completer has to wait for it
        gate.open()
        assert blocked.result() == "released"
    delivered.wait()
    assert waiter.finished_futures == [blocked]


def test_as_completed_of_the_same_future_twice(pool):
    """The standard function counts a set."""
    future = pool.submit(tasks.nothing)
    assert list(futures.as_completed([future, future])) == [future]


def test_as_completed_times_out(blocked, gate):
    """The count of the unfinished stands in the message."""
    with pytest.raises(TimeoutError, match=r"1 \(of 1\) futures unfinished"):
        list(futures.as_completed([blocked], timeout=0.001))
    gate.open()


def test_a_cancelled_future_counts_as_done(pool, blocked, gate):
    """`wait` hung on a future that was cancelled before a worker came by."""
    pending = pool.submit(tasks.nothing)
    canceller = threading.Thread(target=pending.cancel)
    canceller.start()
    assert futures.wait([pending]).done == {pending}
    assert list(futures.as_completed([pending])) == [pending]
    canceller.join()
    gate.open()


def test_a_future_cancelled_before_the_wait(pool, blocked, gate):
    """The end came before anybody listened."""
    pending = pool.submit(tasks.nothing)
    pending.cancel()
    assert futures.wait([pending]).done == {pending}
    assert list(futures.as_completed([pending])) == [pending]
    gate.open()


def test_ours_and_standard_ones_together(executor, gate):
    """The functions take the conditions of all futures at once, sorted by address."""
    tagged = [executor.submit(interpreter(tasks.identity), number) for number in range(10)]
    plain = [executor.submit(tasks.identity, number) for number in range(10, 20)]
    assert futures.wait(tagged + plain).done == {*tagged, *plain}
    got = [future.result() for future in futures.as_completed(tagged + plain)]
    assert sorted(got) == list(range(20))


def test_several_threads_wait_for_one_future(blocked, gate):
    """A latch that wakes one of its sleepers leaves the others."""
    got, ready = [], threading.Barrier(5)

    def wait():
        ready.wait()
        got.append(blocked.result())

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    gate.open()
    for thread in threads:
        thread.join()
    assert got == ["released"] * 4


def test_several_threads_decode_one_result(pool, blocked, gate):
    """Two threads that wake together decoded the same bytes, or one of them found none."""
    future = pool.submit(tasks.identity, [1] * 1000)
    got = []
    threads = [threading.Thread(target=lambda: got.append(future.result())) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join()
    assert len({id(result) for result in got}) == 1
    assert len(got) == 8


def test_asyncio_wrap_future(pool):
    """A future wrapped while it is pending."""

    async def main():
        wrapped = [asyncio.wrap_future(pool.submit(tasks.identity, i)) for i in range(20)]
        return await asyncio.gather(*wrapped)

    assert asyncio.run(main()) == list(range(20))


def test_asyncio_wrap_future_with_an_exception(pool):
    """3.15's asyncio reads `_get_snapshot` of the future it chains."""

    async def main():
        with pytest.raises(tasks.CustomError):
            await asyncio.wrap_future(pool.submit(tasks.raise_custom))

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(futures.Future, "_get_snapshot"), reason="new in 3.15")
def test_the_snapshot_of_a_future(pool, blocked, gate):
    """What asyncio of 3.15 chains by: done, cancelled, result, exception."""
    done, cancelled, result, exception = blocked._get_snapshot()
    assert (done, cancelled, result, exception) == (False, False, None, None)
    pending = pool.submit(tasks.nothing)
    pending.cancel()
    assert pending._get_snapshot()[:2] == (True, True)
    gate.open()
    futures.wait([blocked])
    assert tuple(blocked._get_snapshot()) == (True, False, "released", None)
    failed = pool.submit(tasks.raise_custom)
    assert type(failed.exception()) is tasks.CustomError
    assert tuple(failed._get_snapshot())[:3] == (True, False, None)


def test_repr_in_each_state(pool, blocked, gate):
    """The standard repr reads `_condition`, `_state`, `_result` and `_exception`."""
    pending = pool.submit(tasks.nothing)
    assert "state=running" in repr(blocked)
    assert "state=pending" in repr(pending)
    pending.cancel()
    assert "state=cancelled" in repr(pending)
    gate.open()
    blocked.result()
    assert "state=finished returned str" in repr(blocked)
    failed = pool.submit(tasks.raise_custom)
    failed.exception()
    assert "state=finished raised CustomError" in repr(failed)


LISTENING = {"_condition", "_waiters", "_done_callbacks"}


def test_who_finds_the_attributes_is_listened_to(blocked, gate, monkeypatch):
    """A second listener found them before the first had begun to listen, and was never told."""
    seen = []
    listen = Future._listen

    def looking(future):
        seen.append(LISTENING & future.__dict__.keys())
        return listen(future)

    monkeypatch.setattr(Future, "_listen", looking)
    called = threading.Event()
    blocked.add_done_callback(lambda _: called.set())
    assert seen == [set()]
    assert blocked.__dict__.keys() >= LISTENING
    gate.open()
    assert called.wait(20)


def test_an_end_while_the_attributes_are_made(blocked, gate, monkeypatch):
    """The completer comes between the listening and the attributes: it has to wait for them."""
    listen = Future._listen

    def ending(future):
        monkeypatch.undo()
        listening = listen(future)
        gate.open()
        assert future.exception(timeout=20) is None  # publishes, from within
        return listening

    monkeypatch.setattr(Future, "_listen", ending)
    called = threading.Event()
    blocked.add_done_callback(lambda _: called.set())
    assert called.wait(20)


def test_listening_within_listening(pool, blocked, gate):
    """The garbage collector, or a signal's handler, may run anything in the middle of it."""
    called = threading.Event()
    with futures_module._creating:
        blocked.add_done_callback(lambda _: called.set())
    gate.open()
    assert called.wait(20)
