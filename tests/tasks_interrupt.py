"""Task functions of the tests of interrupts. Imported in workers, so it imports little."""

import os
import sys
import weakref
from collections import deque
from itertools import chain, repeat
from time import sleep

from subpool import TaskInterrupted, interpreter, worker


def spin(started=None):
    """Compute for ever, after telling that it does."""
    if started is not None:
        os.write(started, b"s")
    while True:
        pass


class Finalized:
    """Computes when it goes."""

    def __del__(self):
        for _ in range(100_000):
            pass


def spin_in_finalizers(started):
    """Compute for ever in finalizers, hardly ever between them."""
    os.write(started, b"s")
    while True:
        Finalized()


def spin_in_callbacks(started):
    """The same in the callbacks of weak references."""
    os.write(started, b"s")
    while True:
        kept = weakref.ref(Waiting(), lambda _: [None for _ in range(100_000)])
        del kept


class Failing:
    """Raises when it goes."""

    def __del__(self):
        raise ValueError("in a finalizer")


class InterruptsAtTheEnd:
    def __del__(self):
        raise TaskInterrupted


def interrupt_in_finalizer():
    """Raise as an interrupt does, with no bytecode behind it."""
    last = InterruptsAtTheEnd()  # noqa: F841 - deleted as the function returns
    return "went on"


def interrupt_between_tasks():
    """The same when the result is no more: after the task."""
    return Ended()


class Ended(str):
    """Found in no pickle of it."""

    __slots__ = ("last",)

    def __new__(cls):
        made = super().__new__(cls, "went on")
        made.last = InterruptsAtTheEnd()
        return made

    def __reduce__(self):
        return str, (str(self),)


def interrupt_in_finalizer_of_thread():
    """The same on a thread of the task's."""
    import threading

    found = []

    def body():
        try:
            interrupt_in_finalizer()
            count_far()
            found.append("went on")
        except TaskInterrupted as error:
            found.append(repr(error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return found


def count_far():
    number = 0
    for _ in range(1000):
        number += 1
    return number


def fail_in_finalizer():
    Failing()
    return "went on"


class Waiting:
    """What goes at once."""


def in_c(started, count):
    """One C call that keeps the GIL, for some time; then a loop without end.

    That it has begun is told from within the call, so that no interrupt comes before it.
    """
    deque(chain(map(os.write, [started], [b"s"]), repeat(None, count)), maxlen=0)
    while True:
        pass


def clean_up(started, cleaned):
    try:
        spin(started)
    finally:
        os.write(cleaned, b"c")


def return_all_the_same(started):
    try:
        spin(started)
    except TaskInterrupted as error:
        return "returned", type(error).__module__, repr(error)


def raise_another(started):
    try:
        spin(started)
    except TaskInterrupted:
        raise LookupError("in its place") from None


def raise_it_with_arguments():
    raise TaskInterrupted("of my own")


def raise_it():
    raise TaskInterrupted


def swallow_exceptions(started):
    """`except Exception` must not catch an interrupt."""
    os.write(started, b"s")
    while True:
        try:
            while True:
                pass
        except Exception:  # noqa: S112
            continue


def read(started, fd):
    """Wait in a system call, with the GIL released."""
    os.write(started, b"s")
    return os.read(fd, 1)


MUCH = 1 << 20  # bytes, more than a pipe holds


def push(fd):
    """Wait in one system call, with the GIL released, until all of it was read.

    What can be read tells that the call has begun.
    """
    return os.write(fd, bytes(MUCH))


def push_again_and_again(fd, calls):
    """The same, whatever is raised between the calls."""
    done = 0
    while done < calls:
        try:
            while done < calls:
                done += 1
                push(fd)
        except TaskInterrupted:
            continue


def hurry():
    """Have this interpreter's threads take turns as often as they can."""
    sys.setswitchinterval(1e-6)


def short(number, turns):
    for _ in range(turns):
        sleep(0)  # gives the GIL away
    return number, worker().interpreter_id


def same_class():
    import subpool
    import subpool._bootstrap

    return (
        TaskInterrupted is subpool._bootstrap.TaskInterrupted is TaskInterrupted,
        TaskInterrupted,
        TaskInterrupted("and back"),
        subpool.TaskTimeout,
    )


class EndlessToMake:
    """Unpickled for ever in a worker, at once in main."""

    def __init__(self, started):
        self.started = started

    def __getstate__(self):
        return self.started

    def __setstate__(self, started):
        if worker() is not None:
            spin(started)


class EndlessToSend:
    """Pickled for ever."""

    def __init__(self, started):
        self.started = started

    def __reduce__(self):
        spin(self.started)


def endless_result(started):
    return EndlessToSend(started)


def endless_error(started):
    error = LookupError("cannot be sent")
    error.burden = EndlessToSend(started)
    raise error


def take(value):
    return value


tagged_spin = interpreter(spin)


class Spinner:
    """A class with a tagged method that has a time limit."""

    @interpreter(timeout=0.05)
    def spin(self):
        spin()


@interpreter(timeout=0.05)
def limited():
    spin()


@interpreter(timeout=1000)
def generous(first, second=0):
    return first + second


def spin_if(condition):
    if condition:
        spin()
    return condition


def push_if(fd):
    return push(fd) if fd is not None else None


def worker_id():
    return worker().id


def pool_and_end():
    """End a process with work in a pool."""
    from subpool import InterpreterPoolExecutor

    InterpreterPoolExecutor(1).submit(os.write, 1, b"done\n")
