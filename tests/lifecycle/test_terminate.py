"""`interrupt_all` and `terminate_workers`, and the end of a program that is in a hurry."""

import os
import threading

import pytest

import tasks
import tasks_interrupt
from subpool import (
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    TaskInterrupted,
    interpreter,
)

SPIN = interpreter(tasks_interrupt.spin)
KINDS = [InterpreterPoolExecutor, InterpreterThreadPoolExecutor]


def make(kind, interpreters):
    return kind(1, max_interpreters=interpreters) if kind is KINDS[1] else kind(interpreters)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupt_all(kind, closing, pipe):
    """All that run, and none that wait."""
    executor = closing(make(kind, 2))
    assert executor.interrupt_all() == 0
    reader, writer = pipe
    running = [executor.submit(SPIN, writer) for _ in range(2)]
    for _ in running:
        os.read(reader, 1)
    queued = [executor.submit(interpreter(tasks.add), number, 1) for number in range(5)]
    assert executor.interrupt_all() == 2
    assert [future.result() for future in queued] == [1, 2, 3, 4, 5]
    assert all(isinstance(future.exception(), TaskInterrupted) for future in running)
    executor.submit(interpreter(tasks.nothing)).result()
    assert executor.interrupt_all() == 0


def test_interrupt_all_in_a_map(closing, pipe):
    """Its calls have no futures, and are found all the same."""
    pool = closing(InterpreterPoolExecutor(1))
    reader, writer = pipe
    results = pool.map(tasks_interrupt.spin, [writer])
    os.read(reader, 1)
    assert pool.interrupt_all() == 1
    with pytest.raises(TaskInterrupted, match="spin was interrupted"):
        next(results)


def test_interrupt_all_is_of_one_pool(closing, pool, pipe):
    """Another pool's tasks are not its own."""
    other = closing(InterpreterPoolExecutor(1))
    reader, writer = pipe
    future = other.submit(tasks_interrupt.spin, writer)
    os.read(reader, 1)
    assert pool.interrupt_all() == 0
    assert future.running()
    assert future.interrupt()
    assert isinstance(future.exception(), TaskInterrupted)


@pytest.mark.parametrize("kind", KINDS)
def test_terminate_workers(kind, pipe):
    """Nothing is started any more, and what runs ends."""
    executor = make(kind, 2)
    reader, writer = pipe
    running = [executor.submit(SPIN, writer) for _ in range(2)]
    for _ in running:
        os.read(reader, 1)
    queued = [executor.submit(interpreter(tasks.nothing)) for _ in range(5)]
    executor.terminate_workers()
    assert all(future.cancelled() for future in queued)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(interpreter(tasks.nothing))
    executor.shutdown()
    assert all(isinstance(future.exception(), TaskInterrupted) for future in running)
    executor.terminate_workers()  # once more, for nothing


def test_terminate_workers_of_an_unused_executor():
    executor = InterpreterPoolExecutor(2)
    executor.terminate_workers()
    executor.shutdown()


def test_terminate_workers_against_workers_that_take_tasks():
    """A task that was taken from the queue and not begun yet was neither cancelled nor hit."""
    for _ in range(20):
        executor = InterpreterPoolExecutor(2)
        executor.warm_up()
        futures = [executor.submit(tasks.nothing) for _ in range(200)]
        endless = [executor.submit(tasks_interrupt.spin) for _ in range(20)]
        executor.terminate_workers()
        executor.shutdown()
        assert all(future.done() for future in futures)
        for future in endless:
            assert future.cancelled() or isinstance(future.exception(), TaskInterrupted)


def test_a_listener_of_a_terminated_task(pipe):
    """Who listens is told, whether the task was queued, taken or running."""
    executor = InterpreterPoolExecutor(1)
    reader, writer = pipe
    told = threading.Semaphore(0)
    futures = [executor.submit(tasks_interrupt.spin, writer) for _ in range(3)]
    for future in futures:
        future.add_done_callback(lambda _: told.release())
    os.read(reader, 1)
    executor.terminate_workers()
    for _ in futures:
        told.acquire()
    executor.shutdown()


def test_an_interrupted_task_at_the_end_of_the_program(check):
    """An interrupt on its way while the program ends, its helper alive."""
    check("""
import os, tasks_interrupt
from subpool import InterpreterPoolExecutor
started, writer = os.pipe()
ex = InterpreterPoolExecutor(2)
futures = [ex.submit(tasks_interrupt.spin, writer) for _ in range(2)]
os.read(started, 1), os.read(started, 1)
assert ex.interrupt_all() == 2
""")


def test_a_time_limit_at_the_end_of_the_program(check):
    """The warden ended before the pools, and the end waited for ever."""
    check("""
import tasks_interrupt
from subpool import InterpreterPoolExecutor
ex = InterpreterPoolExecutor(1)
ex.submit(tasks_interrupt.limited)
""")


def test_a_fork_after_interrupts(check):
    """The child waited for its parent's warden, or on its lock."""
    out = check("""
import os, sys, tasks_interrupt, warnings
from subpool import InterpreterPoolExecutor, TaskTimeout
warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads is the point
def use():
    with InterpreterPoolExecutor(1) as ex:
        assert isinstance(ex.submit(tasks_interrupt.limited).exception(), TaskTimeout)
        future = ex.submit(tasks_interrupt.spin)
        while not future.running(): pass
        assert future.interrupt()
        future.exception()
    return future
future = use()
if child := os.fork():
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
else:
    assert not future.interrupt()
    use()
    os.write(1, b"child")
""")
    assert out == "child"
