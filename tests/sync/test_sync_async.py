"""Awaiting events, queues and locks: in main and in workers, with cancels and closed loops."""

import asyncio
import gc
import os
import queue
import sys

import pytest
from sync_support import until_waiting, waiting

import tasks_sync
from subpool import Event, InterpreterPoolExecutor, Lock, Queue, TaskInterrupted
from support import DEADLINE


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine in a loop of that kind, and a function in it meanwhile."""
    if request.param == "asyncio":
        return asyncio.run
    return pytest.importorskip("uvloop").run


async def in_line(shared, number=1):
    while waiting(shared) != number:  # noqa: ASYNC110 - it is other threads that wait, too
        await asyncio.sleep(0)


def test_main_awaits_a_worker(pool, run):
    event = Event()

    async def main():
        wait = asyncio.ensure_future(event.wait_async())
        await in_line(event)
        pool.submit(tasks_sync.set_event, event)
        return await asyncio.wait_for(wait, DEADLINE)

    assert run(main()) is True
    assert waiting(event) == 0


def test_a_worker_awaits_main(pool):
    event = Event()
    future = pool.submit(tasks_sync.wait_async, event)
    until_waiting(event)
    event.set()
    assert future.result(DEADLINE) is True


def test_a_timeout(pool, run):
    event = Event()
    assert run(event.wait_async(0.001)) is False
    assert run(event.wait_async(0)) is False
    assert pool.submit(tasks_sync.wait_async, event, 0.001).result() is False
    assert waiting(event) == 0
    event.set()
    assert run(event.wait_async(0.001)) is True


def test_queues_between_loops(pool, run):
    questions, answers = Queue(1), Queue(1)
    future = pool.submit(tasks_sync.echo_async, questions, answers)

    async def main():
        async def ask():
            for number in range(100):
                await questions.put_async(number)
            await questions.put_async(None)

        asking = asyncio.ensure_future(ask())
        got = [await answers.get_async() for _ in range(100)]
        await asking
        return got

    assert run(main()) == [*range(100)]
    future.result(DEADLINE)


def test_one_descriptor_for_all_waits_of_a_loop(pool):
    """Each wait had one of its own, and a thousand waits were the end of them."""
    events = [Event() for _ in range(50)]
    more, woken = pool.submit(tasks_sync.many_waits, events).result(DEADLINE)
    assert woken == 50
    assert more == 2, "the loop's end and the other one"


def test_a_closed_loop_leaves_no_descriptor(run):
    def listed():
        return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names

    event = Event()
    run(event.wait_async(0.001))
    gc.collect()
    before = listed()
    for _ in range(3):
        run(event.wait_async(0.001))
    gc.collect()
    assert len(listed()) <= len(before)


def test_a_cancelled_get_loses_no_item(run):
    """Cancelled before it is called; called, and cancelled before it comes for the item."""
    items = Queue()

    async def main():
        early = asyncio.ensure_future(items.get_async())
        await in_line(items)
        early.cancel()
        await asyncio.wait([early])
        items.put(1)
        assert items.qsize() == 1
        assert await items.get_async() == 1

        late = asyncio.ensure_future(items.get_async())
        await in_line(items)
        items.put(2)  # it is handed over
        assert items.qsize() == 0
        late.cancel()
        await asyncio.wait([late])
        assert late.cancelled()
        assert items.get_nowait() == 2

        # The next in line has it.
        first = asyncio.ensure_future(items.get_async())
        await in_line(items)
        second = asyncio.ensure_future(items.get_async())
        await in_line(items, 2)
        items.put(3)
        first.cancel()
        assert await second == 3

    run(main())
    assert waiting(items) == 0


def test_what_is_given_back_after_a_shutdown_at_once_is_dropped_too(run):
    """It stayed in the queue, where nobody looks any more, and who joined waited for ever."""
    items = Queue()

    async def main():
        getter = asyncio.ensure_future(items.get_async())
        await in_line(items)
        items.put(1)  # it is handed over
        items.shutdown(immediate=True)
        getter.cancel()
        await asyncio.wait([getter])

    run(main())
    assert items.empty()
    assert items.join(0) is True


def test_a_cancelled_put_leaves_its_item_out(run):
    items = Queue(1)

    async def main():
        await items.put_async(1)
        late = asyncio.ensure_future(items.put_async(2))
        await in_line(items)
        late.cancel()
        await asyncio.wait([late])

    run(main())
    assert items.get() == 1
    assert items.empty()


def test_a_cancelled_acquire_passes_the_lock_on(run):
    lock = Lock()

    async def main():
        await lock.acquire_async()
        first = asyncio.ensure_future(lock.acquire_async())
        await in_line(lock)
        lock.release()  # it is handed over
        first.cancel()
        await asyncio.wait([first])
        assert not lock.locked()
        async with lock:
            assert lock.locked()
        assert not lock.locked()

    run(main())


def test_ends(run):
    """`ShutDown` for all who await, and `join`."""
    items = Queue(1)

    async def main():
        await items.put_async(1)
        putter = asyncio.ensure_future(items.put_async(2))
        joiner = asyncio.ensure_future(items.join_async())
        await in_line(items, 2)
        items.shutdown()
        with pytest.raises(queue.ShutDown):
            await putter
        assert await items.get_async() == 1
        with pytest.raises(queue.ShutDown):
            await items.get_async()
        assert not joiner.done()
        items.task_done()
        await joiner

    run(main())


def test_a_loop_that_is_closed_gives_back_what_it_was_called_for():
    """Its coroutines never came for it: the item was gone."""
    items, lock = Queue(), Lock()
    lock.acquire()
    loop = asyncio.new_event_loop()

    async def main():
        tasks = [
            asyncio.ensure_future(items.get_async()),
            asyncio.ensure_future(lock.acquire_async()),
        ]
        await in_line(items)
        return tasks

    left = loop.run_until_complete(main())
    items.put(1)
    lock.release()
    assert items.empty()
    assert lock.locked()
    loop.close()
    gc.collect()
    assert items.get(timeout=DEADLINE) == 1
    assert not lock.locked()
    for task in left:
        task._log_destroy_pending = False  # no word of it on standard error
    del left, task
    gc.collect()


def test_an_interpreter_that_is_closed_gives_back_what_its_loops_were_called_for():
    items, lock = Queue(), Lock()
    lock.acquire()
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks_sync.abandon_awaits, items, lock).result()
        assert (waiting(items), waiting(lock)) == (1, 1)
        items.put(1)
        lock.release()
        assert lock.locked(), "handed over"
    assert items.get(timeout=DEADLINE) == 1
    assert not lock.locked()
    assert waiting(items) == 0


def test_an_interrupt_reaches_a_loop_that_sleeps(pool):
    """It looked at nothing before the loop woke up for another reason."""
    event = Event()
    future = pool.submit(tasks_sync.wait_async, event)
    until_waiting(event)
    assert future.interrupt()
    assert isinstance(future.exception(DEADLINE), TaskInterrupted)
    assert waiting(event) == 0


def test_a_loop_that_goes_on_after_an_exception_amid_its_news():
    """Ctrl-C between two of those who were called: the others were never told."""
    events = [Event() for _ in range(3)]
    loop = asyncio.new_event_loop()

    async def begin():
        waits = [asyncio.ensure_future(event.wait_async()) for event in events]
        await in_line(events[2])
        return waits

    async def end():
        return await asyncio.wait_for(asyncio.gather(*waits), DEADLINE)

    waits = loop.run_until_complete(begin())
    door = loop._subpool_door()
    waiting_ones, door.waiting = door.waiting, Torn(door.waiting)
    for event in events:
        event.set()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(end())
    door.waiting = waiting_ones
    assert loop.run_until_complete(end()) == [True] * 3
    del door
    loop.close()


class Torn(dict):
    """In whose second look Ctrl-C comes."""

    looks = 0

    def get(self, number, *_):
        self.looks += 1
        if self.looks == 2:
            raise KeyboardInterrupt
        return super().get(number)

    pop = get


def test_without_a_loop():
    event, items, joined = Event(), Queue(), Queue()
    joined.put(1)
    for wait in (event.wait_async, items.get_async, joined.join_async):
        with pytest.raises(RuntimeError, match="needs a running event loop of asyncio"):
            wait().send(None)
    assert [waiting(shared) for shared in (event, items, joined)] == [0, 0, 0]


def test_asyncio_is_not_imported(pool):
    """Whoever awaits has a loop; who does not shall not pay for it."""
    assert not pool.submit(tasks_sync.has_imported, "subpool._doors").result()
    assert "subpool._doors" in sys.modules
