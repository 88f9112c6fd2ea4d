"""The executor behind an event loop."""

import asyncio
import contextvars

import pytest

import tasks
from subpool import interpreter

MAIN = tasks.interpreter_id()
variable = contextvars.ContextVar("variable", default="unset")


async def both_kinds():
    tagged = await asyncio.to_thread(interpreter(tasks.interpreter_id))
    plain = await asyncio.to_thread(tasks.interpreter_id)
    return tagged, plain


def test_set_default_executor(executor):
    """`set_default_executor` refuses what is not a ThreadPoolExecutor."""

    async def main():
        asyncio.get_running_loop().set_default_executor(executor)
        return await both_kinds()

    tagged, plain = asyncio.run(main())
    assert tagged != MAIN
    assert plain == MAIN


def test_to_thread_passes_arguments(executor):
    """`to_thread` wraps the call in `partial(context.run, ...)`, which cannot be pickled."""

    async def main():
        executor.set_as_event_loop_default()
        return await asyncio.to_thread(interpreter(tasks.echo), 1, name=2)

    assert asyncio.run(main()) == ((1,), {"name": 2})


def test_as_default_of_the_running_loop(executor):
    """Without an argument, inside a coroutine."""

    async def main():
        executor.set_as_event_loop_default()
        return await both_kinds()

    tagged, plain = asyncio.run(main())
    assert (tagged != MAIN, plain) == (True, MAIN)


def test_as_default_of_a_given_loop(executor):
    """A loop that does not run yet."""
    loop = asyncio.new_event_loop()
    try:
        executor.set_as_event_loop_default(loop)
        tagged, plain = loop.run_until_complete(both_kinds())
    finally:
        loop.close()
    assert (tagged != MAIN, plain) == (True, MAIN)


def test_as_default_of_a_runner(executor):
    """A runner makes its loop lazily."""
    with asyncio.Runner() as runner:
        executor.set_as_event_loop_default(runner)
        tagged, plain = runner.run(both_kinds())
    assert (tagged != MAIN, plain) == (True, MAIN)


def test_as_default_without_a_loop(executor):
    """Outside of a coroutine there is no loop to take."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        executor.set_as_event_loop_default()


def test_run_in_executor(executor):
    """An explicit executor gets the bare callable."""

    async def main():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, interpreter(tasks.add), 1, 2)

    assert asyncio.run(main()) == 3


def test_an_exception_reaches_the_coroutine(executor):
    """A future's exception was logged as never retrieved instead of raised."""

    async def main():
        executor.set_as_event_loop_default()
        with pytest.raises(LookupError, match="deep inside"):
            await asyncio.to_thread(interpreter(tasks.fail_in_steps))

    asyncio.run(main())


def test_stop_iteration_does_not_hang_the_loop(executor):
    """asyncio refuses StopIteration as a future's exception; the awaiter must still wake."""

    async def main():
        executor.set_as_event_loop_default()
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.to_thread(interpreter(tasks.fail), StopIteration(3))

    asyncio.run(main())


def test_many_at_once(executor):
    """The wake-ups of a burst got lost in the loop's self-pipe."""

    async def main():
        executor.set_as_event_loop_default()
        calls = (asyncio.to_thread(interpreter(tasks.add), i, i) for i in range(300))
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [2 * i for i in range(300)]


def test_awaiting_a_cancelled_call(pool, gate):
    """Cancelling the asyncio side of a pending call must cancel the call."""

    async def main():
        blocker = pool.submit(tasks.block, *gate.fds)
        gate.wait()
        pending = pool.submit(tasks.put, "ran", True)
        waiter = asyncio.wrap_future(pending)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        await asyncio.sleep(0)  # the loop's turn: it is a callback that cancels the source
        cancelled = pending.cancelled()
        gate.open()
        return await asyncio.wrap_future(blocker), cancelled

    assert asyncio.run(main()) == ("released", True)
    assert pool.submit(tasks.get, "ran").result() is None


def test_awaiting_a_call_that_is_cancelled_elsewhere(pool, gate):
    """The awaiter of a future that a thread cancels must wake."""

    async def main():
        blocker = pool.submit(tasks.block, *gate.fds)
        gate.wait()
        pending = pool.submit(tasks.nothing)
        waiter = asyncio.wrap_future(pending)
        assert await asyncio.to_thread(pending.cancel)
        with pytest.raises(asyncio.CancelledError):
            await waiter
        gate.open()
        return await asyncio.wrap_future(blocker)

    assert asyncio.run(main()) == "released"


def test_wrapping_a_future_that_has_ended(pool):
    """A future nobody listened to while it ran had no end to tell."""
    future = pool.submit(tasks.add, 1, 2)
    future.result()

    async def main():
        return await asyncio.wrap_future(future)

    assert asyncio.run(main()) == 3
