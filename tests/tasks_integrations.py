"""Task functions for the tests of the integrations; what a program's own module would hold."""

import contextvars
import os

from subpool import TaskInterrupted
from subpool.integrations.aiointerpreters import InterpreterThreadPoolExecutor, Runner, interpreter
from subpool.integrations.fasterapi import SubInterpreterPool
from tasks import interpreter_id

# Named by the module's own code, in workers too.
KINDS = InterpreterThreadPoolExecutor, Runner, SubInterpreterPool
greeting = contextvars.ContextVar("greeting", default="unset")


class WrongNumberError(Exception):
    """An exception of a program's own."""


def square(number):
    return number * number


def fail_with(number):
    raise WrongNumberError(number)


def power(base, *, exponent):
    return base**exponent


def where_and(value):
    return interpreter_id(), value


def block_and_tell_where(started, release):
    """Say that the task runs, wait for a word, and tell the interpreter."""
    os.write(started, b"s")
    os.read(release, 1)
    return interpreter_id()


def block_then_write(started, release, fd):
    os.write(started, b"s")
    os.read(release, 1)
    os.write(fd, b"w")


def spin(started):
    """Say that the task runs, and never end."""
    os.write(started, b"s")
    while True:
        pass


def spin_and_clean_up(started, told):
    try:
        os.write(started, b"s")
        while True:
            pass
    except TaskInterrupted:
        os.write(told, b"c")
        raise


def deaf(started, release):
    """As if stuck in a blocking call, wherever the interrupt finds it."""
    try:
        os.write(started, b"s")
        os.read(release, 1)
    except TaskInterrupted:
        os.read(release, 1)


def thread_state_and_thread():
    """Tell the number of the thread state, counted in its interpreter, and of the thread."""
    import ctypes
    import threading

    current = ctypes.pythonapi.PyThreadState_Get
    current.restype = ctypes.c_void_p
    number = ctypes.pythonapi.PyThreadState_GetID
    number.argtypes, number.restype = [ctypes.c_void_p], ctypes.c_uint64
    return number(current()), threading.get_native_id()


def tell_greeting():
    return greeting.get()


@interpreter
def decorated(number):
    return interpreter_id(), number + 1


def with_a_lock():
    import threading

    return threading.Lock()


def note_interpreter(fd):
    """As an initializer: note whose interpreter it ran in."""
    os.write(fd, f"{interpreter_id()}\n".encode())
