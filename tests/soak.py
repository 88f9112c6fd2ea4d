"""The soak: everything at once, for as long as wanted. ``make soak SECONDS=600 SEED=7``.

Each round draws a pool's options from the seed and the round's number, runs the mix of `load` on it
and beside that pools that come and go, calls that go to threads and processes instead, and forks.
After each round no thread, no interpreter and no file may be left over, and at the end the
process may have grown by no more than `GROWTH` says.

Prints the seed first, and how to repeat the round that failed.
"""

import argparse
import ctypes
import faulthandler
import gc
import logging
import os
import random
import sys
import time
import warnings
from concurrent import futures
from pathlib import Path

import tasks
from load import run_mix
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor
from support import eventually, interpreters, os_threads

try:
    import numpy  # noqa: F401
except ImportError:
    tasks_numpy = None
else:
    import tasks_numpy

# Megabytes between an early round and the last one; and for each interpreter closed in between,
# of which CPython itself keeps some kilobytes.
GROWTH = 20
KEPT = 0.04
# Rounds after which all has been there once: caches are filled, arenas are made.
EARLY = 5
HANG = 300


def megabytes():
    """What the process has in memory, without what its allocators keep for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    rollup = Path("/proc/self/smaps_rollup").read_text()
    kilobytes = next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(kilobytes) / 1024


def come_and_go(source):
    """Pools that live for a few calls."""
    for _ in range(source.randrange(1, 4)):
        end = source.choice(["with", "cancel", "drop", "terminate"])
        pool = InterpreterPoolExecutor(
            source.randrange(1, 3), max_pending=source.choice([None, 1, 5])
        )
        got = [pool.submit(tasks.add, i, 1) for i in range(source.randrange(30))]
        match end:
            case "with":
                assert [future.result() for future in got] == list(range(1, len(got) + 1))
            case "terminate":
                pool.terminate_workers()
            case "drop":
                waiting = pool._pool.threads()
                del pool
                for future in got:
                    future.result()
                for thread in waiting:
                    thread.join()
                continue
        pool.shutdown(cancel_futures=end == "cancel")
        assert all(future.done() for future in got)


def go_elsewhere(source):
    """Calls that no interpreter can run."""
    if tasks_numpy is None:
        return
    with InterpreterPoolExecutor(
        1, fallback=source.choice(["thread", "thread", "process"]), max_pending=2
    ) as pool:
        got = [pool.submit(tasks_numpy.total, [i, 1]) for i in range(10)]
        assert [future.result() for future in got] == list(range(1, 11))


def fork(source):
    """Processes that are forked while all the rest runs; in each a pool of its own works."""
    for _ in range(source.randrange(1, 3)):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with InterpreterPoolExecutor(1) as pool:
                    status = pool.submit(tasks.add, 0, 0).result()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the child of a fork failed"


BESIDE = [come_and_go, go_elsewhere, fork]


def one_round(seed, number):
    """Run one round; give how many calls it made, and what pool it was."""
    source = random.Random(f"{seed}/{number}")  # noqa: S311
    options = {
        "max_interpreters": source.choice([1, 2, 2, 3]),
        "max_pending": source.choice([None, 1, 8, 100]),
        "max_tasks_per_interpreter": source.choice([None, 20, 200]),
        "idle_timeout": source.choice([None, 0.01]),
    }
    calls = source.choice([100, 300, 1000])
    executor = InterpreterThreadPoolExecutor(**options)
    with futures.ThreadPoolExecutor(len(BESIDE) + 1, "subpool-soak") as threads:
        running = [threads.submit(run_mix, executor, f"{seed}/{number}", calls)]
        running += [
            threads.submit(part, random.Random(f"{seed}/{number}/{part.__name__}"))  # noqa: S311
            for part in BESIDE
        ]
        ends, *_ = [one.result() for one in running]
    return sum(ends.values())


def soak(seconds, seed, first=0, rounds=None):
    """Run rounds until the time is over."""
    made = 0
    alive, files = interpreters(), None
    begin = told = time.monotonic()
    grown = []
    closed = early_closed = 0
    number = first
    while rounds is None or number < first + rounds:
        now = time.monotonic()
        if now > begin + seconds and number > first:
            break
        faulthandler.dump_traceback_later(HANG, exit=True)
        before = set(os_threads())
        try:
            made += one_round(seed, number)
            eventually(lambda: interpreters() == alive, "the end of all interpreters")
            nobody_is_left(before)
            open_files = len(list(Path("/proc/self/fd").iterdir()))
            assert files is None or open_files <= files, f"{open_files - files} files are left open"
        except BaseException:
            print(f"\nround {number} failed. To repeat it: make soak SEED={seed} ROUND={number}")
            raise
        closed = interpreters_so_far()
        if number == first + EARLY:
            files, early_closed = open_files, closed
        grown.append(megabytes())
        if time.monotonic() > told + 30:
            told = time.monotonic()
            print(f"{told - begin:.0f} s: {number - first + 1} rounds, {made} calls, "
                  f"{grown[-1]:.1f} MB", flush=True)  # fmt: skip
        number += 1
    faulthandler.cancel_dump_traceback_later()
    early = max(grown[: EARLY + 1])
    print(
        f"clean: {number - first} rounds, {made} calls, {closed} interpreters, "
        f"{time.monotonic() - begin:.0f} s, {early:.1f} MB early and {grown[-1]:.1f} MB last"
    )
    allowed = GROWTH + KEPT * (closed - early_closed)
    assert grown[-1] < early + allowed, f"it has grown by more than {allowed:.1f} MB"


def interpreters_so_far():
    """How many there have been: their numbers only grow."""
    with InterpreterPoolExecutor(1) as pool:
        return pool.submit(tasks.interpreter_id).result()


def nobody_is_left(before):
    # What main keeps: the completer's threads, and for a while those of the fallback.
    def strangers():
        threads = os_threads().items()
        return {n for i, n in threads if i not in before and not n.startswith("subpool-")}

    eventually(lambda: not strangers(), f"the end of {strangers()}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default="")
    parser.add_argument("--round", default="", help="this one alone")
    given = parser.parse_args()
    seed = given.seed or str(random.SystemRandom().randrange(10**6))
    print(f"soak: SEED={seed}, {given.seconds:g} s, Python {sys.version.split()[0]}", flush=True)
    # What callbacks of the mix raise.
    logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    faulthandler.enable()
    if given.round:
        soak(given.seconds, seed, int(given.round), 1)
    else:
        soak(given.seconds, seed)


if __name__ == "__main__":
    main()
