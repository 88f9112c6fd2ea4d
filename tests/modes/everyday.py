"""A program that does a little of everything, run under each mode by test_modes.py.

Its argument says what it turns on by itself: what starts with the process is given to that.
Prints "done" at the end, with two pools open: the exit closes them.
"""

import asyncio
import cProfile
import operator
import sys
import threading
import tracemalloc
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager

from subpool import (
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    TaskInterrupted,
    TaskTimeout,
    interpreter,
)

SEEN = set()  # what a profiler or a tracer of this program was told of


@interpreter
def total(numbers):
    return sum(numbers)


@interpreter
def ready():
    """Import this module into each worker before anything there is interrupted.

    What is raised in the callback of a weak reference, as importing has them, CPython ignores.
    """


def endless():
    while True:
        pass


def fail(text):
    raise LookupError(text)


def started():
    """Start threads in each way there is, and have one wait as a daemon."""
    import _thread
    import threading

    results, ended = [], threading.Event()

    def run(value):
        results.append([value] * 3)

    def run_raw(value):
        run(value)
        ended.set()

    thread = threading.Thread(target=run, args=(1,))
    thread.start()
    thread.join()
    _thread.start_new_thread(run_raw, (2,))
    ended.wait()
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return results


def fill(view):
    for index in range(len(view)):
        view[index] = index % 256
    return bytes(view[:4]), view


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


def raised(kind, future):
    try:
        future.result()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def plain(pool):
    """Values, functions, exceptions, buffers, output."""
    assert pool.submit(operator.add, 1, 2).result() == 3
    assert list(pool.map(operator.mul, range(100), range(100))) == [n * n for n in range(100)]
    factor = 7
    assert pool.submit(lambda n: Point(n * factor), 6).result() == Point(42)
    assert "no such" in str(raised(LookupError, pool.submit(fail, "no such thing")))
    memory = bytearray(1 << 16)
    head, view = pool.submit(fill, memoryview(memory)).result()
    assert head == memory[:4] == bytes(range(4)) and view.obj is not memory
    pool.submit(print, "printed in a task").result()
    assert pool.submit(started).result() == [[1] * 3, [2] * 3]


def interrupted(pool):
    running = pool.submit(endless)
    while not running.running():
        pass
    assert running.interrupt()
    assert isinstance(raised(TaskInterrupted, running), TaskInterrupted)
    limited = interpreter(timeout=0.05)(endless)
    assert isinstance(raised(TaskTimeout, pool.submit(limited)), TaskTimeout)
    assert pool.submit(total.__wrapped__, [1, 2]).result() == 3


def routed(executor):
    """Threads and interpreters of one executor, callbacks, waiting."""
    called = threading.Event()
    futures = [executor.submit(total, range(n)) for n in range(20)]
    futures += [executor.submit(sum, range(n)) for n in range(20)]
    futures[-1].add_done_callback(lambda _: called.set())
    assert not wait(futures).not_done
    assert called.wait(20)
    assert [f.result() for f in futures[:20]] == [f.result() for f in futures[20:]]


async def awaited(executor):
    asyncio.get_running_loop().slow_callback_duration = 60  # said with -X dev
    assert await executor.run(total, [1, 2, 3]) == 6
    sums = await asyncio.gather(*(executor.submit(total, range(n)) for n in range(50)))
    assert sums == [sum(range(n)) for n in range(50)]
    executor.set_as_event_loop_default()
    assert await asyncio.to_thread(total, [4, 5]) == 9
    try:
        await asyncio.wait_for(executor.run(interpreter(endless)), 0.05)
    except TimeoutError:
        return
    raise AssertionError("no timeout")


def everything():
    pool = InterpreterPoolExecutor(2, initializer=ready)
    executor = InterpreterThreadPoolExecutor(2, max_interpreters=2, initializer=ready)
    plain(pool)
    interrupted(pool)
    routed(executor)
    asyncio.run(awaited(executor))
    with InterpreterPoolExecutor(1, initializer=operator.add, initargs=(1, 2)) as short_lived:
        assert short_lived.submit(total, [1]).result() == 1
    return pool, executor


@contextmanager
def tracing_from_now_on():
    """Tracemalloc comes and goes while workers live and allocate."""
    with InterpreterPoolExecutor(2, initializer=ready) as pool:
        busy = [pool.submit(endless) for _ in range(2)]
        for _ in range(50):
            tracemalloc.start(5)
            tracemalloc.stop()
        tracemalloc.start(5)
        for future in busy:
            while not future.running():
                pass
            future.interrupt()
        wait(busy)
    yield
    tracemalloc.take_snapshot().statistics("lineno")
    tracemalloc.stop()


@contextmanager
def profiled():
    with cProfile.Profile() as profile:
        yield
    profile.create_stats()
    SEEN.update(name for _, _, name in profile.stats)


@contextmanager
def hooked(setter):
    """A profile or trace function for all threads that there are, and those to come."""

    def note(frame, _event, _argument):
        SEEN.add(frame.f_code.co_name)
        return note

    setter(note)
    yield
    setter(None)


@contextmanager
def monitored():
    monitoring = sys.monitoring
    events = monitoring.events
    tool = monitoring.PROFILER_ID
    monitoring.use_tool_id(tool, "everyday")
    for event in (events.PY_START, events.PY_RETURN, events.LINE, events.CALL, events.RAISE):
        monitoring.register_callback(tool, event, lambda code, *_: SEEN.add(code.co_name))
    monitoring.set_events(
        tool, events.PY_START | events.PY_RETURN | events.LINE | events.CALL | events.RAISE
    )
    yield
    monitoring.set_events(tool, 0)
    monitoring.free_tool_id(tool)


BY_ITSELF = {
    "tracemalloc later": tracing_from_now_on,
    "cProfile": profiled,
    "setprofile": lambda: hooked(threading.setprofile_all_threads),
    "settrace": lambda: hooked(threading.settrace_all_threads),
    "sys.monitoring": monitored,
}

if __name__ == "__main__":
    with ExitStack() as stack:
        mode = sys.argv[1]
        if mode in BY_ITSELF:
            stack.enter_context(BY_ITSELF[mode]())
        pools = everything()
    if mode in BY_ITSELF and "tracemalloc" not in mode:
        assert "everything" in SEEN, SEEN
        assert "endless" not in SEEN, "a task was seen"
    pools[0].submit(operator.add, 1, 2)
    print("done")
