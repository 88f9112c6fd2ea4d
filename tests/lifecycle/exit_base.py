"""What the programs of the tests of exits have in common.

Each runs in a process of its own (exit_children.py), after the prelude, and prints nothing on
standard error unless its row says so.
"""

from typing import NamedTuple

PRELUDE = """
import _thread, asyncio, atexit, builtins, gc, os, signal, sys, tasks, tasks_interrupt, threading
import subpool
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def attempt(call, *args):
    try:
        call(*args)
    except RuntimeError as error:
        say(error)
    else:
        say("accepted")

def busy(executor, tasks=1):
    '''Occupy workers with tasks that end when somebody writes to `release`, and wait for them.'''
    global release
    reader, writer = os.pipe()
    gate, release = os.pipe()
    futures = [executor.submit(interpreter(tasks_.block), writer, gate) for _ in range(tasks)]
    for _ in range(tasks):
        os.read(reader, 1)
    return futures

def spinning(executor, tasks=1):
    '''Occupy workers with tasks that never end.'''
    reader, writer = os.pipe()
    spin = interpreter(tasks_interrupt.spin)
    futures = [executor.submit(spin, writer) for _ in range(tasks)]
    for _ in range(tasks):
        os.read(reader, 1)
    return futures

tasks_ = tasks
"""

TOO_LATE = "cannot schedule new futures after interpreter shutdown"
NO_POOL = (
    "cannot make a pool while the program ends: make it, and wait for its results, before the main "
    "thread comes to its end; or call the function itself (of a tagged one, its __wrapped__)"
)
NO_IMPORT = (
    "cannot load subpool's executors while the program ends: make the pool, and wait for its "
    "results, before the main thread comes to its end"
)


# After a KeyboardInterrupt in main. Python forgets that it was one, and exits with 1, when
# something evaluates a text before the end, as the first imports of a worker do on 3.13.
INTERRUPTED = (-2, 1)


class Program(NamedTuple):
    code: str
    rc: int | tuple[int, ...] = 0
    # What it prints, but for the order of its lines; or several such.
    out: str | tuple[str, ...] = ""
    # The last line on standard error. Anything else there must be part of its traceback.
    err: str = ""
