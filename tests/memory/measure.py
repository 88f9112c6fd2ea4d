"""Programs that measure their own memory: `python measure.py NAME COUNT` prints figures as JSON.

What counts are the pages that are this process's own (`support.megabytes`).
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path

import tasks_memory
from subpool import InterpreterPoolExecutor, TaskTimeout, interpreter
from subpool._subpool import _lent_buffers
from support import megabytes


def cycles(count):
    """Pools that are made, used and shut down."""
    for _ in range(count):
        with InterpreterPoolExecutor(1) as pool:
            pool.submit(tasks_memory.import_nothing).result()


def restarts(name):
    """Interpreters of one pool that import something and are replaced."""

    def run(count):
        task = getattr(tasks_memory, f"import_{name}")
        with InterpreterPoolExecutor(1, max_tasks_per_interpreter=1) as pool:
            for _ in range(count):
                pool.submit(task).result()

    return run


def ended(futures):
    wait(futures)
    for future in futures:
        try:
            future.result()
        except (LookupError, CancelledError, TaskTimeout):
            continue


KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


@kind
def values(pool, numbers):
    ended([pool.submit(tasks_memory.both, number, more={"text": "x" * 50}) for number in numbers])


@kind
def batches(pool, numbers):
    sum(1 for _ in pool.map(tasks_memory.both, numbers))
    sum(1 for _ in pool.map(tasks_memory.both, numbers, chunksize=10))


@kind
def by_value(pool, numbers):
    """A function of its own for each call, as a lambda in a loop is."""
    ended([pool.submit(lambda number=number: number + len(numbers)) for number in numbers[::10]])


@kind
def exceptions(pool, numbers):
    ended([pool.submit(tasks_memory.fail, number) for number in numbers[::4]])


@kind
def buffers(pool, numbers):
    content = memoryview(bytearray(10_000))
    futures = [pool.submit(tasks_memory.part, content) for _ in numbers]
    futures += [pool.submit(tasks_memory.rest, content) for _ in numbers]
    ended(futures)
    ended([pool.submit(tasks_memory.both, bytes(100_000)) for _ in numbers[::10]])


@kind
def output(pool, numbers):
    ended([pool.submit(tasks_memory.say, f"line {number}") for number in numbers])
    ended([pool.submit(tasks_memory.say_in_part, f"part {number}") for number in numbers[::10]])


@kind
def timeouts(pool, numbers):
    tagged = interpreter(timeout=60.0)(tasks_memory.both)
    ended([pool.submit(tagged, number) for number in numbers])


@kind
def cancelled(pool, numbers):
    futures = [pool.submit(tasks_memory.both, number) for number in numbers]
    for future in futures:
        future.cancel()
    ended(futures)


@kind
def callbacks(pool, numbers):
    done = threading.Semaphore(0)
    for number in numbers:
        pool.submit(tasks_memory.both, number).add_done_callback(lambda _: done.release())
    for _ in numbers:
        done.acquire()


@kind
def environments(pool, numbers):
    for number in numbers[::20]:
        os.environ["OF_THE_MOMENT"] = str(number)
        pool.submit(tasks_memory.both, number).result()


def tasks(count):
    """Tasks of all kinds, in rounds."""
    with InterpreterPoolExecutor(2) as pool:
        while (left := count - pool.stats().submitted) > 0:
            for function in KINDS.values():
                function(pool, range(min(left, 2000)))


def main(name, count):
    """Do something a few times, measure, do it `count` times, and measure again."""
    sys.stdout, told = Path(os.devnull).open("w"), sys.stdout  # noqa: SIM115 - to the end
    program, first = {
        "cycles": (cycles, 5),
        "h11": (restarts("h11"), 3),
        "hypercorn": (restarts("hypercorn"), 1),
        "django": (restarts("django"), 1),
        # The table of environments is full after 1024.
        "tasks": (tasks, 300_000 if count >= 1_000_000 else 10_000),
    }[name]
    program(first)
    before, begun = megabytes(), time.monotonic()
    program(count)
    seconds = time.monotonic() - begun
    after = megabytes()
    figures = {
        "before": before,
        "after": after,
        "growth": after - before,
        "seconds": seconds,
        "lent": _lent_buffers(),
    }
    json.dump({key: round(value, 2) for key, value in figures.items()}, told)
    told.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
