"""The same names in trio."""

import os

import pytest

import tasks
import tasks_interrupt
from subpool import NotTransferableError, TaskInterrupted, interpreter

trio = pytest.importorskip("trio", reason="no trio for this Python")


def test_run(executor):
    async def main():
        return [
            await executor.run(tasks.add, 1, second=2),
            await executor.submit(interpreter(tasks.add), 3),
            await executor.wrap(tasks.add)(4),
        ]

    assert trio.run(main) == [3, 3, 4]


def test_many_at_once(pool2):
    """More than one turn of the loop tells."""
    results = set()

    async def one(i):
        results.add(await pool2.run(tasks.add, i))

    async def main():
        async with trio.open_nursery() as nursery:
            for i in range(1200):
                nursery.start_soon(one, i)

    trio.run(main)
    assert results == set(range(1200))


def test_one_run_after_another(pool):
    for i in range(5):
        assert trio.run(pool.run, tasks.add, i) == i


def test_exceptions(pool):
    async def main():
        with pytest.raises(LookupError, match="deep inside"):
            await pool.run(tasks.fail_in_steps)
        with pytest.raises(NotTransferableError):
            await pool.run(tasks.lock)
        future = pool.submit(tasks.fail, StopIteration(1))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await future

    trio.run(main)


def test_cancelling_interrupts(pool, pipe):
    reader, writer = pipe

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.run, tasks_interrupt.spin, writer)
            await trio.lowlevel.wait_readable(reader)
            nursery.cancel_scope.cancel()
        assert os.read(reader, 1)
        with trio.move_on_after(0.05) as scope:
            await pool.submit(tasks_interrupt.spin, writer)
        assert scope.cancelled_caught
        return await pool.run(tasks.add, 7)

    assert trio.run(main) == 7


def test_cancelling_what_is_queued(pool, gate):
    async def main():
        blocker = pool.submit(tasks.block, *gate.fds)
        with trio.move_on_after(0.01) as scope:
            await pool.run(tasks.put, "ran", True)
        assert scope.cancelled_caught
        gate.open()
        await blocker
        return await pool.run(tasks.get, "ran")

    assert trio.run(main) is None


def test_what_cannot_be_interrupted(pool, gate):
    """The cancellation goes on after a bound."""

    async def main():
        with trio.move_on_after(0.01) as scope:
            await pool.run(tasks.block, *gate.fds)
        assert scope.cancelled_caught
        gate.open()
        return await pool.run(tasks.add, 1)

    assert trio.run(main) == 1


def test_interrupted_by_another(pool, pipe):
    reader, writer = pipe

    async def main():
        future = pool.submit(tasks_interrupt.spin, writer)

        async def interrupt():
            await trio.lowlevel.wait_readable(reader)
            assert future.interrupt()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            with pytest.raises(TaskInterrupted):
                await future

    trio.run(main)


def test_a_run_that_ends_with_calls_under_way(pool, gate):
    """The system task of a run that is over must not keep the next one from its own."""

    async def first():
        with trio.CancelScope() as scope:
            scope.cancel()
            await pool.run(tasks.block, *gate.fds)

    trio.run(first)
    gate.open(1)
    assert trio.run(pool.run, tasks.add, 2) == 2
