"""Task functions of the tests of events, queues and locks. Imported in workers."""

import asyncio
import queue
import threading
import time

import subpool
from subpool import worker

KEPT = []


def nothing(*_):
    pass


def wait(event, timeout=None):
    return event.wait(timeout)


def wait_again_and_again(event, caught):
    """Catch the interrupt and wait on: what was raised once is not raised again."""
    try:
        event.wait()
    except subpool.TaskInterrupted:
        caught.set()
        return event.wait(20)
    return "was not interrupted"


def set_event(event):
    event.set()


def set_and_give(event):
    event.set()
    return event


def make(kind, *args):
    return getattr(subpool, kind)(*args)


def same(one, other):
    return one == other and hash(one) == hash(other) and one is not other


def echo(questions, answers):
    """Send back what comes, until the queue is shut down."""
    try:
        while True:
            answers.put(questions.get())
    except queue.ShutDown:
        answers.shutdown()


def get(items, block=True, timeout=None):
    return items.get(block, timeout)


def put(items, *values, **options):
    for value in values:
        items.put(value, **options)


def put_made(items, make):
    items.put(make())


def put_lock(items):
    items.put([1, {"deep": threading.Lock()}])


def outcome(method, shared, *args):
    """Tell what a call raises."""
    try:
        return getattr(shared, method)(*args)
    except Exception as error:
        return type(error).__name__


def interpreter():
    return worker().interpreter_id


def put_interpreters(items, number):
    for _ in range(number):
        items.put(worker().interpreter_id)


def count_under(lock, counter, times):
    """Read, change and write under the lock; the counter is memory that all see."""
    for _ in range(times):
        with lock:
            value = counter[0]
            time.sleep(0)
            counter[0] = value + 1


def hold(lock, held, release):
    with lock:
        held.set()
        release.wait()


def acquire_and_keep(lock):
    return lock.acquire()


def acquire(lock, told=None):
    with lock:
        if told is not None:
            told.put(worker().interpreter_id)


def in_daemon(event, *more):
    """Leave a daemon thread behind that waits."""
    thread = threading.Thread(target=event.wait, args=more, daemon=True)
    thread.start()
    KEPT.append(thread)


def get_in_daemon(items):
    thread = threading.Thread(target=items.get, daemon=True)
    thread.start()


def wait_async(event, timeout=None):
    return asyncio.run(event.wait_async(timeout))


def get_async(items):
    return asyncio.run(items.get_async())


def abandon_awaits(items, lock):
    """Leave a loop behind with coroutines that wait in it, and all of it without an end."""

    async def main():
        tasks = [asyncio.ensure_future(items.get_async()), asyncio.ensure_future(locked(lock))]
        await asyncio.sleep(0)
        return tasks

    loop = asyncio.new_event_loop()
    tasks = loop.run_until_complete(main())
    KEPT.append((loop, tasks))


async def locked(lock):
    async with lock:
        pass


def echo_async(questions, answers):
    async def main():
        while (item := await questions.get_async()) is not None:
            await answers.put_async(item)

    asyncio.run(main())


def many_waits(events):
    """Wait for many events in one loop; tell how many descriptors that takes."""
    import os

    async def main():
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no import of pathlib here
        waits = [asyncio.ensure_future(event.wait_async()) for event in events]
        await asyncio.sleep(0)
        within = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no import of pathlib here
        events[0].set()
        await waits[0]
        for event in events:
            event.set()
        return within - before, sum(await asyncio.gather(*waits))

    return asyncio.run(main())


class Named(subpool.Event):
    """A class of the program's own."""


def make_named():
    return Named()


class Titled(subpool.Event):
    """One with attributes."""

    def __init__(self, title):
        super().__init__()
        self.title = title


class Slotted(subpool.Lock):
    """One with a slot."""

    __slots__ = ("title",)


def title_and_same(shared):
    return shared.title, shared


def wait_in_a_loop_of_another_thread(event):
    """Run a loop here that another thread ran first."""
    loop = asyncio.new_event_loop()
    try:
        first = threading.Thread(target=lambda: loop.run_until_complete(event.wait_async(0)))
        first.start()
        first.join()
        return loop.run_until_complete(event.wait_async())
    finally:
        loop.close()


def needs_refused(event):
    import numpy as np

    return np.zeros(1), event


def put_into_reply(items, value):
    items.get()["reply"].put(value)


def put_numbers(items, start, number):
    for value in range(start, start + number):
        items.put(value)


def shut(items):
    items.shutdown()


def join(items):
    return items.join()


class Sour:
    """What can be pickled and not unpickled."""

    def __reduce__(self):
        return int, ("no number",)


def has_imported(module):
    import sys

    return module in sys.modules


def wait_long(event):
    return event.wait(1000)


def put_two(items):
    items.put(2)


def set_and_wait(told, event):
    told.set()
    event.wait()


def enter_after_a_long_step(lock, begins):
    """Wait right after a jump backwards that comes after a long step without a look."""
    enter, number = lock.__enter__, 7**60_000
    begins.set()
    for turn in (1, 2):
        if turn == 2:
            enter()
        number**6
