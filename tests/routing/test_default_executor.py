"""An event loop's default executor at its ends: shut down, out of time, in debug mode, shared."""

import asyncio
import gc
import threading
from concurrent import futures

import pytest

import tasks
import tasks_interrupt
from subpool import (
    BrokenInterpreterPool,
    InterpreterThreadPoolExecutor,
    NotTransferableError,
    interpreter,
)

tagged_add = interpreter(tasks.add)


@pytest.fixture(autouse=True)
def no_complaints(caplog):
    """Fail a test in which asyncio logs something: what was never retrieved or awaited."""
    yield
    gc.collect()
    assert not caplog.records


async def in_background(gate, *args):
    """Start a tagged call that runs until the gate lets it go, and give its awaitable."""
    call = asyncio.create_task(asyncio.to_thread(interpreter(tasks.block), *gate.fds))
    await asyncio.to_thread(gate.wait)
    return call


def test_shutdown_waits_for_tagged_work(executor, gate):
    """Tagged work was cut off, or its awaiter forgotten, since no thread of the loop runs it."""

    async def main():
        executor.set_as_event_loop_default()
        loop = asyncio.get_running_loop()
        call = await in_background(gate)
        queued = [asyncio.create_task(asyncio.to_thread(tagged_add, i, 1)) for i in range(100)]
        await asyncio.sleep(0)  # each of them submits
        shutdown = asyncio.create_task(loop.shutdown_default_executor())
        await asyncio.sleep(0)  # it begins
        with pytest.raises(RuntimeError, match="shutdown has been called"):
            await asyncio.to_thread(tagged_add, 1, 2)
        assert not shutdown.done()
        gate.open()
        await shutdown
        assert await call == "released"
        return await asyncio.gather(*queued)

    assert asyncio.run(main()) == [i + 1 for i in range(100)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(tagged_add, 1, 2)


def test_shutdown_that_runs_out_of_time(executor, gate):
    """It waited for the task all the same; or the task's end went nowhere."""

    async def main():
        executor.set_as_event_loop_default()
        call = await in_background(gate)
        with pytest.warns(RuntimeWarning, match="did not finishing joining"):
            await asyncio.get_running_loop().shutdown_default_executor(timeout=0)
        assert not call.done()
        gate.open()
        return await call

    assert asyncio.run(main()) == "released"


def test_run_ends_with_tasks_under_way(executor, gate):
    """`asyncio.run` cancels what is left, then waits for the executor, which never got done."""
    spin, left = interpreter(tasks_interrupt.spin), []

    async def main():
        executor.set_as_event_loop_default()
        started, _ = gate.fds
        running = [asyncio.create_task(asyncio.to_thread(spin, started)) for _ in range(2)]
        await asyncio.to_thread(gate.wait, 2)
        queued = [asyncio.create_task(asyncio.to_thread(spin)) for _ in range(10)]
        await asyncio.sleep(0)  # each of them submits
        left.extend(running + queued)

    asyncio.run(main())
    assert [task.cancelled() for task in left] == [True] * 12


def test_run_ends_with_a_task_that_cannot_be_interrupted(closing, gate):
    """What is blocked in C is waited for when the executor is shut down, as a thread's call is."""
    left = []

    class Executor(InterpreterThreadPoolExecutor):
        def shutdown(self, *args, **kwargs):
            assert left[0].cancelled()
            gate.open()
            super().shutdown(*args, **kwargs)

    async def main():
        closing(Executor(1, max_interpreters=1)).set_as_event_loop_default()
        left.append(await in_background(gate))

    asyncio.run(main())
    assert left[0].cancelled()


def test_a_second_run_finds_it_shut(executor):
    """asyncio shuts a default executor down with its loop: refused, not hanging."""

    async def main():
        executor.set_as_event_loop_default()
        return await asyncio.to_thread(tagged_add, 1, 2)

    assert asyncio.run(main()) == 3
    with pytest.raises(RuntimeError, match="after shutdown"):
        asyncio.run(main())


def test_debug_mode(executor):
    """In debug mode a loop refuses what comes from another thread, and checks each callback."""

    async def main():
        executor.set_as_event_loop_default()
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60
        calls = [
            executor.run(tasks.add, 1, 2),
            executor.wrap(tasks.add)(1, 2),
            executor.submit(tagged_add, 1, 2),
            asyncio.wrap_future(executor.submit(tagged_add, 1, 2)),
            asyncio.to_thread(tagged_add, 1, 2),
            loop.run_in_executor(None, tagged_add, 1, 2),
            loop.run_in_executor(executor, tagged_add, 1, 2),
            asyncio.to_thread(tasks.add, 1, 2),
        ]
        assert [await call for call in calls] == [3] * len(calls)
        results = await asyncio.gather(
            executor.run(tasks.fail, LookupError("run")),
            asyncio.to_thread(interpreter(tasks.fail), LookupError("to_thread")),
            return_exceptions=True,
        )
        assert [str(result) for result in results] == ["run", "to_thread"]

    asyncio.run(main(), debug=True)


def test_two_loops_with_one_default_executor(executor, gate):
    """A wake-up went to the wrong loop; or a loop that waits held up the other's calls."""
    waiting = threading.Event()

    async def waits():
        call = await in_background(gate)
        waiting.set()
        return await call

    async def works():
        try:
            return [await asyncio.to_thread(tagged_add, i, 1) for i in range(50)]
        finally:
            gate.open()

    def run(main):
        loop = asyncio.new_event_loop()
        executor.set_as_event_loop_default(loop)
        return loop, loop.run_until_complete(main())

    with futures.ThreadPoolExecutor(1) as threads:
        other = threads.submit(run, waits)
        waiting.wait()
        loop, worked = run(works)
        other_loop, waited = other.result()
    assert worked == [i + 1 for i in range(50)]
    assert waited == "released"
    for each in (loop, other_loop):  # which shuts the executor down for both
        each.close()


def test_tagged_work_does_not_wait_for_threads(closing, gate):
    """A default executor full of blocking calls, `getaddrinfo` for one, held tagged work up."""
    executor = closing(InterpreterThreadPoolExecutor(1, max_interpreters=1))

    async def main():
        executor.set_as_event_loop_default()
        blocked = asyncio.create_task(asyncio.to_thread(tasks.block, *gate.fds))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(tagged_add, 1, 2) == 3
        gate.open()
        return await blocked

    assert asyncio.run(main()) == "released"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("task's own")])
def test_an_exit_in_a_task_is_an_exception_of_the_call(executor, error):
    """It ended the worker, or the loop; all later awaits hung."""

    async def main():
        executor.set_as_event_loop_default()
        with pytest.raises(type(error)) as raised:
            await asyncio.to_thread(interpreter(tasks.fail), error)
        assert raised.value.args == error.args
        with pytest.raises(type(error)):
            await executor.run(tasks.fail, error)
        return await executor.run(tasks.add, 1, 2)

    assert asyncio.run(main()) == 3


def test_what_cannot_be_sent(executor):
    """The error came out of `gather` itself, and its other calls were never awaited."""

    async def main():
        executor.set_as_event_loop_default()
        results = await asyncio.gather(
            asyncio.to_thread(interpreter(tasks.identity), threading.Lock()),
            executor.run(tasks.identity, threading.Lock()),
            executor.run(tasks.lock),
            executor.run(tasks.add, 1, 2),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [NotTransferableError] * 3 + [int]

    asyncio.run(main())


def test_a_broken_pool(closing):
    """A failed initializer left the awaiter waiting."""
    executor = closing(
        InterpreterThreadPoolExecutor(1, initializer=interpreter(tasks.failing_initializer))
    )

    async def main():
        executor.set_as_event_loop_default()
        for call in (executor.run(tasks.add, 1), asyncio.to_thread(tagged_add, 1)):
            with pytest.raises(BrokenInterpreterPool):
                await call
        return await asyncio.to_thread(tasks.add, 1, 2)

    assert asyncio.run(main()) == 3
