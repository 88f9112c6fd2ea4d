"""Events, queues and locks in the child of a fork: usable, and nobody else's."""

import asyncio
import os
import pickle
import signal
import threading

import pytest
from sync_support import until_waiting, waiting

import tasks_sync
from forking import forked
from subpool import Event, InterpreterPoolExecutor, Lock, NotTransferableError, Queue
from support import DEADLINE

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:a fork waited:RuntimeWarning"),
]


def test_the_child_has_what_was_there(pool):
    set_one, items, lock = Event(), Queue(2), Lock()
    set_one.set()
    items.put("a")
    items.put(b"b" * 100_000)

    def body():
        with lock:
            pass
        items_there = [items.get(timeout=1), items.get(timeout=1)]
        items.put(1)
        fresh = Event()
        future = pool.submit(tasks_sync.wait, fresh)
        until_waiting(fresh)
        fresh.set()
        return set_one.is_set(), items_there, future.result(DEADLINE)

    assert forked(body) == (True, ["a", b"b" * 100_000], True)
    assert items.qsize() == 2, "the parent's are its own"
    assert pool.submit(tasks_sync.get, items).result() == "a"


def test_who_waits_in_the_parent_does_not_wait_in_the_child():
    """The child gave its items and its lock to threads that it does not have."""
    event, items, lock = Event(), Queue(), Lock()
    lock.acquire()
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(event.wait())),
        threading.Thread(target=lambda: got.append(items.get())),
        threading.Thread(target=lambda: got.append(lock.acquire())),
    ]
    for thread in threads:
        thread.start()
    for shared in (event, items, lock):
        until_waiting(shared)

    def body():
        lines = [waiting(shared) for shared in (event, items, lock)]
        items.put(1)
        lock.release()
        event.set()
        return lines, items.get(timeout=1), lock.locked()

    assert forked(body) == ([0, 0, 0], 1, False)
    event.set()
    items.put("item")
    lock.release()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(map(str, got)) == ["True", "True", "item"]


def test_loops_do_not_go_on_in_the_child():
    """Forked from a loop, the child gave its item to a coroutine that never runs again."""
    items, lock = Queue(), Lock()

    def body():
        lines = waiting(items), waiting(lock)
        items.put(1)
        lock.release()
        return lines, items.get(timeout=1), lock.locked()

    async def main():
        assert lock.acquire()
        getter = asyncio.ensure_future(items.get_async())
        waiter = asyncio.ensure_future(lock.acquire_async())
        await asyncio.sleep(0)
        until_waiting(items)
        assert forked(body) == ((0, 0), 1, False)
        items.put(2)
        lock.release()
        return await getter, await waiter

    assert asyncio.run(main()) == (2, True)
    lock.release()


def test_a_lock_that_a_coroutine_has():
    """It stayed held in the child by one that never runs again."""
    lock = Lock()

    def acquires():
        return lock.acquire(timeout=1)

    async def main():
        async with lock:
            assert forked(acquires), "acquired at once"
            waiter = asyncio.ensure_future(lock.acquire_async())
            await asyncio.sleep(0)
        assert await waiter
        assert forked(acquires), "handed over"
        assert lock.locked()
        lock.release()

    asyncio.run(main())


def test_a_coroutine_of_the_parent_that_is_closed_in_the_child():
    """It gave the lock back that it had been handed, which was the child's own by then."""
    lock = Lock()

    async def main():
        assert lock.acquire()
        waiter = asyncio.ensure_future(lock.acquire_async())
        await asyncio.sleep(0)
        until_waiting(lock)
        lock.release()

        def body():
            acquired = lock.acquire(timeout=1)
            waiter.get_coro().close()
            return acquired, lock.locked()

        assert forked(body) == (True, True)
        assert await waiter
        lock.release()

    asyncio.run(main())


def test_handles_keep_their_places_in_a_dict():
    """Their hash was of the process as well: the child found few of its keys."""
    places = {Event(): number for number in range(200)}
    assert forked(lambda: [places.get(event) for event in list(places)]) == list(range(200))


def test_a_last_handle_that_goes_within_a_fork(check):
    """What nobody has any more was counted for ever in the child, or kept in the parent.

    There it stayed until something was made; and the next child dropped it.
    """
    assert check(WITHIN) == ""


# Hooks of `fork` run before it in the reverse order of their registration: this one after ours.
WITHIN = """
import ctypes, os, warnings
from subpool import Queue
from subpool._sharing import room
from subpool._subpool import _lent_buffers
from support import eventually
data, queues, others = bytearray(10), [], []
hook = ctypes.CFUNCTYPE(None)(queues.clear)
getattr(ctypes.CDLL(None), "__register_atfork")(hook, None, None, None)
others.append(Queue())
queues.append(Queue())
queues[0].put(memoryview(data))
warnings.simplefilter("ignore", DeprecationWarning)  # of threads
def forked(body):
    pid = os.fork()
    if pid == 0:
        os._exit(body())
    assert os.waitpid(pid, 0)[1] == 0
def second():
    others.clear()
    return room.count() + (_lent_buffers() != 1)
forked(lambda: room.count() - 1)
forked(second)
others.clear()
eventually(lambda: _lent_buffers() == 0, "the end of the queue")
data.clear()
assert room.count() == 0
"""


def test_a_lock_that_another_thread_has():
    """It stayed held in the child, by nobody."""
    mine, other, held, release = Lock(), Lock(), threading.Event(), threading.Event()

    def hold():
        with other:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def body():
        return mine.locked(), other.locked(), other.acquire(timeout=1)

    try:
        with mine:
            assert forked(body) == (True, False, True)
            assert other.locked()
    finally:
        release.set()
        thread.join()


def test_a_lock_that_a_worker_has(pool):
    """It stayed held in the child, by nobody."""
    lock = Lock()
    assert pool.submit(tasks_sync.acquire_and_keep, lock).result(DEADLINE)
    assert forked(lambda: lock.acquire(timeout=1)) is True
    assert lock.locked()
    lock.release()


def test_a_pickle_of_the_parents():
    """It would lead to the child's own copy, of which the parent knows nothing."""
    event = Event()
    pickled = pickle.dumps(event)

    def body():
        with pytest.raises(NotTransferableError, match="belongs to another process"):
            pickle.loads(pickled)
        return pickle.loads(pickle.dumps(event)) == event

    assert forked(body) is True
    assert pickle.loads(pickled) == event


def test_while_other_threads_use_them(times):
    """A thread that is not in the child held the lock within: the child hung."""
    items, lock, over = Queue(), Lock(), threading.Event()

    def work():
        while not over.is_set():
            items.put(1)
            items.get_nowait()
            with lock:
                pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()

    def body():
        while not items.empty():
            items.get_nowait()
        items.put("own")
        with lock:
            Event().set()
        return items.get(timeout=1)

    try:
        for _ in times(10, long=200):
            assert forked(body) == "own"
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_fork_within_a_wait():
    """A signal's handler forks while its thread waits: in the child the wait goes on, too."""
    event, reader_writer = Event(), os.pipe()
    reader, writer = reader_writer
    pids = []

    def handler(*_):
        pids.append(os.fork())
        event.set()

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident

    def press():
        until_waiting(event)
        signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        woken = event.wait(DEADLINE)
        if pids[0] == 0:
            os.write(writer, b"y" if woken else b"n")
            os._exit(0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    thread.join()
    os.waitpid(pids[0], 0)
    assert woken
    assert os.read(reader, 1) == b"y"
    os.close(reader)
    os.close(writer)


def test_a_hook_that_uses_them():
    """Were the locks taken by a hook of Python's, a hook after it would wait for them for ever."""
    event, items = Event(), Queue()
    used = []

    def use():
        if used is not None and items is not None:
            items.put(len(used))
            used.append(items.get())
            event.set()

    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks_sync.nothing).result()
        _HOOKS.append(use)
        try:
            forked(lambda: None)
        finally:
            _HOOKS.remove(use)
    assert used
    assert event.is_set()


_HOOKS = []
os.register_at_fork(
    before=lambda: [hook() for hook in _HOOKS],
    after_in_parent=lambda: [hook() for hook in _HOOKS],
    after_in_child=lambda: [hook() for hook in _HOOKS],
)
