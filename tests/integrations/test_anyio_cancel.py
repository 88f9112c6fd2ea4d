"""`subpool.integrations.anyio`: cancelling, and what a cancelled call keeps."""

import asyncio
import os

import anyio
import pytest
from anyio_support import readable, started

import tasks
import tasks_integrations as jobs
from subpool import TaskInterrupted
from subpool.integrations import anyio as integration
from subpool.integrations.anyio import current_default_interpreter_limiter, run_sync


def test_cancelling_interrupts_the_call_and_frees_worker_and_token(run, gate):
    """anyio's cannot be cancelled: the scope waited for a call that never ends."""

    async def main():
        limiter = anyio.CapacityLimiter(1)
        first, _ = await run_sync(jobs.where_and, 0, limiter=limiter)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: run_sync(jobs.spin, gate.fds[0], limiter=limiter))
                await started(gate)
                scope.cancel()
        assert scope.cancelled_caught
        # It has ended by now, or else its token comes when it has.
        second, _ = await run_sync(jobs.where_and, 0, limiter=limiter)
        assert limiter.borrowed_tokens == 0
        return first, second

    first, second = run(main)
    assert first == second


def test_a_deadline_interrupts_the_call(run, gate):
    async def main():
        with anyio.move_on_after(0.05) as scope:
            await run_sync(jobs.spin, gate.fds[0])
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await run_sync(jobs.spin, gate.fds[0])
        return await run_sync(jobs.square, 4)

    assert run(main) == 16


def test_a_cancelled_call_may_clean_up(run, gate):
    async def main():
        reader, writer = os.pipe()
        async with anyio.create_task_group() as group:
            group.start_soon(run_sync, jobs.spin_and_clean_up, gate.fds[0], writer)
            await started(gate)
            group.cancel_scope.cancel()
        await anyio.wait_readable(reader)
        cleaned = os.read(reader, 1)
        os.close(reader)
        os.close(writer)
        return cleaned

    assert run(main) == b"c"


def test_a_call_that_waits_for_a_token_is_dropped(run, gate):
    """Cancelled before its turn, it must neither run nor keep a place."""

    async def main():
        limiter = anyio.CapacityLimiter(1)
        async with anyio.create_task_group() as outer:
            outer.start_soon(
                lambda: run_sync(jobs.block_and_tell_where, *gate.fds, limiter=limiter)
            )
            await started(gate)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await run_sync(tasks.put, "ran", True, limiter=limiter)
            assert scope.cancelled_caught
            assert limiter.borrowed_tokens == 1
            gate.open()
        assert await run_sync(tasks.get, "ran", limiter=limiter) is None

    run(main)


def test_a_stuck_call_keeps_its_token(run, gate):
    """In a blocking call it cannot be interrupted: its interpreter is in use until it ends."""

    async def main():
        limiter = anyio.CapacityLimiter(1)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: run_sync(jobs.deaf, *gate.fds, limiter=limiter))
            await started(gate)
            group.cancel_scope.cancel()
        # The cancellation went on without it.
        assert limiter.borrowed_tokens == 1
        assert "run_sync of <function deaf" in repr(limiter.statistics().borrowers)
        gate.open(2)
        return await run_sync(jobs.square, 5, limiter=limiter)

    assert run(main) == 25


def test_a_call_that_outlives_its_loop(run, gate):
    """Its end comes to a loop that is closed: nobody waits there, nothing is printed."""

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(run_sync, jobs.deaf, *gate.fds)
            await started(gate)
            group.cancel_scope.cancel()

    run(main)
    gate.open(2)


def test_not_cancellable_waits(run, gate):
    """A scope that is cancelled meanwhile must leave the call alone."""

    async def main():
        found = []

        async def call():
            found.append(await run_sync(tasks.block, *gate.fds, cancellable=False))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await started(gate)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()  # the cancellation is delivered, if it can be
            assert found == []
            gate.open()
        return found

    assert run(main) == ["released"]


def test_not_cancellable_under_asyncios_own_cancellation(fresh_pool, gate):
    """asyncio's goes through anyio's shields; it must abandon such a call, not interrupt it."""

    async def main():
        limiter = anyio.CapacityLimiter(1)
        reader, writer = os.pipe()

        def call():
            return run_sync(
                jobs.block_then_write, *gate.fds, writer, limiter=limiter, cancellable=False
            )

        task = asyncio.create_task(call())
        await started(gate)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert limiter.borrowed_tokens == 1
        gate.open()
        await readable(reader)
        assert await run_sync(jobs.square, 6, limiter=limiter) == 36
        os.close(reader)
        os.close(writer)

    asyncio.run(main())


def test_cancelled_before_it_starts(run):
    async def main():
        for cancellable in (True, False):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await run_sync(tasks.put, "ran", True, cancellable=cancellable)
            assert scope.cancelled_caught
        assert current_default_interpreter_limiter().borrowed_tokens == 0
        return await run_sync(tasks.get, "ran")

    assert run(main) is None


def test_exceptions_in_nested_task_groups(run, gate):
    """One call fails: its siblings in other interpreters are interrupted."""

    async def inner():
        async with anyio.create_task_group() as group:
            group.start_soon(run_sync, jobs.spin, gate.fds[0])
            await started(gate)
            group.start_soon(run_sync, jobs.fail_with, 8)

    async def main():
        limiter = current_default_interpreter_limiter()
        limiter.total_tokens = 3
        with pytest.RaisesGroup(pytest.RaisesGroup(jobs.WrongNumberError)):
            async with anyio.create_task_group() as outer:
                outer.start_soon(run_sync, jobs.square, 1)
                outer.start_soon(inner)
        limiter.total_tokens = 1  # so that all others must be back
        assert await run_sync(jobs.square, 2) == 4

    run(main)


def test_an_interrupt_from_elsewhere(run, gate):
    """What `interrupt_all` ends is no cancellation of the await."""

    async def main():
        async def interrupt():
            await started(gate)
            integration._the_pool.interrupt_all()

        async with anyio.create_task_group() as group:
            group.start_soon(interrupt)
            with pytest.raises(TaskInterrupted):
                await run_sync(jobs.spin, gate.fds[0])
        return await run_sync(jobs.square, 2)

    assert run(main) == 4
