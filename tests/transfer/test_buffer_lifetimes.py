"""Whatever ends first: no view is left over freed memory, and main gets its memory back."""

import gc
import sys

import pytest

import tasks
from subpool import BrokenInterpreterPool, InterpreterPoolExecutor
from support import eventually, resizable


def test_a_cancelled_call_gives_its_buffers_back(pool, gate):
    pool.submit(tasks.block, *gate.fds)
    gate.wait()
    memory = bytearray(10)
    future = pool.submit(len, memoryview(memory))
    assert not resizable(memory)
    assert future.cancel()
    eventually(lambda: resizable(memory), "the release by a cancelled call")
    gate.open()


def test_calls_cancelled_by_shutdown_give_their_buffers_back(closing, gate):
    executor = closing(InterpreterPoolExecutor(1))
    executor.submit(tasks.block, *gate.fds)
    gate.wait()
    memory = bytearray(10)
    for _ in range(10):
        executor.submit(len, memoryview(memory))
    executor.shutdown(wait=False, cancel_futures=True)
    eventually(lambda: resizable(memory), "the release by calls that shutdown cancelled")
    gate.open()


def test_a_broken_pool_gives_its_buffers_back(closing, caplog):
    executor = closing(InterpreterPoolExecutor(1, initializer=tasks.failing_initializer))
    memory = bytearray(10)
    try:
        futures = [executor.submit(len, memoryview(memory)) for _ in range(10)]
        for future in futures:
            with pytest.raises(BrokenInterpreterPool):
                future.result()
    except BrokenInterpreterPool:
        pass  # it broke before the last submit
    eventually(lambda: resizable(memory), "the release by a broken pool")


def test_initargs_are_shared_by_all_workers_and_given_back():
    memory = bytearray(2)
    executor = InterpreterPoolExecutor(
        2, initializer=tasks.put, initargs=("view", memoryview(memory))
    )
    with executor:
        executor.warm_up()
        memory[0] = 5
        found = {executor.submit(tasks.content_of_stashed, "view").result() for _ in range(20)}
        assert found == {b"\5\0"}
    assert not resizable(memory)  # the pool still has its initializer's call
    del executor
    gc.collect()
    eventually(lambda: resizable(memory), "the release by a pool that is gone")


def test_shutdown_ends_stashed_views(closing):
    executor = closing(InterpreterPoolExecutor(1))
    memory = bytearray(10)
    executor.submit(tasks.put, "view", memoryview(memory)).result()
    executor.submit(tasks.leave_in_a_cycle, memoryview(memory)).result()
    executor.shutdown()
    eventually(lambda: resizable(memory), "the release by the worker's end")


def test_a_forgotten_call_gives_its_buffers_back(pool):
    """Nobody asks for the result, and main does nothing with the pool ever after."""
    memory = bytearray(10)
    pool.submit(tasks.put, "unasked", len(memory)).result()
    pool.submit(len, memoryview(memory))
    eventually(lambda: resizable(memory), "the release by a forgotten call")


def test_a_forgotten_result_gives_its_buffers_back(pool):
    """The answer holds the memory, and is never decoded."""
    memory = bytearray(10)
    future = pool.submit(tasks.identity, memoryview(memory))
    pool.submit(tasks.nothing).result()
    assert not resizable(memory)
    del future
    gc.collect()
    eventually(lambda: resizable(memory), "the release by a forgotten result")


def test_a_view_dropped_by_another_thread_of_a_sleeping_worker(pool, gate):
    """Its worker promised to look, but sleeps."""
    memory = bytearray(10)
    pool.submit(tasks.put, "view", memoryview(memory)).result()
    ready, told = gate.fds
    pool.submit(tasks.drop_in_a_thread, "view", ready, told).result()
    gate.wait()
    assert not resizable(memory)
    gate.open()
    eventually(lambda: resizable(memory), "the release by a thread of a sleeping worker")


def test_a_busy_worker_does_not_hold_what_an_earlier_task_let_go(pool, gate):
    """It would be given back only when the worker sleeps."""
    memory = bytearray(10)
    pool.submit(tasks.block, *gate.fds)
    gate.wait()
    # All submitted before the first of them runs: a submit would come for what waits.
    pool.submit(len, memoryview(memory))
    pool.submit(tasks.nothing)
    pool.submit(tasks.block, *gate.fds)
    gate.open()
    gate.wait()
    eventually(lambda: resizable(memory), "the release while the worker runs a long task")
    gate.open()


def test_a_failed_task_gives_its_buffers_back(pool):
    memory = bytearray(10)
    with pytest.raises(LookupError):
        pool.submit(tasks.raise_with, memoryview(memory)).result()
    eventually(lambda: resizable(memory), "the release by a failed task")


def test_a_call_that_cannot_travel_gives_its_buffers_back(pool):
    import threading

    memory = bytearray(10)
    error = pool.submit(tasks.echo, memoryview(memory), threading.Lock()).exception()
    assert error.path == "args[1]"
    del error
    gc.collect()
    eventually(lambda: resizable(memory), "the release by a call that was never made")


def test_the_users_view_can_be_released_at_once(pool, gate):
    pool.submit(tasks.block, *gate.fds)
    gate.wait()
    memory = bytearray(b"kept")
    view = memoryview(memory)
    future = pool.submit(bytes, view)
    view.release()
    del view
    gate.open()
    assert future.result() == b"kept"


class Exporter:
    """An exporter written in Python: releasing it runs code."""

    def __init__(self, events):
        self.events = events
        self.memory = bytearray(b"python")

    def __buffer__(self, flags):
        return memoryview(self.memory)

    def __release_buffer__(self, view):
        import _interpreters

        self.events.append(int(_interpreters.get_current()[0]))
        view.release()


def test_an_exporter_of_python_is_released_in_main(pool):
    """A worker would run main's code in its own interpreter."""
    events = []
    exporter = Exporter(events)
    assert pool.submit(bytes, memoryview(exporter)).result() == b"python"
    eventually(lambda: events, "the release")
    assert set(events) == {0}
    assert resizable(exporter.memory)


def test_a_finalizer_that_submits(pool):
    """The release runs user code, which calls the pool again: a held lock would block it."""
    events = []

    class Submitting(bytearray):
        def __del__(self):
            events.append(pool.submit(tasks.add, 1, 2))

    pool.submit(len, memoryview(Submitting(b"short"))).result()
    eventually(lambda: events, "the finalizer")
    assert events[0].result() == 3


def test_nobody_can_release_what_is_lent(pool):
    """A view that the garbage collector shows would be released under a worker's feet."""
    memory = bytearray(b"lent")
    pool.submit(tasks.put, "view", memoryview(memory)).result()
    for found in gc.get_objects():
        if type(found) is memoryview and found.obj is memory:
            with pytest.raises(BufferError):
                found.release()
    assert pool.submit(tasks.content_of_stashed, "view").result() == b"lent"
    pool.submit(tasks.put, "view", None).result()


@pytest.mark.slow
def test_a_hundred_thousand_calls_leave_nothing(pool):
    """A view, an exporter or a reference to main's object would be left by each call."""
    memory = bytearray(64)
    view = memoryview(memory)

    def burst(count):
        for future in [pool.submit(tasks.take, view) for _ in range(count)]:
            future.result()
        gc.collect()
        return sys.getallocatedblocks()

    burst(2000)
    before = burst(5000)
    for _ in range(18):
        burst(5000)
    assert burst(5000) - before < 500
    view.release()
    assert resizable(memory)


EXITS = {
    "a stashed view": "pool.submit(tasks.put, 'view', memoryview(memory)).result()",
    "a stashed view in a cycle": "pool.submit(tasks.leave_in_a_cycle, memoryview(memory)).result()",
    "a call that nobody waits for": "pool.submit(tasks.put, 'view', memoryview(memory))",
    "many calls in the queue": (
        "for _ in range(1000): pool.submit(tasks.fill, memoryview(memory), 1)"
    ),
    "a result by reference": "kept = pool.submit(tasks.identity, memoryview(memory)).result()",
    "an undecoded result": "kept = pool.submit(tasks.identity, memoryview(memory))",
    "a result's own memory": "kept = pool.submit(tasks.own_view, b'12', 'B', [2]).result()",
    "a result in a cycle": (
        "kept = [pool.submit(tasks.identity, memoryview(memory)).result()]; kept.append(kept)"
    ),
    "a shutdown that waits for nothing": (
        "pool.submit(tasks.put, 'view', memoryview(memory)); pool.shutdown(wait=False)"
    ),
    "a dropped pool": "pool.submit(tasks.put, 'view', memoryview(memory)); del pool",
    "large values in the queue": (
        "for _ in range(20): pool.submit(tasks.put, 'x', [bytearray(100_000), b'x' * 100_000])"
    ),
}


@pytest.mark.parametrize("case", EXITS)
def test_the_program_ends_with(check, case):
    """It would crash, hang, or tell of an exception."""
    out = check(
        "import tasks\n"
        "from subpool import InterpreterPoolExecutor\n"
        "memory = bytearray(1000)\n"
        "pool = InterpreterPoolExecutor(2)\n"
        f"{EXITS[case]}\n"
        "print('end')\n"
    )
    assert out == "end\n"
