"""Cancelling what awaits a call: the call goes too."""

import asyncio
import os

import pytest

import tasks
import tasks_interrupt
from subpool import TaskInterrupted, TaskTimeout, interpreter


async def started(fd):
    await asyncio.to_thread(os.read, fd, 1)


@pytest.fixture(params=["run", "submit", "wrap", "task", "to_thread", "run_in_executor"])
def start(request, executor):
    """Every way of awaiting a call."""

    def start(fn, *args):
        loop = asyncio.get_running_loop()
        match request.param:
            case "run":
                return executor.run(fn, *args)
            case "submit":
                return executor.submit(interpreter(fn), *args)
            case "wrap":
                return executor.wrap(fn)(*args)
            case "task":
                return asyncio.create_task(executor.run(fn, *args))
            case "to_thread":
                loop.set_default_executor(executor)
                return asyncio.to_thread(interpreter(fn), *args)
            case "run_in_executor":
                return loop.run_in_executor(executor, interpreter(fn), *args)

    return start


def test_a_running_task_is_interrupted(start, executor, run, pipe):
    """It ran on, and the worker was lost to it."""
    reader, writer = pipe

    async def main():
        both = [asyncio.ensure_future(start(tasks_interrupt.spin, writer)) for _ in range(2)]
        for _ in both:
            await started(reader)
        for one in both:
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
        # Both workers, of two.
        return await asyncio.gather(*(executor.run(tasks.add, i) for i in range(9)))

    assert run(main()) == list(range(9))


def test_a_queued_call_is_dropped(start, executor, run, gate):
    async def main():
        blockers = [executor.submit(interpreter(tasks.block), *gate.fds) for _ in range(2)]
        await asyncio.to_thread(gate.wait, 2)
        queued = asyncio.ensure_future(start(tasks.put, "ran", True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        await asyncio.sleep(0)
        gate.open(2)
        await asyncio.gather(*blockers)
        return await asyncio.gather(*(executor.run(tasks.get, "ran") for _ in range(9)))

    assert run(main()) == [None] * 9


def test_a_time_limit(start, executor, run, pipe):
    """`asyncio.timeout` cancels, and `TimeoutError` comes of it."""
    _, writer = pipe

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await start(tasks_interrupt.spin, writer)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(start(tasks_interrupt.spin, writer), 0.05)
        return await executor.run(tasks.add, 1)

    assert run(main()) == 1


def test_a_limit_of_the_tag(start, executor, run):
    """It was lost on the way from the awaited call to the worker."""

    async def main():
        with pytest.raises(TaskTimeout, match=r"spin took longer than its timeout of 0\.05 s"):
            await start(interpreter(tasks_interrupt.spin, timeout=0.05))
        return await executor.run(tasks.add, 1)

    assert run(main()) == 1


def test_the_await_waits_for_the_end(pool, run, pipe):
    """A task that cleans up is not left behind at its work."""
    reader, writer = pipe
    told, cleaned = os.pipe()

    async def main():
        call = asyncio.ensure_future(pool.run(tasks_interrupt.clean_up, writer, cleaned))
        await started(reader)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        os.set_blocking(told, False)
        return os.read(told, 1)

    assert run(main()) == b"c"
    os.close(told)
    os.close(cleaned)


def test_what_the_task_makes_of_it_does_not_matter(pool, run, pipe):
    """It returned a value in spite of the interrupt: the await is cancelled all the same."""
    reader, writer = pipe

    async def main():
        call = asyncio.ensure_future(pool.run(tasks_interrupt.return_all_the_same, writer))
        await started(reader)
        call.cancel("a message")
        with pytest.raises(asyncio.CancelledError, match="a message"):
            await call
        assert call.cancelled()

    run(main())


def test_what_cannot_be_interrupted_is_waited_for_no_longer_than_a_bound(pool, run, gate):
    """A call blocked in C held the await until it came back."""

    async def main():
        call = asyncio.ensure_future(pool.run(tasks.block, *gate.fds))
        await asyncio.to_thread(gate.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.open()  # only now
        return await pool.run(tasks.add, 2)

    assert run(main()) == 2


def test_cancelled_twice(pool, run, gate):
    """The second time without patience."""

    async def main():
        call = pool.run(tasks.block, *gate.fds)
        await asyncio.to_thread(gate.wait)
        assert call.cancel()
        assert not call.done()
        assert call.cancel()
        assert call.cancelled()
        assert not call.cancel()
        gate.open()
        return await pool.run(tasks.add, 2)

    assert run(main()) == 2


def test_shielded(pool, run, gate):
    """`shield` leaves the call alone."""

    async def main():
        call = pool.run(tasks.block, *gate.fds)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(call), 0.01)
        gate.open()
        return await call

    assert run(main()) == "released"


def test_one_of_two_that_await_a_future_is_cancelled(pool, run, pipe):
    """As with a task of asyncio: the future is cancelled for all."""
    reader, writer = pipe

    async def main():
        future = pool.submit(tasks_interrupt.spin, writer)

        async def one():
            await future

        both = [asyncio.create_task(one()) for _ in range(2)]
        await started(reader)
        both[0].cancel()
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, TaskInterrupted]

    run(main())


def test_the_first_failure_of_a_task_group_interrupts_the_rest(pool2, run, pipe):
    reader, writer = pipe

    async def fail_when_it_runs():
        await started(reader)
        raise LookupError

    async def main():
        with pytest.RaisesGroup(LookupError):
            async with asyncio.TaskGroup() as group:
                group.create_task(pool2.run(tasks_interrupt.spin, writer))
                group.create_task(fail_when_it_runs())
        return await asyncio.gather(*(pool2.run(tasks.add, i) for i in range(9)))

    assert run(main()) == list(range(9))


def test_a_task_cancelled_before_its_first_step(pool, run, pipe):
    """asyncio throws the error into the coroutine then; the call ran on."""
    reader, writer = pipe

    async def main():
        call = pool.run(tasks_interrupt.spin, writer)
        await started(reader)
        task = asyncio.create_task(call)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await pool.run(tasks.add, 2)

    assert run(main()) == 2


def test_interrupt_from_another_thread(pool, run, pipe):
    """The awaiter gets the error, since nobody cancelled it."""
    reader, writer = pipe

    async def main():
        future = pool.submit(tasks_interrupt.spin, writer)
        awaited = asyncio.ensure_future(future)
        await started(reader)
        assert await asyncio.to_thread(future.interrupt)
        with pytest.raises(TaskInterrupted):
            await awaited

    run(main())
