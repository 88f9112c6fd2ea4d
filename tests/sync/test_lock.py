"""`subpool.Lock`: one at a time, in order."""

import asyncio
import sys
import threading
from contextlib import AsyncExitStack, ExitStack

import pytest
from sync_support import until_waiting, waiting

import tasks_sync
from subpool import Event, InterpreterPoolExecutor, Lock, Queue
from support import DEADLINE


def test_one_at_a_time(pool2):
    """Two workers and a thread of main count in memory that all see: none is lost."""
    lock, counter = Lock(), memoryview(bytearray(8)).cast("q")
    futures = [pool2.submit(tasks_sync.count_under, lock, counter, 300) for _ in range(2)]
    tasks_sync.count_under(lock, counter, 300)
    for future in futures:
        future.result(DEADLINE)
    assert counter[0] == 900
    assert not lock.locked()


def test_it_is_handed_over_in_order(pool2):
    """Who releases and acquires in a loop starved all others."""
    lock, order = Lock(), Queue()
    lock.acquire()
    futures = []
    for number in range(1, 3):
        futures.append(pool2.submit(tasks_sync.acquire, lock, order))
        until_waiting(lock, number)
    lock.release()
    assert lock.acquire()  # stands behind both
    assert order.qsize() == 2
    lock.release()
    assert [future.result(DEADLINE) for future in futures] == [None, None]


def test_timeouts(pool):
    lock = Lock()
    assert lock.acquire()
    assert lock.acquire(blocking=False) is False
    assert lock.acquire(timeout=0) is False
    assert lock.acquire(timeout=0.001) is False
    assert waiting(lock) == 0
    assert lock.locked()
    with pytest.raises(ValueError, match="non-negative"):
        lock.acquire(timeout=-2)
    with pytest.raises(ValueError, match="non-blocking"):
        lock.acquire(blocking=False, timeout=1)
    lock.release()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.release()
    assert repr(lock).startswith("<unlocked subpool.Lock object at #")


def test_it_is_held_and_released_in_different_places(pool):
    """As with `threading.Lock`, which any thread may release."""
    lock = Lock()
    assert pool.submit(tasks_sync.acquire_and_keep, lock).result()
    assert lock.locked()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert not lock.locked()


def test_with_releases_it_when_the_block_raises(pool):
    lock = Lock()
    with pytest.raises(ZeroDivisionError), lock:
        assert lock.locked()
        raise ZeroDivisionError
    assert not lock.locked()


def test_a_task_that_is_interrupted_lets_go(pool):
    lock, held = Lock(), Event()
    future = pool.submit(tasks_sync.hold, lock, held, Event())
    assert held.wait(DEADLINE)
    assert lock.locked()
    future.interrupt()
    future.exception(DEADLINE)
    assert lock.acquire(timeout=DEADLINE)


def test_with_runs_no_python_while_it_has_the_lock():
    """An interrupt is raised as Python code begins: that of `__exit__` began with the lock held.

    In a loop of short blocks most interrupts left it held for ever.
    """
    lock, seen = Lock(), []

    def look(frame, event, _):
        seen.append((event, frame.f_code.co_name, lock.locked()))

    with ExitStack() as stack:
        sys.settrace(look)
        stack.callback(sys.settrace, None)
        with lock:
            pass
        lock.acquire()
        lock.release()
    within = [name for event, name, held in seen if event == "call" and held]
    assert [name for name in within if name not in ("locked", "__get__")] == []
    assert not lock.locked()


def test_async_with_releases_it_in_the_call():
    """It was a coroutine's: what was raised as that began left the lock held."""
    lock = Lock()

    async def main():
        entered = lock.__aenter__()
        assert lock.locked(), "in the call"
        assert await entered is None
        released = lock.__aexit__(None, None, None)
        assert not lock.locked(), "in the call"
        assert await released is None
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            lock.__aexit__(None, None, None)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(lock)
            assert lock.locked()
        assert not lock.locked()

    asyncio.run(main())


def test_a_stack_of_contexts_can_have_it():
    lock = Lock()
    with ExitStack() as stack:
        stack.enter_context(lock)
        assert lock.locked()
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lock.__exit__(None, None, None)
    assert Lock.release.__doc__


def test_it_stays_held_when_its_holders_interpreter_ends():
    """Nobody knows whether what it guards is whole; documented, as with `threading.Lock`."""
    lock = Lock()
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks_sync.acquire_and_keep, lock).result()
    assert lock.locked()
    lock.release()
    assert lock.acquire(timeout=0)
