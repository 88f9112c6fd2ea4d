"""Fork in the middle of something: threads that tasks have left, a submit, an event loop.

Without the hooks of a fork each child here ended with signal 11 (#139759).
"""

import asyncio
import os

import pytest

import tasks
import tasks_threads
from forking import forked, forked_within
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, _fork, _methods
from subpool import interpreter as tagged
from support import eventually, join_workers

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


# Threads that tasks have left


def test_daemon_threads_of_tasks(pool, pipe, warned, capfd):
    """They end as they do when a pool is shut down, each in its turn, and keep no fork."""
    reader, writer = pipe
    for task in ("busy", "inherited", "queue_and_simple_queue", "event_loop", "connection_pool"):
        pool.submit(getattr(tasks_threads, task)).result()
    pool.submit(tasks_threads.order, writer).result()
    assert forked(lambda: pool.submit(tasks.add, 1, 2).result()) == 3
    assert os.read(reader, 99) == b"hook ordinary atexit daemon "
    assert "a hook that fails" in capfd.readouterr().err
    assert pool.submit(tasks.add, 3, 4).result() == 7
    assert [text for kind, text in warned if kind is RuntimeWarning] == []


def test_a_thread_in_a_system_call(closing, pipe, warned, monkeypatch):
    """It kept the fork for ever; nobody said what did, for no task runs."""
    monkeypatch.setattr(_methods, "_FAREWELL", 0.02)
    monkeypatch.setattr(_fork, "_PATIENCE", 0.1)
    reader, writer = pipe
    pool = closing(InterpreterPoolExecutor(1, "crunch"))
    pool.submit(tasks_threads.blocked, reader).result()
    threads = pool._pool.threads()

    def body():
        answer = pool.submit(tasks.add, 1, 2).result()
        pool.shutdown()
        return answer

    assert forked(body) == 3

    def texts():
        return sorted(text for kind, text in warned if kind is RuntimeWarning)

    eventually(lambda: len(texts()) == 2, "both warnings")
    of_fork, of_close = texts()
    assert "these run: threads that tasks of crunch_0 have left behind. " in of_fork
    assert of_close.startswith("tasks in crunch_0 have left threads that did not end ")
    assert ": in a system call. " in of_close
    assert pool.submit(tasks.add, 3, 4).result() == 7
    assert threads[0].is_alive()
    os.write(writer, b"w")
    join_workers(threads)


# A submit


class Forks:
    """Forks when it is pickled, and becomes a 5."""

    def __init__(self, fork):
        self.fork = fork

    def __reduce__(self):
        self.fork()
        return int, (5,)


SUBMITS = {
    "an argument": lambda pool, value: pool.submit(tasks.identity, value).result(),
    "in a list": lambda pool, value: pool.submit(tasks.identity, [[value]]).result()[0][0],
    "by value": lambda pool, value: pool.submit(lambda value: value, value).result(),
    "beside buffers": lambda pool, value: pool.submit(
        tasks.identity, [memoryview(bytearray(100_000)), bytearray(100_000), value]
    ).result()[2],
    "with a limit": lambda pool, value: pool.submit(
        tagged(tasks.identity, timeout=60), value
    ).result(),
    "map": lambda pool, value: next(iter(pool.map(tasks.identity, [value]))),
    "map in chunks": lambda pool, value: next(
        iter(pool.map(tasks.identity, [value, 6], chunksize=2))
    ),
}


@pytest.mark.parametrize("name", SUBMITS)
def test_within_a_submit(closing, name):
    """An argument's `__reduce__` forks: main has begun a call that no queue knows yet."""
    submit = SUBMITS[name]
    # A place of the queue that is lost would be missed.
    pool = closing(InterpreterPoolExecutor(1, max_pending=1))
    pool.warm_up()

    def use():
        return pool.submit(tasks.add, 1, 2).result()

    inner = []
    assert submit(pool, Forks(lambda: inner.append(forked(use)))) == 5
    assert (inner, use()) == ([3], 3)
    # The child goes on with the call.
    here, there = forked_within(
        lambda fork: submit(pool, Forks(fork)), lambda given: (given, use(), pool.shutdown())
    )
    assert (here, there, use()) == (5, (5, 3, None), 3)


# An event loop


def loop_in_the_child(pool):
    """Use the pool in every way that a loop has."""

    async def main():
        loop = asyncio.get_running_loop()
        return (
            await pool.run(tagged(tasks.add), 1, 2),
            await pool.submit(tagged(tasks.add), 3, 4),
            await loop.run_in_executor(pool, tagged(tasks.add), 5, 6),
        )

    return forked(lambda: asyncio.run(main()))


SEEN_THERE = (3, 7, 11)


def test_within_a_loop_that_awaits(pool, gate, open_in_fork):
    """What is awaited was lost, or the loop was never woken again."""

    async def main():
        held = asyncio.create_task(pool.run(tasks.block, *gate.fds))
        run = [asyncio.create_task(pool.run(tasks.add, number)) for number in range(20)]
        wrapped = [asyncio.wrap_future(pool.submit(tasks.add, number)) for number in range(20)]
        plain = [pool.submit(tasks.add, number) for number in range(20)]
        awaiting = asyncio.gather(*map(awaited, plain))
        await asyncio.sleep(0)  # they begin
        gate.wait()
        open_in_fork(pool)
        assert loop_in_the_child(pool) == SEEN_THERE
        for futures in (asyncio.gather(*run), asyncio.gather(*wrapped), awaiting):
            assert await futures == list(range(20))
        await held
        assert await pool.run(tasks.add, 3, 4) == 7

    asyncio.run(main())


async def awaited(future):
    return await future


def test_within_threads_of_a_loop(closing):
    """Threads of the pool's own fork at the same time, while a loop awaits its interpreters."""
    pool = closing(InterpreterThreadPoolExecutor(3, max_interpreters=1))

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool)
        futures = [asyncio.create_task(pool.run(tagged(tasks.add), n)) for n in range(20)]
        there = await asyncio.gather(
            loop.run_in_executor(pool, loop_in_the_child, pool),
            asyncio.to_thread(loop_in_the_child, pool),
        )
        assert there == [SEEN_THERE] * 2
        assert await asyncio.gather(*futures) == list(range(20))
        assert await asyncio.to_thread(tagged(tasks.add), 3, 4) == 7

    asyncio.run(main())
