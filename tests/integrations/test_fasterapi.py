"""`subpool.integrations.fasterapi`."""

import asyncio
import os
import threading

import pytest

import subpool
import tasks
import tasks_integrations as jobs
from subpool import NotTransferableError, TaskInterrupted
from subpool.integrations.fasterapi import SubInterpreterPool, run_in_subinterpreter
from support import interpreters

MAIN = tasks.interpreter_id()


@pytest.fixture
def closed_after(closing):
    """Have a pool shut down, and waited for, after the test."""

    def closed_after(pool):
        closing(pool._executor)
        return pool

    return closed_after


async def twelve(pool):
    calls = [pool.run(jobs.where_and, n) for n in range(12)]
    return await asyncio.gather(*calls)


def test_twelve_calls_at_once(closed_after):
    """FasterAPI 0.2.14, with the module it looks for: interpreters already running, 11 of 12."""
    pool = closed_after(SubInterpreterPool(max_workers=4))
    results = asyncio.run(twelve(pool))
    assert [value for _, value in results] == list(range(12))
    assert MAIN not in {number for number, _ in results}


def test_twelve_calls_that_all_run_at_the_same_time(closed_after, gate):
    """Its choice of interpreter, by the task's address, gave one interpreter to several."""
    pool = closed_after(SubInterpreterPool(max_workers=12))

    async def main():
        calls = [
            asyncio.ensure_future(pool.run(jobs.block_and_tell_where, *gate.fds)) for _ in range(12)
        ]
        await asyncio.to_thread(gate.wait, 12)
        gate.open(12)
        return await asyncio.gather(*calls)

    assert len(set(asyncio.run(main()))) == 12


def test_twelve_calls_on_each_of_two_loops(closed_after):
    """Its semaphore belongs to the loop that came first; a second loop gets a RuntimeError."""
    pool = closed_after(SubInterpreterPool(max_workers=2))
    found = [None, None]

    def loop(index):
        found[index] = [value for _, value in asyncio.run(twelve(pool))]

    threads = [threading.Thread(target=loop, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [list(range(12))] * 2
    assert [value for _, value in asyncio.run(twelve(pool))] == list(range(12))


def test_on_trio(closed_after):
    """Not FasterAPI's, but the executor's `run` is for both."""
    trio = pytest.importorskip("trio")
    pool = closed_after(SubInterpreterPool(1))
    assert trio.run(pool.run, jobs.square, 4) == 16


def test_the_backend_says_what_runs_the_calls(closed_after):
    """FasterAPI 0.2.14 falls back to processes without a word."""
    pool = closed_after(SubInterpreterPool(1))
    assert pool.backend == "subinterpreters"

    async def main():
        return await pool.run(os.getpid), (await pool.run(jobs.where_and, 0))[0]

    pid, number = asyncio.run(main())
    assert pid == os.getpid()
    assert number in interpreters() - {MAIN}


@pytest.mark.parametrize("most", [None, 0])
def test_the_default_is_the_cpus(closed_after, most):
    """FasterAPI's `max_workers or cpu_count()`."""
    assert closed_after(SubInterpreterPool(most))._executor._max_workers == os.process_cpu_count()


def test_keyword_arguments(closed_after):
    pool = closed_after(SubInterpreterPool(1))
    assert asyncio.run(pool.run(jobs.power, 2, exponent=5)) == 32
    assert asyncio.run(pool.run(dict, func=1, self=2)) == {"func": 1, "self": 2}


def test_exceptions_keep_their_type(closed_after):
    pool = closed_after(SubInterpreterPool(1))
    with pytest.raises(jobs.WrongNumberError, match="3"):
        asyncio.run(pool.run(jobs.fail_with, 3))
    with pytest.raises(NotTransferableError):
        asyncio.run(pool.run(jobs.square, threading.Lock()))


def test_shutdown_does_not_wait(closed_after, gate):
    """What was accepted still runs; what comes after is refused, as by FasterAPI's threads."""
    pool = closed_after(SubInterpreterPool(1))

    async def main():
        running = asyncio.ensure_future(pool.run(tasks.block, *gate.fds))
        await asyncio.to_thread(gate.wait)
        pool.shutdown()
        pool.shutdown()
        with pytest.raises(RuntimeError, match="shutdown"):
            await pool.run(jobs.square, 2)
        gate.open()
        return await running

    assert asyncio.run(main()) == "released"


def test_cancelling_interrupts(closed_after, gate):
    """Without that a worker of a request that timed out is lost."""
    pool = closed_after(SubInterpreterPool(1))

    async def main():
        call = asyncio.ensure_future(pool.run(jobs.spin, gate.fds[0]))
        await asyncio.to_thread(gate.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await pool.run(jobs.square, 3)

    assert asyncio.run(main()) == 9


def test_run_in_subinterpreter(default_pool):
    """In the process-wide pool, on two loops one after another."""

    async def main():
        calls = [run_in_subinterpreter(jobs.where_and, n) for n in range(12)]
        return await asyncio.gather(*calls, run_in_subinterpreter(jobs.power, 2, exponent=3))

    for _ in range(2):
        *results, eight = asyncio.run(main())
        assert [value for _, value in results] == list(range(12))
        assert MAIN not in {number for number, _ in results}
        assert eight == 8
    assert subpool.default_pool() is default_pool()


def test_run_in_subinterpreter_interrupted(default_pool, gate):
    """Somebody else's interrupt reaches the awaiter as what it is."""

    async def main():
        call = asyncio.ensure_future(run_in_subinterpreter(jobs.spin, gate.fds[0]))
        await asyncio.to_thread(gate.wait)
        assert default_pool().interrupt_all() == 1
        with pytest.raises(TaskInterrupted):
            await call

    asyncio.run(main())
