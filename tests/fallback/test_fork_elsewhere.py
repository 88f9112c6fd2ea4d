"""Fork while calls are in threads or processes, since no interpreter can run them."""

import os
from functools import partial

import pytest

import tasks
import tasks_numpy
from forking import forked
from subpool import InterpreterPoolExecutor, PoolError, _fallback, _processes
from support import eventually

pytest.importorskip("numpy")
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_calls_of_the_parent(kind, closing, tmp_path):
    """The child waited for them for ever."""
    pool = closing(InterpreterPoolExecutor(1, fallback=kind))
    # From here on it is known where the function goes: else a worker would begin each call first.
    assert pool.submit(tasks_numpy.stay_until, os.devnull).result() is None
    most = os.process_cpu_count()
    release = tmp_path / "release"
    held = [pool.submit(tasks_numpy.stay_until, str(release)) for _ in range(most + 1)]
    eventually(lambda: sum(future.running() for future in held) == most, "the calls")
    called = []
    held[-1].add_done_callback(called.append)

    def body():
        with pytest.raises(PoolError, match="stay_until runs in the parent"):
            held[0].result()
        return held[-1].cancelled(), pool.submit(tasks_numpy.total, [3, 4]).result(), called

    try:
        assert forked(body) == (True, 7, [])
    finally:
        release.touch()
    assert [future.result() for future in held] == [None] * len(held)
    eventually(lambda: called, "the callback")


def test_from_a_call_on_a_thread(closing):
    """The child's one thread is a lane of the parent's."""
    pool = closing(InterpreterPoolExecutor(1, fallback="thread"))
    assert pool.submit(tasks_numpy.forked_total, [1, 2]).result() == 3


@pytest.fixture
def patient_lanes(monkeypatch):
    """Threads and processes with nothing to do do not end within the test, but after it."""
    monkeypatch.setattr(_fallback, "_IDLE", 100.0)
    yield
    monkeypatch.setattr(_fallback, "_IDLE", 0.0)
    every = _fallback._lanes.values()
    for lanes in every:
        with lanes._changed:
            lanes._changed.notify_all()  # who wakes waits for the shorter time
    eventually(lambda: not any(lanes._threads for lanes in every), "the end of the lanes")


@pytest.mark.usefixtures("patient_lanes")
def test_a_child_does_not_keep_processes(closing):
    """A process of ours ends when its main does, also if a child of a fork lives on."""
    pool = closing(InterpreterPoolExecutor(1, fallback="process"))
    pid, *_ = pool.submit(tasks_numpy.place).result()
    # Those of earlier tests may be ended meanwhile.
    children = [child for child in _processes._children if child.process.pid == pid]
    descriptors = {fd for child in children for fd in (child.connection.fileno(), child._control)}
    assert descriptors

    def inode(fd):
        try:
            return os.fstat(fd).st_ino
        except OSError:
            return None

    before = {fd: inode(fd) for fd in descriptors}

    def body():
        # The number may be another file's.
        return {fd for fd in descriptors if inode(fd) == before[fd]}

    assert forked(body) == set()
    assert all(child.is_alive for child in children)


def use(pool):
    return pool.submit(tasks.add, 1, 2).result()


def test_while_a_process_starts(closing, times):
    """The fork comes in the midst of `subprocess`."""
    for _ in times(2, long=50):
        pool = closing(InterpreterPoolExecutor(1, fallback="process"))
        futures = [pool.submit(tasks_numpy.total, [n]) for n in range(2)]
        assert forked(partial(use, pool)) == 3
        assert [future.result() for future in futures] == [0, 1]
