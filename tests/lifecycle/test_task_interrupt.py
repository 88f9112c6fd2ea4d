"""`Future.interrupt`: what it ends, what it leaves alone, and what becomes of the worker."""

import os
import pickle
import random
import threading

import pytest

import subpool
import tasks
import tasks_interrupt
from subpool import Future, InterpreterPoolExecutor, TaskInterrupted


@pytest.fixture
def start(pool, pipe):
    """Submit a task that writes to a pipe when it runs, and wait for that."""
    reader, writer = pipe

    def start(fn, *args):
        future = pool.submit(fn, writer, *args)
        os.read(reader, 1)
        return future

    return start


def test_an_endless_task_ends(pool, start):
    """Nobody could stop a running task."""
    future = start(tasks_interrupt.spin)
    assert future.interrupt()
    with pytest.raises(TaskInterrupted, match=r"tasks_interrupt\.spin was interrupted") as caught:
        future.result()
    assert "in spin" in str(caught.value.__cause__), "the traceback of where it was"
    assert future.done()
    assert not future.cancelled()
    assert pool.submit(tasks.add, 1, 2).result() == 3, "the worker goes on"


@pytest.mark.parametrize("task", ["spin_in_finalizers", "spin_in_callbacks"])
def test_while_a_finalizer_runs(pool, start, capfd, task):
    """CPython told of it and went on, and so did the task."""
    future = start(getattr(tasks_interrupt, task))
    assert future.interrupt()
    assert isinstance(future.exception(timeout=60), TaskInterrupted)
    assert pool.submit(tasks.add, 1, 2).result() == 3, "and nothing of it is left"
    assert capfd.readouterr() == ("", "")


def test_what_a_finalizer_raises_is_told(pool, capfd):
    """The hook is CPython's own for all other exceptions."""
    assert pool.submit(tasks_interrupt.fail_in_finalizer).result() == "went on"
    assert "ValueError: in a finalizer" in capfd.readouterr().err


@pytest.mark.parametrize("task", ["interrupt_in_finalizer", "interrupt_between_tasks"])
def test_what_looks_like_one_in_a_finalizer_hits_nobody(pool, capfd, task):
    """The next task of the worker was interrupted, which nobody had asked for."""
    for _ in range(20):
        assert pool.submit(getattr(tasks_interrupt, task)).result() == "went on"
        assert pool.submit(tasks_interrupt.count_far).result() == 1000
    assert "TaskInterrupted" in capfd.readouterr().err, "told of, as any other"


def test_what_looks_like_one_in_a_finalizer_of_a_thread(pool, capfd):
    """It was raised again in the body of the thread, where Python only tells of it."""
    assert pool.submit(tasks_interrupt.interrupt_in_finalizer_of_thread).result() == ["went on"]
    assert "TaskInterrupted" in capfd.readouterr().err


def test_one_after_another(pool, start):
    """The helper served the first interrupt only, or the first left something behind."""
    worker = pool.submit(tasks.interpreter_id).result()
    for _ in range(5):
        future = start(tasks_interrupt.spin)
        assert future.interrupt()
        assert isinstance(future.exception(), TaskInterrupted)
        assert pool.submit(tasks.interpreter_id).result() == worker


def test_a_tagged_task(executor, pipe):
    reader, writer = pipe
    future = executor.submit(tasks_interrupt.tagged_spin, writer)
    os.read(reader, 1)
    assert future.interrupt()
    with pytest.raises(TaskInterrupted):
        future.result()


def test_it_is_no_exception_like_others(pool, start):
    """`except Exception` in a loop swallowed it."""
    future = start(tasks_interrupt.swallow_exceptions)
    assert future.interrupt()
    with pytest.raises(TaskInterrupted):
        future.result()


def test_clean_up_runs(start):
    """A thread that is killed leaves its `finally` undone."""
    cleaned, end = os.pipe()
    try:
        future = start(tasks_interrupt.clean_up, end)
        assert future.interrupt()
        assert isinstance(future.exception(), TaskInterrupted)
        assert os.read(cleaned, 1) == b"c"
    finally:
        os.close(cleaned)
        os.close(end)


def test_a_task_that_returns_in_spite_of_it(start):
    """What the task makes of it counts: the interrupt was asked for, not decreed."""
    future = start(tasks_interrupt.return_all_the_same)
    assert future.interrupt()
    assert future.result() == ("returned", "subpool", "TaskInterrupted()")


def test_a_task_that_raises_another(start):
    future = start(tasks_interrupt.raise_another)
    assert future.interrupt()
    with pytest.raises(LookupError, match="in its place"):
        future.result()


def test_one_class_everywhere(pool):
    """A second class in the worker is one that no `except` there catches, or main does not know."""
    same, cls, instance, timeout = pool.submit(tasks_interrupt.same_class).result()
    assert same
    assert cls is TaskInterrupted is subpool.TaskInterrupted
    assert type(instance) is TaskInterrupted
    assert instance.args == ("and back",)
    assert timeout is subpool.TaskTimeout
    assert pickle.loads(pickle.dumps(TaskInterrupted)) is TaskInterrupted
    assert pool.submit(tasks_interrupt.take, TaskInterrupted).result() is TaskInterrupted
    assert not issubclass(TaskInterrupted, Exception)
    assert issubclass(subpool.TaskTimeout, TimeoutError)


def test_one_that_the_task_raises_itself(pool):
    """With arguments it is the task's own exception; bare it cannot be told from ours."""
    own = pool.submit(tasks_interrupt.raise_it_with_arguments).exception()
    assert (type(own), own.args) == (TaskInterrupted, ("of my own",))
    assert "raise_it was interrupted" in str(pool.submit(tasks_interrupt.raise_it).exception())


def test_nothing_to_interrupt(pool, gate):
    """Queued, ended, cancelled, never submitted: False, and nobody is hit."""
    held = pool.submit(tasks.block, *gate.fds)
    queued, cancelled = pool.submit(tasks.add, 1, 2), pool.submit(tasks.add, 3, 4)
    gate.wait()
    assert cancelled.cancel()
    assert not queued.interrupt()
    assert not cancelled.interrupt()
    assert not Future().interrupt()
    gate.open()
    assert (held.result(), queued.result()) == ("released", 3)
    assert not queued.interrupt()
    assert not held.interrupt()


def test_one_that_failed_to_be_sent(pool):
    """Its future ended without a task that ever ran."""
    assert not pool.submit(tasks.identity, threading.Lock()).interrupt()


def test_while_its_arguments_are_made(pool, pipe):
    """The user's `__setstate__` runs before the function, and may be endless too."""
    reader, writer = pipe
    future = pool.submit(tasks_interrupt.take, tasks_interrupt.EndlessToMake(writer))
    os.read(reader, 1)
    assert future.interrupt()
    with pytest.raises(TaskInterrupted):
        future.result()
    assert pool.submit(tasks.add, 1, 2).result() == 3


@pytest.mark.parametrize("what", ["endless_result", "endless_error"])
def test_while_its_outcome_is_sent(start, pool, what):
    """So does the user's `__reduce__`, of a result or of an exception."""
    future = start(getattr(tasks_interrupt, what))
    assert future.interrupt()
    with pytest.raises(TaskInterrupted):
        future.result()
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_a_task_that_waits_with_the_gil_released(start, pool):
    """It is hit when its call returns: the exception waits, and hits nobody else."""
    released, release = os.pipe()
    try:
        future = start(tasks_interrupt.read, released)
        assert future.interrupt()
        following = pool.submit(tasks.add, 1, 2)
        assert not future.done()
        os.write(release, b"r")
        # Hit between the call and the `return`, or so late that it had returned.
        try:
            assert future.result() == b"r"
        except TaskInterrupted as error:
            assert "in read" in str(error.__cause__)
        assert following.result() == 3
    finally:
        os.close(released)
        os.close(release)


def test_one_that_is_too_late(pool, pipe):
    """An exception that was sent and never raised, for want of bytecode, hit the next task."""
    reader, writer = pipe
    for _ in range(10):
        # A C function is the whole task: it waits with the GIL released, then returns to ours.
        future = pool.submit(os.write, writer, bytes(tasks_interrupt.MUCH))
        left = tasks_interrupt.MUCH - len(os.read(reader, 1))
        following = [pool.submit(tasks_interrupt.short, number, 1) for number in range(3)]
        assert future.interrupt()
        while left:
            left -= len(os.read(reader, left))
        assert future.result() == tasks_interrupt.MUCH
        assert [future.result()[0] for future in following] == [0, 1, 2]


def test_a_listener_is_told(start):
    """The end by an interrupt is an end like others."""
    future = start(tasks_interrupt.spin)
    told = threading.Event()
    future.add_done_callback(lambda _: told.set())
    assert future.interrupt()
    told.wait()
    assert isinstance(future.exception(), TaskInterrupted)


def test_twice(start, pool):
    """A second one hit the next task, or ended the worker."""
    future = start(tasks_interrupt.spin)
    assert future.interrupt()
    future.interrupt()
    assert isinstance(future.exception(), TaskInterrupted)
    assert pool.submit(tasks_interrupt.short, 1, 500).result()[0] == 1


def test_from_several_threads(start, pool):
    """Two that start the helper at once made two."""
    future = start(tasks_interrupt.spin)
    threads = [threading.Thread(target=future.interrupt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(future.exception(), TaskInterrupted)
    assert pool.submit(tasks_interrupt.short, 1, 500).result()[0] == 1


@pytest.mark.slow
def test_random_interrupts_hit_nobody_else(closing):
    """An interrupt that came as its task ended hit the next one; the race of this whole file.

    Each task gives its own number, or was interrupted itself. One that ends by an interrupt that
    nobody meant for it, or gives another's number, was hit in place of another.
    """
    pool = closing(InterpreterPoolExecutor(2, initializer=tasks_interrupt.hurry))
    pool.warm_up()
    choose = random.Random(4)  # noqa: S311 - nothing secret
    workers, asked, sent, interrupted, missed = set(), 0, 0, 0, 0
    while asked < 5000:
        futures = [pool.submit(tasks_interrupt.short, n, choose.randrange(60)) for n in range(50)]
        meant = {}
        for number in sorted(choose.sample(range(50), 25)):
            future = futures[number]
            while not (future.running() or future.done()):
                pass
            for _ in range(choose.randrange(200)):
                pass
            meant[number] = future.interrupt()
            asked += 1
        sent += sum(meant.values())
        for number, future in enumerate(futures):
            try:
                got, worker = future.result()
            except TaskInterrupted:
                assert meant.get(number), f"{number} was hit, and nobody meant it"
                interrupted += 1
            else:
                assert got == number
                workers.add(worker)
                missed += meant.get(number, False)
    assert len(workers) == 2, "a worker was lost, and another took its place"
    assert interrupted + missed == sent
    assert interrupted, "this test must interrupt something"
    assert missed, "and be too late now and then"
    print(f"asked {asked}, sent {sent}, interrupted {interrupted}, too late {missed}")
