"""A task in a C call does not react to an interrupt: a warning, then a worker in its place."""

import os
import threading
import warnings

import pytest

import tasks
import tasks_interrupt
from subpool import InterpreterPoolExecutor, TaskInterrupted, TaskTimeout, _methods, interpreter
from support import eventually, interpreters, join_workers

pytestmark = pytest.mark.filterwarnings("ignore:.*has not reacted:RuntimeWarning")


@pytest.fixture
def impatient(monkeypatch):
    """A warning at once, and a replacement a little later."""
    monkeypatch.setattr(_methods, "_WARNING", 0.0)
    monkeypatch.setattr(_methods, "_GRACE", 0.02)


class Pipe:
    """What a task pushes into, and what lets it go."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def wait(self):
        """Until a task is in the system call."""
        os.read(self.reader, 1)

    def drain(self, calls=1):
        left = calls * tasks_interrupt.MUCH - 1
        while left:
            left -= len(os.read(self.reader, left))


@pytest.fixture
def pipe():
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


@pytest.fixture
def stuck(impatient, closing, pipe):
    """Give a pool of one worker, stuck in a system call, the task's future and the thread."""
    pool = closing(InterpreterPoolExecutor(1))
    future = pool.submit(tasks_interrupt.push, pipe.writer)
    pipe.wait()
    return pool, future, pool._pool.threads()


def let_go(pipe, threads, calls=1):
    pipe.drain(calls)
    join_workers(threads)


def test_another_worker_takes_over(stuck, pipe):
    """One blocking call for ever cost the pool one worker for ever."""
    pool, future, before = stuck
    assert future.interrupt()
    following = pool.submit(tasks_interrupt.worker_id)
    with pytest.raises(
        TaskInterrupted, match=r"push was interrupted, but still runs 0\.02 s later"
    ):
        future.result()
    assert following.result() == 0, "the place and its number are the old one's"
    assert len(pool._pool.threads()) == 1
    assert pool._pool.threads()[0].name == before[0].name
    assert before[0].is_alive(), "the stuck one is not gone yet"
    assert not future.interrupt()
    let_go(pipe, before)


def test_the_stuck_one_ends_with_its_call(stuck, pipe):
    """The retired interpreter was never closed, or went on to take tasks."""
    pool, future, threads = stuck
    before = interpreters()
    assert future.interrupt()
    assert isinstance(future.exception(), TaskInterrupted)
    assert pool.submit(tasks.add, 1, 2).result() == 3
    assert len(interpreters() - before) == 1
    let_go(pipe, threads)
    assert len(interpreters() - before) == 1
    assert len(before - interpreters()) == 1
    assert isinstance(future.exception(), TaskInterrupted), "the late outcome is dropped"


def test_shutdown_does_not_wait_for_it(stuck, pipe):
    """It would wait for a call that may never return."""
    pool, future, threads = stuck
    assert future.interrupt()
    pool.shutdown()
    assert threads[0].is_alive()
    assert isinstance(future.exception(), TaskInterrupted)
    let_go(pipe, threads)


def test_shutdown_without_an_interrupt_waits(stuck, pipe):
    """Nobody asked this task to end."""
    pool, future, threads = stuck
    waiting = threading.Thread(target=pool.shutdown)
    waiting.start()
    assert threads[0].is_alive()
    pipe.drain()
    waiting.join()
    assert not threads[0].is_alive()
    assert future.result() == tasks_interrupt.MUCH


def test_a_listener_and_a_sleeper_are_told(stuck, pipe):
    """The end comes from another thread than the worker's."""
    _, future, threads = stuck
    told, slept = threading.Event(), []
    future.add_done_callback(lambda _: told.set())
    sleeper = threading.Thread(target=lambda: slept.append(future.exception()))
    sleeper.start()
    assert future.interrupt()
    told.wait()
    sleeper.join()
    assert isinstance(slept[0], TaskInterrupted)
    let_go(pipe, threads)


def test_a_time_limit(impatient, closing, pipe):
    """The reason is told: the limit, not somebody's interrupt."""
    pool = closing(InterpreterPoolExecutor(1))
    pool.submit(tasks_interrupt.worker_id).result()  # the import takes time too
    future = pool.submit(interpreter(tasks_interrupt.push, timeout=0.5), pipe.writer)
    pipe.wait()
    threads = pool._pool.threads()
    with pytest.raises(
        TaskTimeout,
        match=r"push took longer than its timeout of 0\.5 s and was interrupted, but still runs",
    ):
        future.result()
    assert pool.submit(tasks.add, 1, 2).result() == 3
    let_go(pipe, threads)


@pytest.mark.slow
def test_a_call_that_keeps_the_gil(impatient, closing, pipe):
    """Nobody can even attach to its interpreter; what follows the call is interrupted all the same.

    The retired worker would otherwise be in that loop for ever.
    """
    pool = closing(InterpreterPoolExecutor(1))
    future = pool.submit(tasks_interrupt.in_c, pipe.writer, 50_000_000)
    pipe.wait()
    threads = pool._pool.threads()
    assert future.interrupt()
    with pytest.raises(TaskInterrupted, match="still runs"):
        future.result()
    assert pool.submit(tasks.add, 1, 2).result() == 3
    join_workers(threads)


def test_one_that_catches_it_again_and_again(impatient, closing, pipe):
    """It reacts, and does not end: the same."""
    pool = closing(InterpreterPoolExecutor(1))
    future = pool.submit(tasks_interrupt.push_again_and_again, pipe.writer, 3)
    pipe.wait()
    threads = pool._pool.threads()
    assert future.interrupt()
    assert isinstance(future.exception(), TaskInterrupted)
    assert pool.submit(tasks.add, 1, 2).result() == 3
    let_go(pipe, threads, 3)


@pytest.mark.parametrize("chunksize", [1, 3])
def test_the_rest_of_its_batch(impatient, closing, pipe, chunksize):
    """Calls that travelled with the stuck one, and were its worker's alone, were never run."""
    pool = closing(InterpreterPoolExecutor(1))
    calls = [pipe.writer, None, None]
    results = pool.map(tasks_interrupt.push_if, calls, chunksize=chunksize)
    kept = pool.submit(tasks.add, 1, 2)
    pipe.wait()
    threads = pool._pool.threads()
    assert pool.interrupt_all() == 1
    assert kept.result() == 3
    eventually(lambda: pool._pool.outstanding == 0, "the end of the rest")
    with pytest.raises(TaskInterrupted):
        next(results)
    let_go(pipe, threads)


def test_while_the_pool_shuts_down(stuck, pipe):
    """The one in its place has the rest to do, though nothing new is accepted."""
    pool, future, threads = stuck
    rest = pool.submit(tasks.add, 1, 2)
    pool.shutdown(wait=False)
    assert future.interrupt()
    pool.shutdown()
    assert rest.result() == 3
    let_go(pipe, threads)


def test_a_pool_of_two_keeps_its_width(impatient, closing, pipe, gate):
    """Two tasks that need each other ran one after the other from then on."""
    pool = closing(InterpreterPoolExecutor(2))
    future = pool.submit(tasks_interrupt.push, pipe.writer)
    pipe.wait()
    threads = pool._pool.threads()
    assert future.interrupt()
    assert isinstance(future.exception(), TaskInterrupted)
    futures = [pool.submit(tasks.block_and_tell, *gate.fds) for _ in range(2)]
    gate.wait(2)
    gate.open(2)
    assert {future.result()[0].id for future in futures} == {0, 1}
    assert [thread.name[-1] for thread in pool._pool.threads()] == ["0", "1"]
    let_go(pipe, threads)


def test_the_warning(monkeypatch, closing, pipe):
    """Without it nobody knows why a pool is slow, or what it is that holds it."""
    monkeypatch.setattr(_methods, "_WARNING", 0.01)
    monkeypatch.setattr(_methods, "_GRACE", 1000.0)
    warned, seen = threading.Event(), []

    def show(message, category, *_args):
        seen.append((category, str(message)))
        warned.set()

    pool = closing(InterpreterPoolExecutor(1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        future = pool.submit(tasks_interrupt.push, pipe.writer)
        pipe.wait()
        assert future.interrupt()
        warned.wait()
    ((category, message),) = seen
    assert category is RuntimeWarning
    assert message.startswith("tasks_interrupt.push was interrupted ")
    assert " s ago and has not reacted" in message
    assert future.running()
    pipe.drain()
    # It ends as any other that was interrupted, and nobody is replaced.
    assert isinstance(future.exception(), TaskInterrupted | None)
    assert pool.submit(tasks_interrupt.worker_id).result() == 0


@pytest.mark.slow
def test_none_for_one_that_reacts(monkeypatch, closing, pipe):
    """The grace of a task that had ended was counted on for the next one."""
    monkeypatch.setattr(_methods, "_GRACE", 0.6)
    pool = closing(InterpreterPoolExecutor(1))
    before = pool.submit(tasks.interpreter_id).result()
    first = pool.submit(tasks_interrupt.spin, pipe.writer)
    pipe.wait()
    assert first.interrupt()
    assert isinstance(first.exception(), TaskInterrupted)
    second = pool.submit(tasks_interrupt.spin, pipe.writer)
    # The first one's grace, and more, is over after this.
    with InterpreterPoolExecutor(1) as clock, pytest.raises(TaskTimeout):
        clock.submit(interpreter(tasks_interrupt.spin, timeout=1)).result()
    assert second.interrupt()
    assert isinstance(second.exception(), TaskInterrupted)
    assert pool.submit(tasks.interpreter_id).result() == before


def test_the_end_of_the_program_waits_for_it(script):
    """CPython crashes when it ends with an interpreter alive."""
    rc, out, err = script("""
import os, sys, threading, tasks_interrupt
from subpool import InterpreterPoolExecutor, _methods
_methods._WARNING, _methods._GRACE = 100.0, 0.02
reader, writer = os.pipe()
ex = InterpreterPoolExecutor(1)
future = ex.submit(tasks_interrupt.push, writer)
os.read(reader, 1)
future.interrupt()
print(type(future.exception()).__name__, flush=True)
ex.shutdown()
def drain():
    left = tasks_interrupt.MUCH - 1
    while left:
        left -= len(os.read(reader, left))
# The hook that waits was registered before this one, and so runs after it.
threading._register_atexit(drain)
""")
    assert (rc, out, err) == (0, "TaskInterrupted\n", "")
