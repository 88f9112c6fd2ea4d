"""Awaiting at a pool whose queue is full: the call waits for its place, and the loop goes on."""

import asyncio
import os
import threading

import pytest

import tasks
from subpool import InterpreterPoolExecutor
from support import eventually


@pytest.fixture
def bounded(closing, gate):
    """A pool of one worker, which is held, and one place in the queue, which is taken."""
    pool = closing(InterpreterPoolExecutor(1, max_pending=1))
    pool.submit(tasks.block, *gate.fds)
    gate.wait()
    pool.submit(tasks.nothing)
    return pool


def test_the_loop_goes_on(bounded, gate, run):
    """The loop stood still until there was a place."""

    async def main():
        calls = [bounded.run(tasks.add, 1), bounded.wrap(tasks.add)(2)]
        waiting = asyncio.gather(*calls)
        await asyncio.sleep(0)
        assert bounded._pool.lined_up == 2
        gate.open()
        return await waiting

    assert run(main()) == [1, 2]


def test_in_order_with_submit(bounded, gate, pipe, run):
    """A loop's calls were let in before those of threads, or after them."""
    reader, writer = pipe

    async def main():
        first = bounded.run(tasks.write, writer, "a")
        thread = threading.Thread(target=bounded.submit, args=(tasks.write, writer, "b"))
        thread.start()
        eventually(lambda: bounded._pool.lined_up == 2, "the thread's call in line")
        last = bounded.run(tasks.write, writer, "c")
        gate.open()
        await asyncio.gather(first, last)
        thread.join()

    run(main())
    assert os.read(reader, 10) == b"abc"


def test_a_cancelled_await_leaves_the_line(bounded, gate, pipe, run):
    """It stayed in line and was run, or the next ones never came to their turn."""
    reader, writer = pipe

    async def main():
        calls = [bounded.run(tasks.write, writer, name) for name in "abc"]
        rest = asyncio.ensure_future(asyncio.wait_for(bounded.run(tasks.nothing), 0.001))
        with pytest.raises(TimeoutError):
            await rest
        calls[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls[1]
        assert bounded._pool.lined_up == 2
        outstanding = bounded.stats().outstanding
        gate.open()
        await asyncio.gather(calls[0], calls[2])
        return outstanding

    assert run(main()) == 4, "two at the worker and in the queue, two in line"
    assert os.read(reader, 10) == b"ac"
    assert bounded.stats().outstanding == 0


def test_many_cancelled_in_any_order(bounded, gate, run):
    """Who stepped out of the middle of the line took others along."""

    async def main():
        calls = [bounded.run(tasks.add, i) for i in range(60)]
        for i in range(60):
            if i % 4:
                calls[i * 7 % 60].cancel()
        gate.open()
        return await asyncio.gather(*calls, return_exceptions=True)

    kept = {i * 7 % 60 for i in range(60) if i % 4 == 0}
    ended = run(main())
    assert {i for i, end in enumerate(ended) if end == i} == kept
    assert sum(isinstance(end, asyncio.CancelledError) for end in ended) == 60 - len(kept)


@pytest.mark.parametrize("cancel", [False, True], ids=["finish", "cancel"])
def test_a_shutdown_with_calls_in_line(bounded, gate, run, cancel):
    """Calls that were accepted before the shutdown were lost with the line."""

    async def main():
        calls = [bounded.run(tasks.add, i) for i in range(5)]
        bounded.shutdown(wait=False, cancel_futures=cancel)
        assert bounded._pool.lined_up == 0
        with pytest.raises(RuntimeError, match="after shutdown"):
            await bounded.run(tasks.nothing)
        gate.open()
        return await asyncio.gather(*calls, return_exceptions=True)

    ended = run(main())
    if cancel:
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    else:
        assert ended == list(range(5))


def test_a_dropped_executor_finishes_its_line(gate, run):
    """Nobody is left who could submit, but what was accepted is done."""
    pool = InterpreterPoolExecutor(1, max_pending=1)
    pool.submit(tasks.block, *gate.fds)
    gate.wait()

    async def main():
        nonlocal pool
        calls = [pool.run(tasks.add, i) for i in range(5)]
        del pool
        gate.open()
        return await asyncio.gather(*calls)

    assert run(main()) == list(range(5))


def test_in_trio(bounded, gate):
    """The same in trio."""
    trio = pytest.importorskip("trio", reason="no trio for this Python")
    results = []

    async def one(number):
        results.append(await bounded.run(tasks.add, number))

    async def main():
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
            with trio.move_on_after(0) as scope:
                await bounded.wrap(tasks.add)(99)
            assert scope.cancelled_caught
            gate.open()

    trio.run(main)
    assert sorted(results) == list(range(20))
