"""A queue with a bound: who finds it full waits, in order, and never for nothing."""

import contextlib
import os
import signal
import threading
from concurrent import futures

import pytest

import subpool
import tasks
import tasks_load
from subpool import (
    BrokenInterpreterPool,
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    interpreter,
)
from support import eventually


class InThread:
    """A call in a thread of its own, and what came of it."""

    def __init__(self, call, *args, log=None):
        self.future = futures.Future()
        self.log = [] if log is None else log
        self.thread = threading.Thread(target=self.run, args=(call, *args))
        self.thread.start()

    def run(self, call, *args):
        try:
            value = call(*args)
            self.log.append("returned")
            self.future.set_result(value)
        except BaseException as error:
            self.future.set_exception(error)

    def result(self):
        self.thread.join(20)
        return self.future.result(0)


@pytest.fixture
def bounded(closing, gate):
    """A pool of one worker, which is held, and one place in the queue, which is taken.

    Gives the pool, what runs, and what waits.
    """
    pool = closing(InterpreterPoolExecutor(1, max_pending=1))
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    return pool, held, pool.submit(tasks.add, 1, 1)


def line_of(pool, length):
    eventually(lambda: pool._pool.lined_up == length, f"a line of {length}")


def test_submit_waits_for_a_start(bounded, gate):
    """Submit returned at once, and a producer that was faster than its workers ate the memory."""
    pool, held, queued = bounded
    log = []
    blocked = InThread(pool.submit, tasks.add, 1, 2, log=log)
    line_of(pool, 1)
    log.append("opened")
    gate.open()
    assert blocked.result().result() == 3
    assert (held.result(), queued.result()) == ("released", 2)
    assert log == ["opened", "returned"]
    assert pool.stats()[:2] == (3, 0)


def test_what_fits_is_taken_at_once(closing, gate):
    """Running calls were counted as waiting ones."""
    pool = closing(InterpreterPoolExecutor(1, max_pending=3))
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    others = [pool.submit(tasks.add, i) for i in range(3)]
    assert pool._pool.lined_up == 0
    gate.open()
    assert [future.result() for future in (held, *others)] == ["released", 0, 1, 2]


def test_a_cancel_makes_room(bounded, gate):
    """Only starts were noticed: with all workers at long tasks a cancel let nobody in."""
    pool, _, queued = bounded
    blocked = InThread(pool.submit, tasks.add, 1, 2)
    line_of(pool, 1)
    assert queued.cancel()
    admitted = blocked.result()  # although nothing has started
    gate.open()
    assert admitted.result() == 3


def test_first_come_first_in(bounded, gate, pipe):
    """Whoever was quickest when a place became free had it, and others waited for ever."""
    pool, *_ = bounded
    reader, writer = pipe
    blocked = []
    for name in "abc":
        blocked.append(InThread(pool.submit, tasks.write, writer, name))
        line_of(pool, len(blocked))
    gate.open()
    for one in blocked:
        one.result().result()
    assert os.read(reader, 10) == b"abc"


def test_the_pool_grows_for_those_that_wait(closing, gate):
    """One place and two workers: the second was never started, and the pool did half the work."""
    pool = closing(InterpreterPoolExecutor(2, max_pending=1))
    both = [InThread(pool.submit, tasks.block, *gate.fds) for _ in range(2)]
    gate.wait(2)
    gate.open(2)
    assert [one.result().result() for one in both] == ["released"] * 2


@pytest.mark.parametrize("end", ["shutdown", "terminate_workers"])
def test_a_shutdown_ends_the_wait(bounded, gate, end):
    """Submit went on waiting for a place that nobody would free, or had its call run."""
    pool, held, _ = bounded
    blocked = InThread(pool.submit, tasks.add, 1, 2)
    line_of(pool, 1)
    pool.shutdown(wait=False) if end == "shutdown" else pool.terminate_workers()
    with pytest.raises(RuntimeError, match="after shutdown"):
        blocked.result()
    gate.open()
    pool.shutdown()
    assert held.done()
    assert pool.stats()[:2] == (2, 0), "the third was not accepted"


def test_a_broken_pool_ends_the_wait(closing, gate, caplog):
    """Submit went on waiting for workers that were gone."""
    caplog.set_level("CRITICAL", "concurrent.futures")
    initializer = tasks_load.block_and_fail
    pool = closing(InterpreterPoolExecutor(1, "", initializer, gate.fds, max_pending=1))
    queued = pool.submit(tasks.nothing)
    blocked = InThread(pool.submit, tasks.nothing)
    line_of(pool, 1)
    gate.open()
    for told in (blocked.result, queued.result):
        with pytest.raises(BrokenInterpreterPool):
            told()


def test_a_signal_ends_the_wait(bounded, gate, pipe):
    """A thread that waited for a place did not see Ctrl-C; the call it gave up was run."""
    pool, *_ = bounded
    reader, writer = pipe

    def interrupt():
        line_of(pool, 1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def handler(*_):
        raise InterruptedError

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        helper = InThread(interrupt)
        with pytest.raises(InterruptedError):
            pool.submit(tasks.write, writer, "given up")
        helper.result()
        helper = InThread(interrupt)
        with pytest.raises(InterruptedError):
            pool.map(tasks.write, [writer] * 3, ["given", "up", "too"])
        helper.result()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert pool._pool.lined_up == 0
    gate.open()
    pool.submit(tasks.write, writer, "last").result()
    assert os.read(reader, 100) == b"last"
    assert pool.stats()[:2] == (3, 0)


def test_at_the_end_of_the_program(check):
    """A thread that waited for a place kept the program from ending."""
    out = check("""
import os, tasks, threading
from subpool import InterpreterPoolExecutor

def fill():
    try:
        for number in range(10):
            pool.submit(tasks.add, number)
    except RuntimeError as error:
        print(error)
    os.write(release, b"rr")

pool = InterpreterPoolExecutor(1, max_pending=1)
started_r, started = os.pipe()
release_r, release = os.pipe()
held = pool.submit(tasks.block, started, release_r)
os.read(started_r, 1)
threading.Thread(target=fill).start()
while not pool._pool.lined_up:
    os.sched_yield()
""")
    assert out == "cannot schedule new futures after interpreter shutdown\n"


@pytest.mark.parametrize("chunksize", [1, 7])
@pytest.mark.parametrize("most", [1, 5, 1000])
def test_map(closing, most, chunksize):
    """A message had more calls than there were places, and waited for ever; or calls were lost."""
    pool = closing(InterpreterPoolExecutor(2, max_pending=most))
    numbers = range(300)
    got = list(pool.map(tasks.add, numbers, numbers, chunksize=chunksize))
    assert got == [2 * number for number in numbers]
    assert list(pool.map(tasks.add, numbers, buffersize=3)) == list(numbers)
    assert pool.stats()[:2] == (600, 0)


def test_map_sends_no_more_than_fits(bounded, gate):
    """A message of 64 calls went into a queue with one place."""
    pool, *_ = bounded
    mapping = InThread(pool.map, tasks.add, range(10))
    line_of(pool, 1)
    assert pool.stats().outstanding == 3, "what runs, what has the place, and the first of the ten"
    gate.open()
    assert list(mapping.result()) == list(range(10))


def test_a_map_that_is_dropped_gives_its_places_back(closing, gate):
    """Cancelled calls of a message kept their places."""
    pool = closing(InterpreterPoolExecutor(1, max_pending=4))
    pool.submit(tasks.block, *gate.fds)
    gate.wait()
    for _ in range(3):
        results = pool.map(tasks.add, range(4))
        results.close()
    again = [pool.submit(tasks.add, i) for i in range(4)]
    assert pool._pool.lined_up == 0
    gate.open()
    assert [future.result() for future in again] == [0, 1, 2, 3]


def test_callbacks_that_submit(closing):
    """The thread that calls them waits for a place: who gives it one?"""
    pool = closing(InterpreterThreadPoolExecutor(max_interpreters=2, max_pending=1))
    left, done = iter(range(200)), threading.Event()
    lock = threading.Lock()

    def again(future):
        assert future.exception() is None
        with lock:
            number = next(left, None)
        if number is None:
            done.set()
        else:
            pool.submit(interpreter(tasks.add), number).add_done_callback(again)

    for _ in range(4):
        pool.submit(interpreter(tasks.add), 1).add_done_callback(again)
    assert done.wait(20)


def test_plain_tasks_that_submit(closing):
    """Threads of the same executor wait for places, and interpreters do not wait for threads."""
    ex = closing(InterpreterThreadPoolExecutor(2, max_interpreters=1, max_pending=1))

    def plain(number):
        return ex.submit(interpreter(tasks.add), number, 1).result()

    assert list(ex.map(plain, range(50))) == list(range(1, 51))


def test_a_call_that_is_encoded_submits(closing):
    """A call took its place before its arguments were pickled, which submit as well: deadlock."""
    pool = closing(InterpreterPoolExecutor(1, max_pending=1))

    class Submits:
        def __reduce__(self):
            return (int, (pool.submit(tasks.add, 20, 1).result(),))

    assert pool.submit(tasks.add, Submits(), 21).result() == 42


def test_several_threads_that_only_submit(closing):
    """A place was lost, or a thread not woken: whatever shows only when all want in."""
    pool = closing(InterpreterPoolExecutor(2, max_pending=2))

    def client(number):
        mine = [pool.submit(tasks.add, number, i) for i in range(150)]
        for future in mine[::3]:
            future.cancel()
        for i, future in enumerate(mine):
            with contextlib.suppress(futures.CancelledError):
                assert future.result() == number + i

    threads = [InThread(client, number) for number in range(6)]
    for thread in threads:
        thread.result()
    assert pool.stats().outstanding == 0
    assert (pool._pool.lined_up, pool.submit(tasks.add, 1, 2).result()) == (0, 3)


def test_configure(default_pool):
    """The default pool did not take the option."""
    subpool.configure(max_interpreters=1, max_pending=1)
    threads = [InThread(interpreter(tasks.add), i) for i in range(8)]
    assert [thread.result() for thread in threads] == list(range(8))


@pytest.mark.parametrize("kind", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor])
@pytest.mark.parametrize("wrong", [0, -1, 1.5, "1"])
def test_what_is_no_bound(kind, wrong):
    """A bound of nothing would block the first submit for ever."""
    with pytest.raises((ValueError, TypeError), match=r"max_pending|integer"):
        kind(1, max_pending=wrong)
    with kind(1, max_pending=1 << 80) as pool:
        assert pool.submit(interpreter(tasks.add), 1).result() == 1
