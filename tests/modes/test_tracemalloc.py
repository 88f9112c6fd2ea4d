"""What tracemalloc sees in main while workers live, and how it comes and goes (untraced.rs)."""

import sys
import tracemalloc
from pathlib import Path

import pytest

import tasks

# From 3.15 on tracemalloc knows of interpreters, and workers are traced as well.
TRACES_WORKERS = sys.version_info >= (3, 15)


@pytest.fixture
def traced():
    """Trace from here to the test's end; not where the whole run is traced."""
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start(5)
    yield
    tracemalloc.stop()


def allocated(snapshot, path):
    """Bytes that lines of that file have allocated and not freed."""
    only = snapshot.filter_traces([tracemalloc.Filter(True, str(path))])
    return sum(trace.size for trace in only.traces)


def hoard(count):
    tasks.state["hoard"] = [bytearray(100) for _ in range(count)]


def test_main_sees_its_own(pool2, traced):
    """What main allocates is traced with workers there, also by the thread that made them."""
    before = allocated(tracemalloc.take_snapshot(), __file__)
    pool2.submit(tasks.add, 1).result()
    kept = [bytes(1000) for _ in range(1000)]
    pool2.submit(tasks.add, 1).result()
    after = allocated(tracemalloc.take_snapshot(), __file__)
    assert 1_000_000 <= after - before < 1_200_000
    del kept
    assert allocated(tracemalloc.take_snapshot(), __file__) - before < 50_000


def test_what_a_worker_keeps(pool, traced):
    pool.submit(hoard, 10_000).result()
    seen = allocated(tracemalloc.take_snapshot(), __file__) > 1_000_000
    assert seen == TRACES_WORKERS
    pool.submit(hoard, 0).result()
    assert allocated(tracemalloc.take_snapshot(), __file__) < 200_000


def test_threads_of_a_task_are_not_traced(pool, traced):
    """Their files' names would be freed with their interpreter, and once more by tracemalloc."""
    pool.submit(run_in_threads).result()
    name = str(Path(__file__))
    traces = tracemalloc.take_snapshot().traces
    lines = {
        frame.lineno for trace in traces for frame in trace.traceback if frame.filename == name
    }
    inside = range(run_in_threads.__code__.co_firstlineno, END_OF_TASKS)
    assert any(line in inside for line in lines) == TRACES_WORKERS


def run_in_threads():
    import _thread
    import threading

    kept = tasks.state["kept"] = []

    def hoard():
        kept.extend(bytearray(10) for _ in range(1000))

    ended = threading.Event()

    def hoard_and_tell():
        hoard()
        ended.set()

    for daemon in (True, False):
        thread = threading.Thread(target=hoard, daemon=daemon)
        thread.start()
        thread.join()
    _thread.start_new_thread(hoard_and_tell, ())
    ended.wait()
    _thread.start_joinable_thread(function=hoard)  # by its name, which is rare


END_OF_TASKS = sys._getframe().f_lineno


def test_threads_of_tasks_start_as_ever(pool):
    """The function that starts them is ours there; it says the same of wrong arguments."""
    assert pool.submit(start_wrongly).result() == start_wrongly()
    assert pool.submit(give_arguments).result() == [(1, 2, {"third": 3})] * 2


def start_wrongly():
    import _thread

    said = []
    for arguments, named in (
        ((), {}),
        ((1,), {}),
        ((), {"function": 1}),
        ((print, True, None, 1), {}),
        ((print,), {"handle": 1}),
    ):
        try:
            _thread.start_joinable_thread(*arguments, **named)
        except TypeError as error:
            said.append(str(error))
        else:
            said.append("no error")
    return said


def give_arguments():
    import _thread
    import queue

    given = queue.SimpleQueue()

    def take(*args, **kwargs):
        given.put((*args, kwargs))

    _thread.start_new_thread(take, (1, 2), {"third": 3})
    first = given.get()
    handle = _thread.start_joinable_thread(lambda: take(1, 2, third=3), daemon=False)
    handle.join()
    return [first, given.get()]


def churn(rounds):
    for _ in range(rounds):
        made = [{"key": str(index)} for index in range(1000)]
    return len(made)


def test_tracing_comes_and_goes_while_workers_allocate(check, times):
    """A crash once in some 30,000 times: an allocator's function came to another's context.

    So CI would notice it in one run of seven; ``--long`` does.
    """
    rounds = len(times(5_000, long=300_000))
    assert (
        check(COMING_AND_GOING.format(here=str(Path(__file__).parent), rounds=rounds)) == "done\n"
    )


COMING_AND_GOING = """
import sys, tracemalloc
sys.path.append({here!r})
from test_tracemalloc import churn
from subpool import InterpreterPoolExecutor

with InterpreterPoolExecutor(2, initializer=churn, initargs=(1,)) as pool:
    busy = [pool.submit(churn, 10**9) for _ in range(2)]
    for future in busy:
        while not future.running():
            pass
    for _ in range({rounds}):
        tracemalloc.start(2)
        tracemalloc.stop()
    for future in busy:
        future.interrupt()
print("done")
"""


def test_tracing_all_the_time_while_pools_come_and_go(check, times):
    """Strings of interpreters that were closed stayed in its tables: a crash at exit."""
    pools = len(times(2, long=200))
    assert check(POOLS.format(here=str(Path(__file__).parent), pools=pools)) == "done\n"


POOLS = """
import sys, tracemalloc
tracemalloc.start(3)
sys.path.append({here!r})
from test_tracemalloc import churn, run_in_threads
from subpool import InterpreterPoolExecutor

for number in range({pools}):
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(churn, 3).result()
        pool.submit(run_in_threads).result()
        endless = pool.submit(churn, 10**9)
        while not endless.running():
            pass
        endless.interrupt()
    tracemalloc.take_snapshot()
    if number % 3 == 0:
        tracemalloc.stop()
        tracemalloc.start(3)
print("done")
"""
