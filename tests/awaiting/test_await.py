"""`run`, `wrap` and `await future` in asyncio's loops, and in uvloop's."""

import asyncio
import collections.abc
import concurrent.futures
import contextvars
import inspect

import pytest

import tasks
from subpool import InterpreterPoolExecutor, NotTransferableError, interpreter

MAIN = tasks.interpreter_id()


def test_run(executor, run):
    """Tagged or not, it runs in an interpreter."""

    async def main():
        return [
            await executor.run(tasks.interpreter_id),
            await executor.run(interpreter(tasks.interpreter_id)),
            await executor.run(tasks.echo, 1, name=2),
        ]

    plain, tagged, echoed = run(main())
    assert MAIN not in {plain, tagged}
    assert echoed == ((1,), {"name": 2})


def test_await_a_future(pool, run):
    """Once, again, and when it is done already."""

    async def main():
        future = pool.submit(tasks.identity, [1])
        first = await future
        assert await future is first
        assert future.result() is first
        return first

    assert run(main()) == [1]


def test_wrap(executor, run):
    add = executor.wrap(tasks.add)
    assert inspect.iscoroutinefunction(add)
    assert (add.__name__, add.__wrapped__) == ("add", tasks.add)

    async def main():
        return await asyncio.gather(*(add(i, second=i) for i in range(50)))

    assert run(main()) == [2 * i for i in range(50)]


def test_wrap_takes_a_callable(executor):
    with pytest.raises(TypeError, match=r"wrap\(\) takes a callable, not int"):
        executor.wrap(3)


def test_more_ends_than_one_turn_tells(pool2, run):
    """The rest was left in the mailbox, with nobody to ring for it."""

    async def main():
        return await asyncio.gather(*(pool2.run(tasks.add, i, i) for i in range(1500)))

    assert run(main()) == [2 * i for i in range(1500)]


def test_the_rest_of_a_turn_is_told_although_the_loop_sleeps(pool, run, gate):
    """All ends come while the loop is busy, and nothing else wakes it afterwards."""

    async def main():
        calls = [pool.run(tasks.add, i) for i in range(2000)]
        last = pool.submit(tasks.block, *gate.fds)
        gate.wait()  # in the loop's thread, which tells nobody meanwhile
        assert await asyncio.gather(*calls) == list(range(2000))
        gate.open()
        return await last

    assert run(main()) == "released"


def test_an_exception_keeps_its_type(pool, run):
    async def main():
        with pytest.raises(LookupError, match="deep inside") as caught:
            await pool.run(tasks.fail_in_steps)
        assert caught.tb.tb_frame.f_code.co_name == "main"
        assert caught.traceback[-1].name == "inner_step_of_the_task"
        with pytest.raises(LookupError, match="deep inside"):
            await pool.submit(tasks.fail_in_steps)
        with pytest.raises(NotTransferableError):
            await pool.run(tasks.lock)

    run(main())


def test_stop_iteration(pool, run):
    """A generator that raises it ends, and so its awaiter would."""

    async def main():
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(tasks.fail, StopIteration(3))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.submit(tasks.fail, StopIteration(3))

    run(main())


def test_cancelled_error_of_the_other_kind(executor, run):
    """As an exception of a task: asyncio's chaining makes it its own."""

    async def main():
        executor.set_as_event_loop_default()
        call = asyncio.to_thread(interpreter(tasks.fail), concurrent.futures.CancelledError("x"))
        with pytest.raises(asyncio.CancelledError, match="x"):
            await call

    run(main())


def test_two_await_the_same(pool, run, gate):
    async def main():
        future = pool.submit(tasks.block, *gate.fds)

        async def one():
            return await future

        both = asyncio.gather(one(), one())
        await asyncio.sleep(0)
        gate.open()
        return await both

    assert run(main()) == ["released"] * 2


def test_callbacks_and_waiters_beside_an_await(pool, run, gate):
    """One way of waiting must not take the end away from another."""
    called = []

    async def main():
        future = pool.submit(tasks.block, *gate.fds)
        future.add_done_callback(called.append)
        waiter = asyncio.to_thread(concurrent.futures.wait, [future])
        chained = asyncio.wrap_future(future)
        awaited = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        gate.open()
        done, _ = await waiter
        assert await asyncio.gather(chained, awaited) == ["released"] * 2
        assert done == {future} == set(called)

    run(main())


def test_a_future_that_is_cancelled_elsewhere(pool, run, gate):
    """Its awaiter must wake, with the loop's own kind of CancelledError."""

    async def main():
        blocker = pool.submit(tasks.block, *gate.fds)
        future = pool.submit(tasks.nothing)
        awaited = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        assert await asyncio.to_thread(future.cancel)
        with pytest.raises(asyncio.CancelledError):
            await awaited
        with pytest.raises(asyncio.CancelledError):
            await future
        gate.open()
        await blocker

    run(main())


def test_a_future_made_by_hand(run):
    from subpool import Future

    async def main():
        future = Future()
        asyncio.get_running_loop().call_soon(future.set_result, 5)
        return await future

    assert run(main()) == 5


def test_without_a_running_loop(pool, gate):
    """`run` gives a coroutine then, for a loop that is yet to run."""
    assert asyncio.run(pool.run(tasks.add, 1, 2)) == 3
    future = pool.submit(tasks.block, *gate.fds)
    with pytest.raises(RuntimeError, match="needs a running event loop"):
        future.__await__().send(None)
    gate.open()
    assert future.result() == "released"


def test_from_another_thread(pool, run):
    async def main():
        loop = asyncio.get_running_loop()

        def elsewhere():
            return asyncio.run_coroutine_threadsafe(pool.run(tasks.add, 1, 2), loop).result()

        return await asyncio.to_thread(elsewhere)

    assert run(main()) == 3


def test_the_awaited_is_a_coroutine_too(pool, run):
    """`create_task`, TaskGroup and anyio's task groups take nothing else."""
    assert inspect.iscoroutinefunction(pool.run)

    async def main():
        call = pool.run(tasks.add, 1, 2)
        assert asyncio.iscoroutine(call)
        assert isinstance(call, collections.abc.Coroutine)
        task = asyncio.create_task(call)
        async with asyncio.TaskGroup() as group:
            grouped = [group.create_task(pool.run(tasks.add, i)) for i in range(5)]
        with pytest.raises(LookupError):
            await asyncio.create_task(pool.run(tasks.fail, LookupError()))
        return [await task, *(one.result() for one in grouped)]

    assert run(main()) == [3, 0, 1, 2, 3, 4]


def test_context_of_a_callback(pool, run):
    """As with any future of asyncio."""
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def main():
        variable.set("mine")
        call = pool.run(tasks.nothing)
        call.add_done_callback(lambda _: seen.append(variable.get()))
        variable.set("changed")
        await call
        await asyncio.sleep(0)

    run(main())
    assert seen == ["mine"]


def test_run_after_shutdown(run):
    pool = InterpreterPoolExecutor(1)
    pool.shutdown()

    async def main():
        with pytest.raises(RuntimeError, match="after shutdown"):
            await pool.run(tasks.nothing)

    run(main())


def test_gather_with_exceptions(pool2, run):
    async def main():
        calls = [
            pool2.run(tasks.fail, KeyError(i)) if i % 3 else pool2.run(tasks.add, i)
            for i in range(60)
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    for i, outcome in enumerate(run(main())):
        assert (outcome == i) if i % 3 == 0 else (outcome.args == (i,))
