"""What runs in an interpreter that is closed, and takes too long for it."""

import os
import warnings

import pytest

import tasks
import tasks_recycling
from subpool import InterpreterPoolExecutor, _methods
from support import eventually, interpreters, join_workers, resizable

PATIENCE = 0.3


@pytest.fixture
def pipes():
    """To let a hook go, and to learn that it runs."""
    fds = [*os.pipe(), *os.pipe()]
    yield fds
    for fd in fds:
        os.close(fd)


@pytest.fixture
def warned(monkeypatch):
    """The warnings shown so far."""
    shown = []
    monkeypatch.setattr(
        warnings,
        "showwarning",
        lambda message, category, *_: shown.append((category, str(message))),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield shown


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
