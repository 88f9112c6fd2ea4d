"""Fork with living pools: their interpreters are closed before it, and come back after it.

CPython crashes in the child if an interpreter is alive (#139759): each test here ended with signal
11 without the hooks, if nothing else is said.
"""

import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

import tasks
import tasks_interrupt
from forking import forked
from subpool import (
    BrokenInterpreterPool,
    Future,
    InterpreterPoolExecutor,
    PoolError,
    TaskTimeout,
    _fork,
    default_pool,
    interpreter,
)
from support import eventually, interpreters, resizable

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    # True where a task goes on, and in those whose tests have threads of their own.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
FORKS = {"fork": os.fork, "forkpty": os.forkpty, "pty.fork": pty.fork}


def numbers(pool):
    """The interpreters' numbers: others after a restart."""
    return {pool.submit(tasks.interpreter_id).result() for _ in range(4)}


@pytest.mark.parametrize("fork", FORKS)
def test_an_idle_pool(pool2, fork):
    """The commonest case: a server that has made its pool, and forks."""
    pool2.warm_up()
    assert forked(lambda: pool2.submit(tasks.add, 1, 2).result(), FORKS[fork]) == 3
    assert pool2.stats().interpreters == 0
    assert pool2.submit(tasks.add, 3, 4).result() == 7


def test_no_thread_at_an_idle_fork(check):
    """Python warns of a fork with threads, rightly; those of an idle pool are no reason."""
    code = """
import os, tasks, threading
from subpool import InterpreterPoolExecutor, interpreter
ex = InterpreterPoolExecutor(2)
told = threading.Event()
ex.submit(interpreter(timeout=60)(tasks.nothing)).add_done_callback(lambda _: told.set())
told.wait()
child = os.fork()
if child:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ex.submit(tasks.add, 1, 2).result())
"""
    assert check(code) == "0 3\n"


def test_the_child_uses_all_of_it(executor):
    """Threads, interpreters, callbacks, the default pool: nothing of it hangs in the child."""
    executor.submit(tasks.nothing).result()
    executor.submit(interpreter(tasks.nothing)).result()
    default_pool()

    def body():
        told = threading.Event()
        executor.submit(interpreter(tasks.nothing)).add_done_callback(lambda _: told.set())
        return (
            executor.submit(tasks.add, 1, 2).result(),
            list(executor.map(interpreter(tasks.add), [1, 2], [3, 4])),
            told.wait(20),
            interpreter(tasks.add)(5, 6),
            executor.stats().submitted,
            executor.shutdown(),
        )

    assert forked(body) == (3, [4, 6], True, 11, 3, None)
    default_pool().shutdown()


def test_a_grandchild(pool):
    """The hooks work in each generation."""
    pool.warm_up()

    def body():
        pool.warm_up()
        return forked(lambda: pool.submit(tasks.add, 1, 2).result())

    assert forked(body) == 3


def test_multiprocessing(pool):
    """The fork start method, and processes made by a thread of its pool."""
    pool.warm_up()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=lambda: sys.exit(pool.submit(tasks.add, 1, 2).result()))
    process.start()
    process.join()
    assert process.exitcode == 3
    pool.warm_up()
    with context.Pool(2, maxtasksperchild=1) as processes:
        assert processes.map(tasks.identity, range(6), chunksize=1) == list(range(6))
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_a_preexec_fn(pool):
    """`subprocess` forks itself if it has to call something in the child."""
    pool.warm_up()
    words = [sys.executable, "-c", "pass"]
    # Called in the child. Nobody should do it, but some do.
    done = subprocess.run(words, preexec_fn=os.getpid, check=False)
    assert done.returncode == 0
    assert pool.stats().interpreters == 0
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_no_fork_no_rest(pool):
    """Plain `subprocess`, which programs use all the time, must not cost the interpreters."""
    before = numbers(pool)
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], os.environ), 0)
    assert numbers(pool) == before


def test_work_goes_on_by_itself(pool2, gate, open_in_fork):
    """What waited was run only when somebody submitted again; what ran was lost."""
    held = pool2.submit(tasks.block, *gate.fds)
    gate.wait()
    queued = [pool2.submit(tasks.add, number) for number in range(50)]
    mapped = pool2.map(tasks.add, range(200), chunksize=100)
    called = []
    queued[-1].add_done_callback(called.append)
    open_in_fork(pool2)

    def body():
        ended = [held, *queued]
        return (
            {future.done() for future in ended},
            called,
            pool2.stats(),
            pool2.submit(tasks.add, 1, 2).result(),
        )

    done, called_there, stats, result = forked(body)
    assert (done, called_there, result) == ({True}, [], 3)
    assert (stats.submitted, stats.interpreters) == (0, 0)
    assert [future.result() for future in queued] == list(range(50))
    assert list(mapped) == list(range(200))
    held.result()
    eventually(lambda: called == [queued[-1]], "the callback")


def test_the_parents_futures_in_the_child(pool, gate, open_in_fork):
    """Whoever asked for one in the child waited for ever."""
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    waiting = pool.submit(tasks.add, 1, 2)
    listened = pool.submit(tasks.add, 1, 2)
    called = []
    listened.add_done_callback(called.append)
    mapped = pool.map(tasks.add, range(3))
    open_in_fork(pool)

    def body():
        from concurrent.futures import CancelledError, as_completed, wait

        futures = [waiting, listened]
        with pytest.raises(CancelledError):
            next(mapped)
        later = []
        listened.add_done_callback(later.append)
        return (
            [future.cancelled() for future in futures],
            len(wait(futures).done),
            len(list(as_completed(futures))),
            held.done(),
            len(called),  # the parent calls it
            later == [listened],
        )

    assert forked(body) == ([True, True], 2, 2, True, 0, True)
    assert (waiting.result(), listened.result(), list(mapped)) == (3, 3, [0, 1, 2])


def test_a_task_that_does_not_end(pool2, gate, monkeypatch):
    """The fork waited for ever, or the child crashed."""
    pool2.warm_up()
    monkeypatch.setattr(_fork, "_PATIENCE", 1.0)
    held = pool2.submit(tasks.block, *gate.fds)
    gate.wait()
    waiting = pool2.submit(tasks.add, 1, 2)

    def body():
        with pytest.raises(PoolError, match=r"tasks\.block runs in the parent"):
            held.result()
        answer = pool2.submit(tasks.add, 3, 4).result()
        pool2.shutdown()
        return answer, waiting.done()

    prefix = pool2._thread_name_prefix
    with pytest.warns(RuntimeWarning, match=rf"interpreters of {prefix} .*: tasks\.block\. Fork"):
        assert forked(body) == (7, True)
    assert waiting.result() == 3  # by another worker, while it is held
    assert not held.done()
    gate.open()
    held.result()


def test_an_endless_initializer(closing, gate, monkeypatch):
    """It is no task, so nobody found it."""
    monkeypatch.setattr(_fork, "_PATIENCE", 0.05)
    pool = closing(
        InterpreterPoolExecutor(1, initializer=tasks.block_initializer, initargs=gate.fds)
    )
    future = pool.submit(tasks.add, 1, 2)
    gate.wait()
    with pytest.warns(RuntimeWarning, match="its initializer"):
        assert forked(future.cancelled)
    gate.open()
    assert future.result() == 3


def test_a_worker_that_starts(closing):
    """A fork comes in the middle of an interpreter's creation."""
    pool = closing(InterpreterPoolExecutor(2))
    for number in range(5):
        futures = [pool.submit(tasks.add, number) for _ in range(2)]
        assert forked(lambda: pool.submit(tasks.add, 1, 2).result()) == 3
        assert [future.result() for future in futures] == [number] * 2


def test_limits_hold_after_a_fork(pool):
    """The thread that sees to them ends for the fork, and nobody started it again."""
    limited = interpreter(timeout=0.05)(tasks_interrupt.spin)
    for _ in range(2):
        with pytest.raises(TaskTimeout):
            pool.submit(limited).result()
        with pytest.raises(TaskTimeout):
            forked(lambda: None) or pool.submit(limited).result()


def test_a_limit_holds_during_a_fork(pool, pipe):
    """An endless task with a limit kept the fork for the whole of its patience."""
    reader, writer = pipe
    future = pool.submit(interpreter(timeout=0.05)(tasks_interrupt.spin), writer)
    os.read(reader, 1)
    forked(lambda: None)
    assert isinstance(future.exception(), TaskTimeout)


def test_what_is_lent_comes_back(pool, gate, open_in_fork):
    """Nobody released the buffers of tasks that ended after a fork."""
    buffer = bytearray(100_000)
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    future = pool.submit(tasks.take, memoryview(buffer))
    open_in_fork(pool)
    forked(lambda: None)
    held.result()
    eventually(future.done, "the task's end")
    eventually(lambda: resizable(buffer), "the buffer's release")


def test_closed_and_broken_pools():
    """They stay what they are in the child, and `shutdown` does not wait for the parent's."""
    closed = InterpreterPoolExecutor(1)
    closed.submit(tasks.nothing).result()
    closed.shutdown()
    broken = InterpreterPoolExecutor(1, initializer=tasks.failing_initializer)
    with pytest.raises(BrokenInterpreterPool):
        broken.submit(tasks.nothing).result()

    def body():
        with pytest.raises(RuntimeError, match="after shutdown"):
            closed.submit(tasks.nothing)
        with pytest.raises(BrokenInterpreterPool):
            broken.submit(tasks.nothing)
        closed.shutdown()
        broken.shutdown()

    forked(body)
    broken.shutdown()


def test_a_shutdown_waits_for_the_rest(pool, gate, open_in_fork):
    """`shutdown` saw the workers leave for the fork, and came back before the work was done."""
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    queued = [pool.submit(tasks.add, number) for number in range(20)]
    shutdown = threading.Thread(target=pool.shutdown)
    shutdown.start()
    open_in_fork(pool)
    forked(lambda: None)
    shutdown.join()
    assert all(future.done() and not future.cancelled() for future in queued)
    held.result()


def test_a_dropped_pool_finishes(gate, open_in_fork):
    """Only its workers kept it alive, and they leave for the fork."""
    pool = InterpreterPoolExecutor(1)
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    future = pool.submit(tasks.add, 1, 2)
    open_in_fork(pool)
    del pool
    forked(lambda: None)
    assert future.result() == 3
    held.result()


def test_a_pool_made_and_dropped_meanwhile(pool, gate):
    """It had no worker yet, and nobody else kept it: its calls never ended."""
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    forking = threading.Thread(target=forked, args=(lambda: None,))
    forking.start()
    eventually(lambda: pool._pool.resting, "the fork")
    late = InterpreterPoolExecutor(1)
    future = late.submit(tasks.add, 1, 2)
    assert late._pool.threads() == [], "not in a fork"
    del late
    gate.open()
    forking.join()
    assert future.result(timeout=60) == 3
    held.result()


def test_from_a_callback(pool2, gate):
    """The thread that calls it ends for a fork, but not for one of its own."""
    given = []

    def fork(_):
        given.append(forked(lambda: pool2.submit(tasks.add, 1, 2).result()))

    held = pool2.submit(tasks.block, *gate.fds)
    held.add_done_callback(fork)
    future = pool2.submit(tasks.add, 3, 4)
    future.add_done_callback(given.append)
    gate.wait()
    gate.open()
    eventually(lambda: len(given) == 2, "both callbacks")
    assert {3, future} == set(given)


def test_a_child_that_comes_back_from_a_callback(pool, gate):
    """It went on as the completer of a process that has none, and never ended."""
    children = []
    held = pool.submit(tasks.block, *gate.fds)
    held.add_done_callback(lambda _: children.append(os.fork()))
    gate.wait()
    gate.open()
    eventually(lambda: children, "the fork")
    ends = []

    def has_ended():
        ends.append(os.waitpid(children[0], os.WNOHANG))
        return ends[-1] != (0, 0)

    try:
        eventually(has_ended, "the child's end")
    except AssertionError:
        os.kill(children[0], signal.SIGKILL)
        raise
    assert os.waitstatus_to_exitcode(ends[-1][1]) == 0


def test_from_a_plain_task(executor):
    """The thread is one of the executor's own."""
    executor.submit(interpreter(tasks.nothing)).result()
    plain = executor.submit(forked, lambda: executor.submit(interpreter(tasks.add), 1, 2).result())
    assert plain.result() == 3
    assert executor.submit(tasks.add, 3, 4).result() == 7


def test_plain_calls_that_wait_are_cancelled_there(executor):
    """The child waited for a thread that only the parent has."""
    event = threading.Event()
    held = [executor.submit(event.wait) for _ in range(2)]
    waiting = executor.submit(tasks.add, 1, 2)
    assert isinstance(waiting, Future) is False
    assert forked(lambda: (waiting.cancelled(), executor.submit(tasks.add, 3, 4).result())) == (
        True,
        7,
    )
    event.set()
    assert waiting.result() == 3
    assert all(future.result() for future in held)


def test_while_idle_workers_leave(closing, times):
    """Workers leave for both reasons at the same moment."""
    pool = closing(InterpreterPoolExecutor(2, idle_timeout=0.001))
    before = interpreters()
    for _ in times(5, long=100):
        futures = [pool.submit(tasks.add, 1, 2) for _ in range(4)]
        assert futures[0].result() == 3
        assert forked(lambda: pool.submit(tasks.add, 1, 2).result()) == 3
        assert [future.result() for future in futures] == [3] * 4
    pool.shutdown()
    assert interpreters() <= before
