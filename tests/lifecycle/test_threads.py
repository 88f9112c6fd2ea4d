"""Threads that tasks start: their names, daemons, and how they end with the interpreter."""

import multiprocessing
import os
from pathlib import Path

import pytest

import tasks
import tasks_threads
from subpool import BrokenInterpreterPool, InterpreterPoolExecutor, _methods
from support import causes, eventually, join_workers


@pytest.fixture
def impatient(monkeypatch):
    """Threads have no time to end."""
    monkeypatch.setattr(_methods, "_FAREWELL", 0.02)


def of_threads(warned):
    """Without those of a close that takes long: to `impatient` each does on a busy machine."""
    return [(category, message) for category, message in warned if "have left threads" in message]


def test_nothing_is_imported_for_it(pool):
    """A worker whose tasks know no threads paid for them."""
    assert pool.submit(tasks_threads.modules).result() == []


def test_names(closing):
    """Threads were called MainThread and Dummy-1 in every worker (#125920)."""
    pool = closing(InterpreterPoolExecutor(1, "crunch"))
    assert pool.submit(tasks_threads.names).result() == {
        "name": "crunch_0",
        "in logs": "crunch_0",
        "daemon": False,
        "alive": True,
        "same number": True,
        "same system number": True,
        "is main": False,
        "main": "MainThread",
        "all": ["MainThread", "crunch_0"],
        "loader": "SourceFileLoader",
    }
    assert pool.submit(tasks_threads.name_after_reload).result() == "crunch_0"
    with pytest.raises(ModuleNotFoundError, match=r"threading\.nothing"):
        pool.submit(tasks_threads.import_what_is_not_there).result()


@pytest.mark.slow
def test_the_process(pool):
    """Workers had a key of their own, and no proxy of a manager could be used there."""
    own = multiprocessing.current_process()
    name, key, kind, daemon, parent, child = pool.submit(tasks_threads.process).result()
    assert (name, daemon, parent) == (own.name, False, None)
    assert key == own.authkey
    assert kind == "AuthenticationString"
    assert child == "Process-1"
    assert pool.submit(tasks_threads.start_method).result() != "fork"


@pytest.mark.slow
def test_a_process_that_was_spawned(check):
    """The name, key and parent are those of main, also where main is a child."""
    out = check("""
import multiprocessing, os, tasks_threads
from subpool import InterpreterPoolExecutor
def child(key):
    with InterpreterPoolExecutor(1) as ex:
        found = ex.submit(tasks_threads.process).result()
    assert found[1] == key == multiprocessing.current_process().authkey
    print(found[0], found[3:], os.getppid(), flush=True)
if __name__ == "__main__":
    key = bytes(multiprocessing.current_process().authkey)
    process = multiprocessing.get_context("spawn").Process(
        target=child, args=(key,), name="worker bee", daemon=False)
    process.start()
    process.join()
    print("worker bee", (False, ("MainProcess", os.getpid(), True), "Process-1:1"), os.getpid())
""")
    found, expected = out.splitlines()
    assert found == expected


DAEMONS = {
    "busy": None,
    "by_setter": None,
    "inherited": None,
    "queue_listener": "heard",
    "timer": None,
    "queue_and_simple_queue": None,
    "event_loop": "slept",
    "past_threading": "2nd arg must be a tuple",
    "connection_pool": "connected",
    "executor": 3,
}


@pytest.mark.parametrize("name", DAEMONS)
def test_daemon_threads(closing, warned, name):
    """They were refused: daemon threads are disabled in this (sub)interpreter.

    That they end is what `nothing_left_over` looks for.
    """
    pool = closing(InterpreterPoolExecutor(1))
    assert pool.submit(getattr(tasks_threads, name)).result() == DAEMONS[name]
    pool.shutdown()
    assert warned == []


def test_all_of_them_in_one(closing, warned):
    """One that is slow to end kept the others from being told."""
    pool = closing(InterpreterPoolExecutor(1))
    for name, expected in DAEMONS.items():
        assert pool.submit(getattr(tasks_threads, name)).result() == expected
    pool.shutdown()
    assert warned == []


def test_one_that_catches_it(closing, pipe):
    """It went on, and the pool waited for ever."""
    reader, writer = pipe
    pool = closing(InterpreterPoolExecutor(1))
    pool.submit(tasks_threads.catches_it_once, writer).result()
    pool.shutdown()
    assert os.read(reader, 9) == b"1"


def test_the_order_of_the_end(closing, pipe, capfd):
    """Daemon threads serve the others to the end, as in a process."""
    reader, writer = pipe
    pool = closing(InterpreterPoolExecutor(1))
    pool.submit(tasks_threads.order, writer).result()
    pool.shutdown()
    assert os.read(reader, 99) == b"hook ordinary atexit daemon "
    err = capfd.readouterr().err
    assert err.count("LookupError: a hook that fails") == 1
    assert "Exception ignored at the end of a worker" in err


@pytest.mark.parametrize("task", ["late_daemon", "registers_as_it_ends"])
def test_a_daemon_thread_that_comes_late(closing, pipe, task):
    """It was alive when the interpreter was ended: a crash."""
    reader, writer = pipe
    pool = closing(InterpreterPoolExecutor(1))
    pool.submit(getattr(tasks_threads, task), writer).result()
    pool.shutdown()
    assert os.read(reader, 9) == b"late"


def test_one_in_a_system_call(impatient, closing, pipe, warned):
    """`shutdown` waited for a call that may never return."""
    reader, writer = pipe
    pool = closing(InterpreterPoolExecutor(1, "crunch"))
    pool.submit(tasks_threads.blocked, reader).result()
    (thread,) = pool._pool.threads()
    pool.shutdown()
    assert thread.is_alive()
    assert pool._pool.threads() == []
    ((category, message),) = of_threads(warned)
    assert category is RuntimeWarning
    assert message.startswith(
        "tasks in crunch_0 have left threads that did not end within 0.0 s of its close: "
        "in a system call. "
    )
    os.write(writer, b"w")
    join_workers([thread])


def test_after_a_time_without_work(impatient, closing, pipe, warned):
    """The pool waited for the interpreter that it had closed."""
    reader, writer = pipe
    pool = closing(InterpreterPoolExecutor(1, idle_timeout=0.01))
    pool.submit(tasks_threads.blocked, reader).result()
    threads = pool._pool.threads()
    eventually(lambda: warned, "the warning")
    assert pool.submit(tasks.add, 1, 2).result() == 3
    pool.shutdown()
    assert threads[0].is_alive()
    os.write(writer, b"w")
    join_workers(threads)


def test_an_initializer_that_fails(impatient, closing, pipe, warned, caplog):
    """The futures waited for a thread that the initializer has left."""
    reader, writer = pipe
    pool = closing(
        InterpreterPoolExecutor(1, initializer=tasks_threads.blocked_and_fails, initargs=(reader,))
    )
    future = pool.submit(tasks.nothing)
    threads = pool._pool.threads()
    error = future.exception()
    assert isinstance(error, BrokenInterpreterPool)
    assert "LookupError: after that" in causes(error)[0]
    assert len(caplog.records) == 1
    pool.shutdown()
    os.write(writer, b"w")
    join_workers(threads)
    assert len(of_threads(warned)) == 1


def test_the_end_of_the_program_waits_for_it(script):
    """CPython crashes when it ends with an interpreter alive."""
    rc, out, err = script("""
import os, tasks_threads, threading
from subpool import InterpreterPoolExecutor, _methods
_methods._FAREWELL = 0.02
reader, writer = os.pipe()
ex = InterpreterPoolExecutor(1)
ex.submit(tasks_threads.blocked, reader).result()
ex.shutdown()
print("down", flush=True)
# The hook that waits was registered before this one, and so runs after it.
threading._register_atexit(os.write, writer, b"w")
""")
    assert (rc, out) == (0, "down\n")
    assert err.count("RuntimeWarning: tasks in InterpreterPoolExecutor-0_0 have left threads") == 1


@pytest.mark.slow
def test_a_process_pool_in_a_task(closing):
    """A server process was left behind for each interpreter that had one."""
    before = children()
    pool = closing(InterpreterPoolExecutor(1))
    assert pool.submit(tasks_threads.process_pool).result() == 3
    pool.shutdown()
    eventually(lambda: children() <= before, "the end of all processes")


def children():
    """The numbers of this process's children, dead ones that nobody has waited for included."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        try:
            found.update((thread / "children").read_text().split())
        except OSError:  # it ended meanwhile
            continue
    return found
