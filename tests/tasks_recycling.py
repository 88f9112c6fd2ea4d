"""Task functions of the tests of workers that are replaced. Imported there."""

import os
import sys
import time
from pathlib import Path

import subpool


def where(_=None):
    """The interpreter's number, and the worker's."""
    info = subpool.worker()
    return info.interpreter_id, info.id


def when(_=None):
    """The worker's number, and from when to when it was at work."""
    begun = time.monotonic_ns()
    for _ in range(1000):
        pass
    return subpool.worker().id, begun, time.monotonic_ns()


def begin(path, failing=()):
    """An initializer that writes down in which interpreter it runs, and fails some times."""
    with Path(path).open("a") as file:
        file.write(f"{subpool.worker().interpreter_id}\n")
        file.flush()
    if len(Path(path).read_text().split()) in failing:
        raise LookupError("not this time")
    sys.begun_in = subpool.worker().interpreter_id


def begun_in(_=None):
    return sys.begun_in, subpool.worker().interpreter_id


def count(key="count"):
    """How often it was called in this interpreter."""
    counts = sys.__dict__.setdefault("counts", {})
    counts[key] = counts.get(key, 0) + 1
    return counts[key]


def count_on_thread():
    import _thread

    return count(), _thread.get_native_id()


def slow_hook(reader, started):
    """What `closes_slowly` has CPython call as its interpreter closes."""
    os.write(started, b"s")
    os.read(reader, 1)


def by_atexit(reader, started):
    import atexit
    import threading  # noqa: F401 - without it, CPython calls the function later

    atexit.register(slow_hook, reader, started)


def by_atexit_without_threading(reader, started):
    import atexit

    atexit.register(slow_hook, reader, started)


def by_hook(reader, started):
    import threading

    threading._register_atexit(slow_hook, reader, started)


class SlowToDelete:
    def __init__(self, reader, started):
        self.fds = reader, started

    # By defaults, since the globals are gone by then.
    def __del__(self, read=os.read, write=os.write):
        reader, started = self.fds
        write(started, b"s")
        read(reader, 1)


def by_finalizer(reader, started):
    sys.slow = SlowToDelete(reader, started)


def by_ordinary_thread(reader, started):
    import threading

    threading.Thread(target=slow_hook, args=(reader, started), name="ordinary one").start()


def begin_and_stay(path, failing, how, pipes, held=None):
    """`begin`; if it fails, its interpreter does not close before it may."""
    reader, _, _, started = pipes
    try:
        begin(path, failing)
    except LookupError:
        if held is not None:
            os.read(held, 1)
        globals()[how](reader, started)
        raise


class OwnType(type):
    """As h11's sentinels."""

    def __new__(cls, name, bases, namespace):
        made = super().__new__(cls, name, bases, namespace)
        made.__class__ = made
        return made

    def __setattr__(cls, name, value):
        if name != "__class__" or value is not cls:
            raise LookupError("nobody may")
        type.__setattr__(cls, name, value)  # `super()` would take it for a class method


def own_types(content):
    """Types that are their own, one of them with something that is seen to be let go of."""
    sys.own = OwnType("Own", (OwnType,), {"content": content})
    assert type(sys.own) is sys.own
    return "made"
