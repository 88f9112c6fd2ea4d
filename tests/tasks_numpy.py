"""Tasks of a module that no interpreter of its own can import: numpy refuses to load there."""

import os
import threading
import time
from contextvars import ContextVar

import numpy as np

import subpool
from forking import forked

seen = []
request = ContextVar("request", default=None)


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is type(self) and other.x == self.x

    def __hash__(self):
        return hash(self.x)


class PartError(ValueError):
    def __init__(self, part, whole):
        super().__init__(f"{part} of {whole}")
        self.part = part


def total(numbers):
    return int(np.sum(numbers))


def forked_total(numbers):
    """Fork in a thread that runs a call, and add up in the child."""
    return forked(lambda: total(numbers))


def double(numbers):
    return np.asarray(numbers) * 2


def fail(part, *, whole):
    np.arange(1)
    raise PartError(part, whole)


def spin(writer=None):
    np.arange(1)
    if writer is not None:
        os.write(writer, b"x")
    while True:
        pass


def stay(reader, writer=None):
    """Wait in a C call, which no interrupt ends."""
    np.arange(1)
    if writer is not None:
        os.write(writer, b"x")
    while True:
        try:
            return os.read(reader, 1)
        except subpool.TaskInterrupted:
            continue


def stay_until(path):
    """Wait until the file is there, with a look now and then: processes share no pipe with us."""
    np.arange(1)
    while not os.path.exists(path):  # noqa: PTH110 - a path travels as a text
        time.sleep(0.01)


def nap(seconds):
    """The same, for a process, which ends when it is told to."""
    np.arange(1)
    while True:
        try:
            return time.sleep(seconds)
        except subpool.TaskInterrupted:
            continue


def place():
    np.arange(1)
    return os.getpid(), threading.current_thread().name, subpool.worker() is not None


def vanish(status):
    np.arange(1)
    os._exit(status)


def value_of_request():
    np.arange(1)
    return request.get()


def remember(what):
    np.arange(1)
    seen.append(what)


def remembered():
    np.arange(1)
    return list(seen)


def unpicklable():
    np.arange(1)
    return {"a": [1, threading.Lock()]}


def grow(numbers):
    """Change the caller's list, if it is the caller's."""
    np.arange(1)
    numbers.append(4)
    return numbers


# What needs no numpy.


def increment(number):
    return number + 1


def move(point):
    return Point(point.x + 1)


def step(number):
    return increment(number)


lock = threading.Lock()


def locked(number):
    with lock:
        return number
