"""Time limits: `interpreter(fn, timeout=...)`, however the tag travels."""

import contextvars
import functools
import os
import pickle
import threading

import pytest

import tasks
import tasks_interrupt
from subpool import (
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    TaskTimeout,
    interpreter,
)
from tasks_interrupt import generous, limited

BRIEF = 0.05  # seconds, for what never ends
AMPLE = 0.6  # for what takes no time at all, on a machine that is busy


def test_a_task_that_takes_too_long(executor):
    """The limit was accepted and did nothing."""
    # So that the limit is not over while the worker imports the module.
    assert executor.submit(generous, 1, second=2).result() == 3
    future = executor.submit(interpreter(tasks_interrupt.spin, timeout=BRIEF))
    with pytest.raises(TaskTimeout) as caught:
        future.result()
    assert str(caught.value) == (
        "tasks_interrupt.spin took longer than its timeout of 0.05 s and was interrupted"
    )
    assert "in spin" in str(caught.value.__cause__)
    assert isinstance(caught.value, TimeoutError)
    assert executor.submit(interpreter(tasks.add), 1, 2).result() == 3


def test_one_in_time(executor):
    """The limit of an ended task hit the next one on its worker."""
    assert executor.submit(generous, 1, second=2).result() == 3
    futures = [executor.submit(interpreter(tasks.add, timeout=1000), i, i) for i in range(100)]
    assert [future.result() for future in futures] == [2 * i for i in range(100)]


@pytest.mark.slow
def test_the_time_in_the_queue_does_not_count(pool, gate):
    """A task that waited for longer than its limit was interrupted as it began."""
    pool.submit(tasks_interrupt.spin_if, False).result()  # the import takes time too
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    queued = pool.submit(interpreter(tasks_interrupt.spin_if, timeout=AMPLE), False)
    # A clock of the same kind: when it has run out, the other has waited longer.
    with InterpreterPoolExecutor(1) as clock, pytest.raises(TaskTimeout):
        clock.submit(interpreter(tasks_interrupt.spin, timeout=AMPLE)).result()
    gate.open()
    assert (held.result(), queued.result()) == ("released", False)


SHAPES = {
    "decorator": lambda: limited,
    "inline": lambda: interpreter(tasks_interrupt.spin, timeout=BRIEF),
    "partial": lambda: functools.partial(limited),
    "partial of partial": lambda: functools.partial(functools.partial(limited)),
    "Context.run": lambda: functools.partial(contextvars.copy_context().run, limited),
    "method": lambda: tasks_interrupt.Spinner().spin,
    "tag over a tag": lambda: interpreter(interpreter(tasks_interrupt.spin), timeout=BRIEF),
    "another limit": lambda: interpreter(
        interpreter(tasks_interrupt.spin, timeout=1000), timeout=BRIEF
    ),
    "a tag over a limit": lambda: interpreter(limited),
    "from a pickle": lambda: pickle.loads(
        pickle.dumps(interpreter(tasks_interrupt.spin, timeout=BRIEF))
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["executor", "pool"])
def test_the_limit_is_found_in(shape, kind, request):
    """A limit that was lost on the way let the task run for ever."""
    with pytest.raises(TaskTimeout):
        request.getfixturevalue(kind).submit(SHAPES[shape]()).result()


def test_a_direct_call(default_pool):
    """`tagged()` honours the limit of its tag."""
    with pytest.raises(TaskTimeout):
        limited()
    assert generous(1, 2) == 3
    assert default_pool().submit(generous, 2, 2).result() == 4


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda fn: fn, functools.partial], ids=["plain", "partial"])
def test_map(pool2, gate, wrap):
    """Each call of a map has the limit, and the others go on."""
    held = [pool2.submit(tasks_interrupt.read, *gate.fds) for _ in range(2)]
    gate.wait(2)  # so both have imported the module, which takes time too
    gate.open(2)
    assert [future.result() for future in held] == [b"r"] * 2
    limit = wrap(interpreter(tasks_interrupt.spin_if, timeout=AMPLE))
    results = pool2.map(limit, [False, False, True, False])
    assert (next(results), next(results)) == (False, False)
    with pytest.raises(TaskTimeout, match=r"spin_if took longer than its timeout of 0\.6 s"):
        next(results)
    assert list(pool2.map(limit, [False] * 100)) == [False] * 100
    with pytest.raises(TaskTimeout):
        list(pool2.map(limit, [True, False], chunksize=2))


@pytest.mark.slow
def test_a_task_that_returns_in_spite_of_it(pool):
    """What it makes of the interrupt counts, here too."""
    pool.submit(tasks_interrupt.worker_id).result()  # the import takes time too
    reader, writer = os.pipe()
    try:
        returns = interpreter(tasks_interrupt.return_all_the_same, timeout=AMPLE)
        assert pool.submit(returns, writer).result()[0] == "returned"
    finally:
        os.close(reader)
        os.close(writer)


def test_many_limits_at_once(pool2):
    """The warden slept past the second deadline, or served one task per wake-up."""
    spin = [interpreter(tasks_interrupt.spin, timeout=BRIEF * (1 + i % 3)) for i in range(12)]
    futures = [pool2.submit(fn) for fn in spin]
    assert all(isinstance(future.exception(), TaskTimeout) for future in futures)


def test_an_earlier_limit_after_a_later_one(pool2, gate):
    """The warden slept for the first it heard of."""
    late = pool2.submit(interpreter(tasks.block, timeout=1000), *gate.fds)
    gate.wait()
    with pytest.raises(TaskTimeout):
        pool2.submit(limited).result()
    gate.open()
    assert late.result() == "released"


def test_listeners_hear_of_it(executor):
    told = threading.Event()
    future = executor.submit(limited)
    future.add_done_callback(lambda _: told.set())
    told.wait()
    assert isinstance(future.exception(), TaskTimeout)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_limit_is_positive(seconds):
    """A limit of nothing is an error in the program, found where it stands."""
    with pytest.raises(ValueError, match="timeout must be greater than 0"):
        interpreter(tasks.add, timeout=seconds)
    with pytest.raises(ValueError, match="timeout must be greater than 0"):
        interpreter(timeout=seconds)


def test_a_limit_is_a_number():
    with pytest.raises(TypeError):
        interpreter(tasks.add, timeout="5")


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 10**12])
def test_a_limit_beyond_any_clock(executor, seconds):
    """Adding it to the clock was a panic."""
    assert executor.submit(interpreter(tasks.add, timeout=seconds), 1, 2).result() == 3


def test_a_tag_without_a_limit_keeps_that_of_its_function():
    assert interpreter(limited) is limited
    assert interpreter(generous, timeout=1) is not generous
    assert interpreter(generous, timeout=1).__wrapped__ is generous.__wrapped__
    assert repr(interpreter(len, timeout=2)) == "interpreter(<built-in function len>, timeout=2.0)"


@pytest.mark.parametrize("kind", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor])
def test_an_initializer_has_no_limit(kind):
    """Nothing interrupts it, so a limit would be a promise that is not kept."""
    with pytest.raises(TypeError, match="timeout"):
        kind(1, initializer=limited)
