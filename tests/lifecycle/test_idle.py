"""`idle_timeout`: interpreters without work are closed by time, and come again with work."""

import math

import pytest

import tasks
import tasks_interrupt
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter
from support import eventually, interpreters, os_threads

BRIEF = 0.03


@pytest.fixture
def idle(closing):
    """Give an executor whose two interpreters soon have nothing to do, and none any more."""
    before = interpreters()
    pool = closing(InterpreterPoolExecutor(2, idle_timeout=BRIEF))
    pool.warm_up()
    eventually(lambda: interpreters() <= before, "the end of the idle interpreters")
    return pool


def test_idle_interpreters_are_closed(idle):
    """The pool never shrank before its shutdown: megabytes for nothing."""
    assert idle._pool.threads() == []
    idle.shutdown()


def test_work_starts_them_again(idle, gate):
    """A pool that had shrunk took the next task and had nobody to run it."""
    assert idle.submit(tasks.add, 1, 2).result() == 3
    futures = [idle.submit(tasks.block_and_tell, *gate.fds) for _ in range(2)]
    gate.wait(2)
    gate.open(2)
    assert {future.result()[0].id for future in futures} == {0, 1}


def test_a_busy_one_stays(closing, gate):
    """The clock of an interpreter that got work ran on."""
    pool = closing(InterpreterPoolExecutor(2, idle_timeout=BRIEF))
    held = pool.submit(tasks.block_and_tell, *gate.fds)
    gate.wait()
    pool.warm_up()
    eventually(lambda: len(pool._pool.threads()) == 1, "the end of the idle one")
    assert not held.done()
    gate.open()
    info, _ = held.result()
    assert info.id in (0, 1)


def test_the_number_that_is_free_is_taken(closing, gate):
    """Numbers went up with each new interpreter, past the most."""
    pool = closing(InterpreterPoolExecutor(2, "number", idle_timeout=BRIEF))
    for _ in range(3):
        held = [pool.submit(tasks.block_and_tell, *gate.fds) for _ in range(2)]
        gate.wait(2)
        assert [thread.name for thread in pool._pool.threads()] == ["number_0", "number_1"]
        gate.open(2)
        assert {future.result()[0].id for future in held} == {0, 1}
        eventually(lambda: not pool._pool.threads(), "the end of both")


def test_shutdown_waits_for_those_that_leave(closing):
    """One that leaves has no seat any more, and its interpreter was forgotten."""
    before = interpreters()
    for _ in range(30):
        pool = InterpreterPoolExecutor(1, idle_timeout=1e-6)
        pool.submit(tasks.nothing).result()
        pool.shutdown()
        assert interpreters() <= before


@pytest.mark.slow
def test_submits_against_leaving_workers(closing):
    """A task that came as the last worker left waited for ever."""
    pool = closing(InterpreterPoolExecutor(2, idle_timeout=1e-6))
    for number in range(150):
        assert pool.submit(tasks.identity, number).result() == number
    assert list(pool.map(tasks.identity, range(500))) == list(range(500))


def test_an_interrupted_one_that_then_idles(closing):
    """Its helper lives in the interpreter that is closed."""
    before = interpreters()
    pool = closing(InterpreterPoolExecutor(1, idle_timeout=BRIEF))
    future = pool.submit(tasks_interrupt.spin)
    eventually(future.running, "its start")
    assert future.interrupt()
    assert future.exception() is not None
    eventually(lambda: interpreters() <= before, "its end")
    eventually(lambda: "subpool-helper" not in os_threads().values(), "the helper's end")


def test_of_the_executor_that_routes(closing):
    before = interpreters()
    executor = closing(InterpreterThreadPoolExecutor(1, idle_timeout=BRIEF))
    assert executor.submit(interpreter(tasks.add), 1, 2).result() == 3
    eventually(lambda: interpreters() <= before, "the end of the idle interpreter")
    assert executor.submit(interpreter(tasks.add), 1, 2).result() == 3


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
@pytest.mark.parametrize("kind", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor])
def test_it_is_positive(kind, seconds):
    with pytest.raises(ValueError, match="idle_timeout must be greater than 0"):
        kind(1, idle_timeout=seconds)


@pytest.mark.parametrize("seconds", [math.inf, 1e300])
def test_for_ever(closing, seconds):
    """Adding it to the clock was a panic."""
    pool = closing(InterpreterPoolExecutor(1, idle_timeout=seconds))
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_a_program_that_ends_while_workers_leave(check):
    """The end of the program waits for an interpreter that has no seat any more."""
    check("""
import tasks
from subpool import InterpreterPoolExecutor
pools = [InterpreterPoolExecutor(1, idle_timeout=1e-6) for _ in range(5)]
for pool in pools:
    pool.submit(tasks.nothing).result()
""")
