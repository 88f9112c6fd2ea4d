"""How an executor ends: with work left, without a word, from wherever."""

import gc
import threading
from concurrent import futures

import pytest

import tasks
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter
from support import interpreters, join_workers

KINDS = [InterpreterPoolExecutor, InterpreterThreadPoolExecutor]
BLOCK = interpreter(tasks.block)
ECHO = interpreter(tasks.identity)


@pytest.mark.parametrize("kind", KINDS)
def test_shutdown_finishes_what_is_queued(kind, gate):
    """`shutdown(wait=True)` returned, or the queue was dropped, before the work was done."""
    executor = kind(1)
    first = executor.submit(BLOCK, *gate.fds)
    rest = [executor.submit(ECHO, number) for number in range(10)]
    gate.open()
    executor.shutdown()
    assert all(future.done() for future in [first, *rest])
    assert [future.result() for future in rest] == list(range(10))


@pytest.mark.parametrize("kind", KINDS)
def test_shutdown_without_waiting(kind, gate):
    """It must return at once, and the work end all the same."""
    executor = kind(1)
    running = executor.submit(BLOCK, *gate.fds)
    pending = executor.submit(ECHO, 5)
    gate.wait()
    executor.shutdown(wait=False)
    assert not running.done()
    gate.open()
    assert (running.result(), pending.result()) == ("released", 5)
    executor.shutdown()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listened", [False, True])
def test_shutdown_cancels_what_is_pending(kind, listened, gate):
    """The running task goes on, the others end as cancelled, and who waits for them wakes."""
    executor = kind(1, max_interpreters=1) if kind is KINDS[1] else kind(1)
    running = executor.submit(BLOCK, *gate.fds)
    gate.wait()
    pending = [executor.submit(ECHO, number) for number in range(5)]
    seen = []
    if listened:
        for future in pending:
            future.add_done_callback(seen.append)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in pending)
    assert seen == pending * listened
    assert not running.done()
    gate.open()
    executor.shutdown()
    assert running.result() == "released"


@pytest.mark.parametrize("kind", KINDS)
def test_submit_after_shutdown(kind):
    """The standard error, for each kind of call."""
    executor = kind(1)
    executor.shutdown()
    for fn in (tasks.nothing, interpreter(tasks.nothing), tasks.tagged_here, lambda: None):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.submit(fn)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.warm_up()


@pytest.mark.parametrize("kind", KINDS)
def test_shutdown_twice_and_of_an_unused_executor(kind):
    """An executor that never started a worker has nothing to join."""
    executor = kind(2)
    executor.shutdown()
    executor.shutdown(wait=False)
    executor.shutdown(cancel_futures=True)


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_the_with_block_by_an_exception(kind):
    """The exception passes, the workers end."""
    with pytest.raises(LookupError), kind(1) as executor:
        executor.submit(ECHO, 1)
        raise LookupError


@pytest.mark.parametrize("kind", KINDS)
def test_a_dropped_executor_finishes_its_work(kind, gate):
    """Nobody can shut it down any more; its threads must end by themselves."""
    executor = kind(1)
    running = executor.submit(BLOCK, *gate.fds)
    pending = executor.submit(ECHO, 5)
    threads = executor._pool.threads()
    del executor
    gc.collect()
    gate.open()
    assert (running.result(), pending.result()) == ("released", 5)
    join_workers(threads)


def test_a_dropped_executor_ends_its_idle_workers():
    """Idle workers held their pool alive, and the pool its workers."""
    executor = InterpreterPoolExecutor(2)
    executor.warm_up()
    threads = executor._pool.threads()
    del executor
    gc.collect()
    join_workers(threads)


def test_the_interpreters_are_closed_by_shutdown():
    """An interpreter left open leaks megabytes, and crashes a later fork."""
    before = interpreters()
    executor = InterpreterPoolExecutor(2)
    executor.warm_up()
    assert len(interpreters() - before) == 2
    executor.shutdown()
    assert interpreters() <= before
    assert not any(thread.is_alive() for thread in executor._pool.threads())


def test_two_pools_at_once(gate):
    """Nothing but the process-wide parts is shared: each ends by itself."""
    with InterpreterPoolExecutor(1) as first:
        held = first.submit(tasks.block, *gate.fds)
        with InterpreterPoolExecutor(1) as second:
            assert second.submit(tasks.add, 1, 2).result() == 3
        with pytest.raises(RuntimeError):
            second.submit(tasks.nothing)
        gate.open()
        assert held.result() == "released"
        assert first.submit(tasks.add, 3, 4).result() == 7


def test_one_task_submits_to_another_pool_through_main():
    """A callback of one pool feeds another."""
    with InterpreterPoolExecutor(1) as first, InterpreterPoolExecutor(1) as second:
        got, done = [], threading.Event()

        def relay(future):
            second.submit(tasks.add, future.result(), 1).add_done_callback(finish)

        def finish(future):
            got.append(future.result())
            done.set()

        first.submit(tasks.add, 1, 1).add_done_callback(relay)
        done.wait()
        assert got == [3]


def test_submits_and_a_shutdown_race():
    """What was accepted ends; what was not raises; nothing stays pending."""
    for _ in range(10):
        executor = InterpreterPoolExecutor(1)
        accepted, ready = [], threading.Barrier(3)

        def submit():
            ready.wait()  # noqa: B023
            try:
                while True:
                    accepted.append(executor.submit(tasks.add, 1, 2))  # noqa: B023
            except RuntimeError:
                return

        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait()
        executor.shutdown(wait=False)
        for thread in threads:
            thread.join()
        executor.shutdown()
        assert all(future.done() and future.result() == 3 for future in accepted)


def test_shutdown_from_several_threads(gate):
    """Joining a thread twice is an error in most libraries."""
    executor = InterpreterPoolExecutor(2)
    executor.warm_up()
    held = executor.submit(tasks.block, *gate.fds)
    threads = [threading.Thread(target=executor.shutdown) for _ in range(4)]
    for thread in threads:
        thread.start()
    gate.open()
    for thread in threads:
        thread.join()
    assert held.done()


def test_the_standard_functions_know_the_executor(pool):
    """An isinstance check for Executor is common."""
    assert isinstance(pool, futures.Executor)
