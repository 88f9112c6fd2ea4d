"""Four event loops in four threads share one pool: each call ends once, and rightly.

What happens to a call is drawn from the seed and the call's number; when it happens is not.
"""

import asyncio
import collections
import contextlib
import gc
import os
import random
from collections.abc import Callable, Coroutine
from concurrent import futures
from dataclasses import dataclass

import pytest

import tasks
import tasks_async
from subpool import InterpreterThreadPoolExecutor, interpreter

LOOPS = 4
AT_A_TIME = 50  # of each loop


@dataclass(frozen=True)
class Plan:
    """What a call does, and what is done to it."""

    number: int
    way: Callable[..., Coroutine[object, object, int]]
    task: Callable[[int, int], int]
    bother: str
    turns: int  # of the loop before it is cancelled
    seconds: float  # before it times out

    @classmethod
    def drawn(cls, seed, number):
        source = random.Random(f"{seed}/{number}")  # noqa: S311
        way, bother = source.choice(WAYS), source.choice(["", "", "", "cancel", "time out"])
        task = source.choices(
            [
                tasks_async.mark,
                tasks_async.mark_and_fail,
                tasks_async.mark_and_spin,
                tasks_async.mark_and_tidy_up,
            ],
            # What never ends by itself only where somebody ends it.
            [8, 2, 0, 0] if way is on_a_thread or not bother else [80, 20, 3, 3],
        )
        turns = source.choice([0, 1, 2, 3, 10, 50])
        return cls(number, way, *task, bother, turns, source.choice([0, 0.0001, 0.001, 0.005]))

    @property
    def fails(self):
        return self.task is tasks_async.mark_and_fail

    @property
    def ends(self):
        return self.task in (tasks_async.mark, tasks_async.mark_and_fail)


# The ways to ask for a call.


async def by_run(client, fn, *args):
    return await client.executor.run(fn, *args)


async def by_run_tagged(client, fn, *args):
    return await client.executor.run(interpreter(fn), *args)


async def by_wrap(client, fn, *args):
    return await client.executor.wrap(fn)(*args)


async def by_submit(client, fn, *args):
    return await client.executor.submit(interpreter(fn), *args)


async def by_wrap_future(client, fn, *args):
    return await asyncio.wrap_future(client.executor.submit(interpreter(fn), *args))


async def by_to_thread(_client, fn, *args):
    return await asyncio.to_thread(interpreter(fn), *args)


async def by_run_in_executor(_client, fn, *args):
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, interpreter(fn), *args)


async def on_a_thread(_client, fn, *args):
    return await asyncio.to_thread(fn, *args)


WAYS = [by_run, by_run, by_run_tagged, by_wrap, by_submit]
WAYS += [by_wrap_future, by_to_thread, by_run_in_executor, on_a_thread]


class Client:
    """One loop's share."""

    def __init__(self, executor, fd, plans, offered):
        self.executor, self.fd, self.plans, self.offered = executor, fd, plans, offered
        self.ended = {}

    def run(self, debug):
        """Run the loop to the end of its work, and leave closing it to others."""
        loop = asyncio.new_event_loop()
        loop.set_debug(debug)
        loop.slow_callback_duration = 60
        loop.set_default_executor(self.executor)
        loop.run_until_complete(self.main())
        return loop

    async def main(self):
        room = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.TaskGroup() as group:
            for plan in self.plans:
                await room.acquire()
                group.create_task(self.one(plan)).add_done_callback(lambda _: room.release())
                if plan.number % 10 == 0:
                    group.create_task(self.share(plan))

    async def one(self, plan):
        call = plan.way(self, plan.task, self.fd, plan.number)
        try:
            match plan.bother:
                case "cancel":
                    asked = asyncio.ensure_future(call)
                    for _ in range(plan.turns):
                        await asyncio.sleep(0)
                    asked.cancel()
                    value = await asked
                case "time out":
                    async with asyncio.timeout(plan.seconds):
                        value = await call
                case _:
                    value = await call
        except asyncio.CancelledError:
            assert plan.bother == "cancel"
            end = "cancelled"
        except TimeoutError:
            assert plan.bother == "time out"
            end = "timed out"
        except tasks.CustomError as error:
            assert plan.fails
            assert error.code == plan.number
            end = "failed"
        else:
            assert plan.ends
            assert not plan.fails
            assert value == plan.number
            end = "answered"
        assert plan.number not in self.ended
        self.ended[plan.number] = end

    async def share(self, plan):
        """Await a future in this loop that another loop awaits as well."""
        self.offered.append(
            (self.executor.submit(interpreter(tasks.add), plan.number, 1), plan.number + 1)
        )
        with contextlib.suppress(IndexError):
            for _ in range(2):
                future, expected = self.offered[plan.number % len(self.offered)]
                assert await future == expected


@pytest.mark.slow
# In debug mode asyncio keeps a stack for each step, and refuses calls from other threads.
@pytest.mark.parametrize(("calls", "debug"), [(1500, False), (250, True)], ids=["plain", "debug"])
@pytest.mark.parametrize("seed", [1, 2])
def test_many_loops(seed, calls, debug, tmp_path, caplog):
    """Wake-ups lost, sent to another loop or told twice; answers mixed up; calls run twice."""
    print(f"seed {seed}")
    plans = [Plan.drawn(seed, number) for number in range(LOOPS * calls)]
    trace = tmp_path / "trace"
    fd = os.open(trace, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    offered = collections.deque(maxlen=20)
    with InterpreterThreadPoolExecutor(2, max_interpreters=2) as executor:
        clients = [Client(executor, fd, plans[i::LOOPS], offered) for i in range(LOOPS)]
        with futures.ThreadPoolExecutor(LOOPS) as threads:
            loops = list(threads.map(lambda client: client.run(debug), clients))
        assert executor.submit(interpreter(tasks.add), 1, 2).result() == 3, "the pool goes on"
        for loop in loops:  # each shuts its default executor down
            loop.close()
    os.close(fd)
    del loop, loops
    gc.collect()
    assert not caplog.records, "asyncio's complaints: what was never retrieved, never awaited"

    ends = {number: end for client in clients for number, end in client.ended.items()}
    assert len(ends) == LOOPS * calls
    data = trace.read_bytes()
    ran = collections.Counter(int.from_bytes(data[i : i + 4]) for i in range(0, len(data), 4))
    assert max(ran.values()) == 1, "a call ran twice"
    assert {n for n, end in ends.items() if end in ("answered", "failed")} <= ran.keys()
    assert ran.keys() <= ends.keys()
    assert any(plan.number in ran for plan in plans if not plan.ends), "none was interrupted"
    counted = collections.Counter(ends.values())
    print(dict(counted), f"{len(ran)} ran")
    assert counted.keys() == {"answered", "failed", "cancelled", "timed out"}
