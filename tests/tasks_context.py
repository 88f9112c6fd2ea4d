"""Context variables, and task functions that use them, for `routing/test_context_vars.py`."""

import asyncio
import decimal
import os
import threading
from contextvars import Context, ContextVar, copy_context

from subpool import interpreter

request = ContextVar("request", default="nobody")
user = ContextVar("user")
oddly_named = ContextVar("another name")
kept = []


class Unpacks:
    """What can be sent and not be rebuilt in a worker."""

    def __reduce__(self):
        return _refuse_in_worker, ()


def _refuse_in_worker():
    from subpool import worker

    if worker() is not None:
        raise RuntimeError("not in here")
    return Unpacks()


def read():
    """Give the request, and the user or ``None``."""
    return request.get(), user.get(None)


@interpreter
def tagged_read():
    return read()


def read_for(_item):
    return request.get()


def read_odd():
    return oddly_named.get("unset")


def set_both(value):
    """Set both and give what they were."""
    before = read()
    request.set(value)
    user.set(value)
    return before


def set_and_fail(value):
    request.set(value)
    raise LookupError(f"after {request.get()}")


def read_after(writing, reading):
    """Let another task of main go on, wait for it, and read then."""
    os.write(writing, b"x")
    os.read(reading, 1)
    return read()


def call_closure():
    return request.get()()


def describe_view():
    view = request.get()
    return type(view).__name__, view.nbytes, view[0]


def write_view():
    request.get()[0] = 7


def keep_size():
    return len(request.get())


def in_thread():
    """A thread of the task's sees nothing, unless it is given the context."""
    seen = []
    threads = [
        threading.Thread(target=lambda: seen.append(request.get()), context=Context()),
        threading.Thread(target=lambda: seen.append(request.get()), context=copy_context()),
    ]
    for thread in threads:
        thread.start()
        thread.join()
    return seen


def in_loop():
    """An event loop in the task: its tasks copy the context."""

    async def main():
        return await asyncio.gather(*(asyncio.to_thread(request.get) for _ in range(2)))

    return asyncio.run(main())


def initialize(value):
    """Set a variable, and what the decimal module keeps in one of its own."""
    request.set(value)
    decimal.getcontext().prec = 5


def read_precision():
    return request.get(), decimal.getcontext().prec


class Recorder:
    """Tells which request there is while it is pickled."""

    def __getstate__(self):
        return {"seen": request.get()}


def record():
    return Recorder()


def pair(_left, _right):
    return request.get()


def remember():
    kept.append(request.get())


def recall():
    return kept


def name_of(variable):
    return variable.name, variable is request


def set_and_spin(value, started):
    request.set(value)
    os.write(started, b"s")
    while True:
        pass
