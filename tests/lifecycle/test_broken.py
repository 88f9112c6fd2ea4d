"""A failed initializer breaks the pool: everybody is told, nothing stays pending."""

import gc
import logging
import threading
from concurrent.futures import wait
from concurrent.futures.thread import BrokenThreadPool

import pytest

import tasks
from subpool import (
    BrokenInterpreterPool,
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    PoolError,
    interpreter,
)
from support import causes, join_workers


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The standard pools log this; it has no place on the tests' stderr."""
    caplog.set_level(logging.CRITICAL, "concurrent.futures")
    return caplog


@pytest.fixture
def broken(closing):
    """A pool that will break, with three tasks."""
    pool = closing(InterpreterPoolExecutor(1, initializer=tasks.failing_initializer))
    return pool, [pool.submit(tasks.identity, number) for number in range(3)]


def test_each_waiting_future_gets_the_initializers_traceback(broken):
    """The standard class says only that a thread initializer failed."""
    _, futures = broken
    for future in futures:
        error = future.exception()
        assert type(error) is BrokenInterpreterPool
        (text,) = causes(error)
        assert "failing_initializer" in text
        assert "LookupError: no such thing for the initializer" in text


def test_each_future_has_an_error_of_its_own(broken):
    """One exception object raised in several threads mixes their tracebacks."""
    _, futures = broken
    assert len({id(future.exception()) for future in futures}) == 3


def test_it_is_the_standard_error_too(broken):
    """Programs catch the standard classes."""
    _, futures = broken
    error = futures[0].exception()
    assert isinstance(error, (PoolError, BrokenThreadPool))
    assert isinstance(error, PoolError)
    assert isinstance(error, BrokenThreadPool)
    assert isinstance(error, InterpreterPoolExecutor.BROKEN)


def test_a_later_submit_raises(broken):
    """Not a future that stays pending for ever."""
    pool, futures = broken
    futures[0].exception()
    with pytest.raises(BrokenInterpreterPool) as caught:
        pool.submit(tasks.nothing)
    assert "LookupError" in causes(caught.value)[0]
    with pytest.raises(BrokenInterpreterPool):
        pool.warm_up()
    assert pool._broken


def test_the_executor_was_dropped_right_after_submit():
    """The standard pool: the future stays pending for ever."""
    pool = InterpreterPoolExecutor(1, initializer=tasks.failing_initializer)
    future = pool.submit(tasks.nothing)
    threads = pool._pool.threads()
    del pool
    gc.collect()
    assert type(future.exception()) is BrokenInterpreterPool
    join_workers(threads)


def test_warm_up_raises():
    """Warming up is where a program wants to learn of it."""
    with InterpreterPoolExecutor(2, initializer=tasks.failing_initializer) as pool:
        with pytest.raises(BrokenInterpreterPool) as caught:
            pool.warm_up()
        assert "LookupError" in causes(caught.value)[0]


def test_listeners_are_told(broken, gate):
    """Callbacks and `wait` of futures that never ran."""
    _, futures = broken
    seen, done = [], threading.Event()
    for future in futures:
        future.add_done_callback(seen.append)
    futures[-1].add_done_callback(lambda _: done.set())
    assert wait(futures).done == set(futures)
    done.wait()
    assert seen == futures


def test_it_is_logged_once(broken, quiet):
    """At critical, as by the standard pools, with the traceback."""
    _, futures = broken
    futures[-1].exception()
    (record,) = [record for record in quiet.records if record.name == "concurrent.futures"]
    assert record.levelno == logging.CRITICAL
    assert "Exception in initializer" in record.getMessage()
    assert "LookupError" in record.getMessage()


def test_a_running_task_of_another_worker_ends_well(closing, gate):
    """One worker's failure must not take another worker's result away."""
    pool = closing(InterpreterPoolExecutor(2, initializer=tasks.fail_in_second_worker))
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    refused = pool.submit(tasks.block, *gate.fds)  # more work than workers: the second starts
    assert type(refused.exception()) is BrokenInterpreterPool
    gate.open()
    assert held.result() == "released"


def test_shutdown_of_a_broken_pool(broken):
    """In each form, any number of times."""
    pool, futures = broken
    futures[0].exception()
    pool.shutdown(wait=False, cancel_futures=True)
    pool.shutdown()
    with pytest.raises(BrokenInterpreterPool):
        pool.submit(tasks.nothing)


@pytest.mark.parametrize("initializer", [tasks.exit_initializer, tasks.interrupt_initializer])
def test_an_initializer_that_exits(closing, initializer):
    """SystemExit and KeyboardInterrupt are no Exception."""
    pool = closing(InterpreterPoolExecutor(1, initializer=initializer))
    assert type(pool.submit(tasks.nothing).exception()) is BrokenInterpreterPool


def test_an_initializer_that_no_worker_can_import(closing, monkeypatch):
    """The cause is the import's error."""
    import sys
    import types

    module = types.ModuleType("made_in_memory")
    exec("def fn(): return 1", module.__dict__)  # noqa: S102
    monkeypatch.setitem(sys.modules, "made_in_memory", module)
    pool = closing(InterpreterPoolExecutor(1, initializer=module.fn))
    error = pool.submit(tasks.nothing).exception()
    assert type(error) is BrokenInterpreterPool
    assert "No module named 'made_in_memory'" in causes(error)[0]


def test_plain_calls_of_the_routing_executor_go_on(closing):
    """Its threads have no part in the interpreters' failure."""
    executor = closing(
        InterpreterThreadPoolExecutor(initializer=interpreter(tasks.failing_initializer))
    )
    future = executor.submit(interpreter(tasks.nothing))
    assert type(future.exception()) is BrokenInterpreterPool
    assert executor.submit(tasks.add, 1, 2).result() == 3


def test_a_failed_initializer_of_the_threads(closing):
    """And the other way round: a plain initializer that fails breaks the threads alone."""
    executor = closing(InterpreterThreadPoolExecutor(initializer=tasks.failing_initializer))
    with pytest.raises(BrokenThreadPool):
        executor.submit(tasks.nothing).result()
    assert executor.submit(interpreter(tasks.add), 1, 2).result() == 3


def test_a_program_with_a_broken_pool_ends(script):
    """Its future was awaited by nobody; the log goes to stderr as of the standard pools."""
    rc, out, err = script(
        "import tasks\n"
        "from subpool import InterpreterPoolExecutor\n"
        "ex = InterpreterPoolExecutor(1, initializer=tasks.failing_initializer)\n"
        "ex.submit(tasks.nothing)\n"
        "del ex\n"
    )
    assert (rc, out) == (0, "")
    assert err.startswith("Exception in initializer")
    assert "subinterpreter" not in err


def test_a_slow_initializer_holds_the_tasks_back(closing, gate):
    """A task must not run in an interpreter whose initializer still runs."""
    pool = closing(InterpreterPoolExecutor(1, initializer=tasks.block_and_put, initargs=gate.fds))
    future = pool.submit(tasks.get, "initialized")
    gate.wait()
    assert not future.done()
    gate.open()
    assert future.result() is True
