"""Loops that come and go: several at a time, and closed with calls under way."""

import asyncio
import gc
import os
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path

import pytest

import tasks
from subpool import interpreter
from subpool._loops import bell
from subpool._subpool import Bridge
from support import eventually

THREADS = 4


def test_loops_in_several_threads(pool2, new_loop):
    """Each gets its own calls' results, and no other's."""
    outcomes = {}

    def run(thread):
        async def main():
            rounds = [
                await asyncio.gather(*(pool2.run(tasks.add, thread, 10 * i) for i in range(300)))
                for _ in range(3)
            ]
            return [result for results in rounds for result in results]

        with asyncio.Runner(loop_factory=new_loop) as runner:
            outcomes[thread] = runner.run(main())

    threads = [threading.Thread(target=run, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {i: [i + 10 * j for j in range(300)] * 3 for i in range(THREADS)}


def test_one_loop_after_another(pool, new_loop):
    """A second loop at the address of the first must not be taken for that."""
    for i in range(50):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert runner.run(pool.run(tasks.add, i)) == i


def descriptors():
    """What is open: number and kind, with a number of its own for each socket and pipe."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own, or closed meanwhile
            found.add((descriptor.name, str(descriptor.readlink())))
    return found


def test_a_loop_leaves_no_descriptors(pool, new_loop):
    def once():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert runner.run(pool.run(tasks.add, 1)) == 1
        del runner
        gc.collect()

    once()
    before = descriptors()
    for _ in range(10):
        once()
    assert descriptors() - before == set(), "left open"


def await_run(executor, *call):
    return executor.run(*call)


def await_submit(executor, fn, *args):
    steps = executor.submit(interpreter(fn), *args).__await__()
    steps.send(None)
    return steps


def await_in_executor(executor, fn, *args):
    return asyncio.get_running_loop().run_in_executor(executor, interpreter(fn), *args)


@pytest.mark.parametrize("ended", ["before the close", "after the close"])
@pytest.mark.parametrize("begin", [await_run, await_submit, await_in_executor])
def test_a_loop_closed_with_calls_under_way(  # noqa: PLR0917 - fixtures
    executor, new_loop, gate, pipe, capfd, begin, ended
):
    """Nothing is lost, printed, or kept alive; the calls go on, and the next loop works."""
    reader, writer = pipe

    def one_loop():
        async def main():
            kept.append(begin(executor, tasks.block, *gate.fds))
            kept.append(begin(executor, tasks.write, writer, "ran"))
            gate.wait()

        kept = []
        loop = new_loop()
        loop.run_until_complete(main())
        if ended == "before the close":
            gate.open()
            end(executor)
        loop.close()
        return weakref.ref(loop)

    gone = one_loop()
    if ended == "after the close":
        gate.open()
        end(executor)

    def is_gone():
        gc.collect()
        return gone() is None

    eventually(is_gone, "the end of the loop")
    assert os.read(reader, 9) == b"ran", "the other call was lost"
    assert asyncio.run(executor.run(tasks.add, 1)) == 1
    assert capfd.readouterr() == ("", "")


def end(executor):
    """Wait until the calls before have ended: so many that each worker has taken some of them."""
    for future in [executor.submit(interpreter(tasks.add), i) for i in range(50)]:
        future.result()


class Target:
    """The least that a bridge asks of what waits."""

    def __init__(self):
        self.outcome = None

    def done(self):
        return self.outcome is not None

    def set_result(self, result):
        self.outcome = result


def test_a_closed_bridge_lets_go(pool, gate):
    """What is posted after the close is let go of by the completer."""
    bridge = Bridge(bell())
    future, target = pool.submit(tasks.block, *gate.fds), Target()
    gate.wait()
    assert bridge.expect(future, target)
    gone = weakref.ref(target)
    del target
    bridge.close()
    gc.collect()
    assert gone() is not None, "the task has it"
    gate.open()
    assert future.result() == "released"
    while gone() is not None:
        os.sched_yield()


def test_an_end_before_the_close_is_let_go_by_it(pool, gate):
    bridge = Bridge(bell())
    future, target = pool.submit(tasks.block, *gate.fds), Target()
    assert bridge.expect(future, target)
    gate.open()
    future.result()
    gone = weakref.ref(target)
    del target
    pool.submit(tasks.nothing).result()  # so the worker has posted
    assert gone() is not None
    bridge.close()
    assert gone() is None


def test_a_bridge_that_is_dropped_is_closed(pool):
    bridge, target = Bridge(bell()), Target()
    future = pool.submit(tasks.nothing)
    expected = bridge.expect(future, target)
    future.result()
    pool.submit(tasks.nothing).result()
    gone = weakref.ref(target)
    del target, bridge
    assert gone() is None
    assert expected in {True, False}


def test_an_outcome_that_cannot_be_told(pool, gate, monkeypatch):
    """It is reported, and the others are told."""

    class Refusing(Target):
        def set_result(self, result):
            raise LookupError(result)

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    bridge = Bridge(bell())
    refusing, target = Refusing(), Target()
    future = pool.submit(tasks.block, *gate.fds)
    assert bridge.expect(future, refusing)
    assert bridge.expect(future, target)
    gate.open()
    future.result()
    pool.submit(tasks.nothing).result()
    bridge.drain()
    assert target.outcome == "released"
    assert [type(one.exc_value) for one in seen] == [LookupError]
