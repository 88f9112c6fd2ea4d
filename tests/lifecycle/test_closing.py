"""What runs in an interpreter that is closed, and takes too long for it."""

import os

import pytest

import tasks
import tasks_recycling
from subpool import BrokenInterpreterPool, InterpreterPoolExecutor, _methods
from support import DEADLINE, causes, eventually, interpreters, join_workers, resizable

PATIENCE = 0.3


@pytest.fixture
def pipes():
    """To let a hook go, and to learn that it runs."""
    fds = [*os.pipe(), *os.pipe()]
    yield fds
    for fd in fds:
        os.close(fd)


NAMES = {
    "by_atexit": "slow_hook(), by `atexit`",
    "by_atexit_without_threading": "what its objects do as they are deleted",
    "by_hook": "slow_hook(), a hook of `threading`",
    "by_finalizer": "what its objects do as they are deleted",
}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_named_and_not_waited_for(closing, pipes, monkeypatch, warned, name):
    """`shutdown` hung, and nobody knew in what."""
    monkeypatch.setattr(_methods, "_FAREWELL", PATIENCE)
    reader, release, told, started = pipes
    pool = closing(InterpreterPoolExecutor(1, "slow"))
    pool.submit(getattr(tasks_recycling, name), reader, started).result()
    threads = pool._pool.threads()
    pool.shutdown()
    os.read(told, 1)
    assert threads[0].is_alive()
    assert pool._pool.threads() == []
    eventually(lambda: warned, "the warning")
    os.write(release, b"r")
    join_workers(threads)
    ((category, message),) = warned
    assert category is RuntimeWarning
    assert message.startswith("the interpreter of slow_0 has not been closed within 0.3 s. ")
    assert f"What runs there is {NAMES[name]}" in message


def test_threads_that_are_no_daemons_are_named_and_waited_for(closing, pipes, monkeypatch, warned):
    """As at the end of any program; but nobody was told for whom it waited."""
    monkeypatch.setattr(_methods, "_FAREWELL", PATIENCE)
    reader, release, told, started = pipes
    pool = closing(InterpreterPoolExecutor(1))
    pool.submit(tasks_recycling.by_ordinary_thread, reader, started).result()
    os.read(told, 1)
    pool.shutdown(wait=False)
    threads = pool._pool.threads()
    eventually(lambda: warned, "the warning")
    assert pool._pool.threads()
    os.write(release, b"r")
    pool.shutdown()
    join_workers(threads)
    ((_, message),) = warned
    assert "What runs there is threads that are no daemons: ordinary one." in message


def test_a_recycled_one_holds_nobody_up(closing, pipes, monkeypatch, warned):
    """The task after it waited for a hook of the interpreter before."""
    monkeypatch.setattr(_methods, "_FAREWELL", PATIENCE)
    reader, release, told, started = pipes
    pool = closing(InterpreterPoolExecutor(1, max_tasks_per_interpreter=1))
    threads = pool._pool.threads()
    for _ in range(3):
        pool.submit(tasks_recycling.by_atexit, reader, started).result()
        threads += pool._pool.threads()
        os.read(told, 1)
    assert pool.submit(tasks.add, 1, 2).result() == 3
    os.write(release, b"rrr")
    pool.shutdown()
    eventually(lambda: len(warned) >= 1, "a warning")
    join_workers(threads)


STAYING = ["by_atexit", "by_finalizer", "by_ordinary_thread"]


@pytest.fixture
def failing(closing, pipes, monkeypatch, tmp_path, caplog):
    """Give a pool of one worker some of whose starts fail, and then do not end before `pipes`."""
    monkeypatch.setattr(_methods, "_FAREWELL", PATIENCE)
    caplog.set_level("CRITICAL", "concurrent.futures")

    def failing(starts, how="by_atexit", held=None, **more):
        initargs = (str(tmp_path / "begun"), starts, how, pipes, held)
        initializer = tasks_recycling.begin_and_stay
        return closing(InterpreterPoolExecutor(1, "bad", initializer, initargs, **more))

    yield failing
    os.write(pipes[1], b"r" * 9)


def assert_broken(future):
    error = future.exception(DEADLINE)
    assert type(error) is BrokenInterpreterPool
    assert "LookupError: not this time" in causes(error)[0]


@pytest.mark.usefixtures("warned")
@pytest.mark.parametrize("how", STAYING)
def test_a_start_that_fails_and_does_not_close(failing, how):
    """The pool broke when the interpreter was closed, and the tasks waited for that for ever."""
    pool = failing({1}, how)
    futures = [pool.submit(tasks.nothing) for _ in range(2)]
    for future in futures:
        assert_broken(future)
    with pytest.raises(BrokenInterpreterPool):
        pool.submit(tasks.nothing)


@pytest.mark.parametrize("late", [False, True])
def test_one_that_stands_by_fails_and_does_not_close(failing, pipes, gate, warned, late):
    """It was given the place although it had failed, and no worker was left."""
    pool = failing({2}, max_tasks_per_interpreter=2)
    pool.submit(tasks_recycling.count)
    held = pool.submit(tasks.block, *gate.fds)
    rest = [pool.submit(tasks_recycling.count) for _ in range(3)]
    os.read(pipes[2], 1)
    if late:
        eventually(lambda: warned, "that its close takes too long")
    gate.open()
    assert held.result() == "released"
    assert [future.result(DEADLINE) for future in rest] == [1, 2, 1]


@pytest.mark.usefixtures("warned")
def test_one_in_its_place_fails_and_does_not_close(failing, pipe, gate):
    """`shutdown` came back with tasks that never ended, since nobody had its place any more."""
    hold, let_go = pipe
    pool = failing({2}, held=hold, max_tasks_per_interpreter=1)
    before = pool.submit(tasks.interpreter_id).result()
    rest = [pool.submit(tasks_recycling.count) for _ in range(2)]
    eventually(lambda: before not in interpreters(), "that the next one has its place")
    os.write(let_go, b"r")
    pool.shutdown()
    for future in rest:
        assert future.done()
        assert_broken(future)


def test_quick_ones_are_not_told_of(closing, warned):
    """Every close was measured, and none told of."""
    pool = closing(InterpreterPoolExecutor(1))
    pool.submit(tasks.nothing).result()
    pool.shutdown()
    assert warned == []


def test_a_type_that_is_its_own_is_let_go_of(closing):
    """It stayed, with all it referred to: h11's sentinels, 3.4 MB for each interpreter."""
    before = interpreters()
    content = bytearray(10)
    pool = closing(InterpreterPoolExecutor(1))
    view = memoryview(content)
    assert pool.submit(tasks_recycling.own_types, view).result() == "made"
    pool.shutdown()
    del view
    assert interpreters() <= before
    eventually(lambda: resizable(content), "that nobody sees the type's content")
