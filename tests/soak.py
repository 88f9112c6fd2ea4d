"""The soak: everything at once, for as long as wanted. ``make soak SECONDS=600 SEED=7``.

Each round draws a pool's options from the seed and the round's number, runs the mix of `load` on it
and beside that pools that come and go, calls that go to threads and processes instead, and forks.
After each round no thread, no interpreter and no file may be left over, and at the end the
process may have grown by no more than `GROWTH` says, if there were rounds enough to tell.

Prints the seed first, and how to repeat the round that failed.
"""

import argparse
import faulthandler
import itertools
import logging
import os
import random
import sys
import time
import traceback
import warnings
from concurrent import futures
from pathlib import Path

import tasks
from load import run_mix
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, _fallback, _fork
from support import eventually, interpreters, megabytes, os_threads

try:
    import numpy  # noqa: F401
except ImportError:
    tasks_numpy = None
else:
    import tasks_numpy

# Megabytes between the early rounds, in which caches are filled and arenas made, and the last ones.
# CPython 3.13 itself loses 1.7 to 3.4 with each interpreter that is closed.
GROWTH = 10 if sys.version_info >= (3, 14) else None
EARLY = 5
HANG = 300


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
            except BaseException:
                traceback.print_exc()
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


def soak(seconds, seed, numbers):
    """Run the rounds of these numbers until the time is over."""
    made, grown, files = 0, [], []
    alive = interpreters()
    begin = told = time.monotonic()
    for number in numbers:
        if grown and time.monotonic() > begin + seconds:
            break
        faulthandler.dump_traceback_later(HANG, exit=True)
        before = set(os_threads())
        try:
            made += one_round(seed, number)
            eventually(lambda: interpreters() <= alive, "the end of all interpreters")
            nobody_is_left(before)
            files.append(open_files())
            most = max(files[:EARLY])
            # Processes of a fallback have some until they are ended.
            eventually(lambda most=most: open_files() <= most, f"no more than {most} open files")
        except BaseException:
            print(f"\nround {number} failed. To repeat it: make soak SEED={seed} ROUND={number}")
            raise
        grown.append(megabytes())
        if time.monotonic() > told + 30:
            told = time.monotonic()
            print(f"{told - begin:.0f} s: {len(grown)} rounds, {made} calls, "
                  f"{grown[-1]:.1f} MB", flush=True)  # fmt: skip
    faulthandler.cancel_dump_traceback_later()
    what = (
        f"{len(grown)} rounds, {made} calls, {interpreters_so_far()} interpreters, "
        f"{time.monotonic() - begin:.0f} s"
    )
    if GROWTH is None or len(grown) < 2 * EARLY:
        print(f"clean: {what}; memory was not judged: too few rounds, or Python 3.13")
        return
    early, last = max(grown[:EARLY]), min(grown[-EARLY:])
    assert last < early + GROWTH, f"{what}: grown from {early:.1f} to {last:.1f} MB"
    print(f"clean: {what}, {early:.1f} MB early and {last:.1f} MB last")


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


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
    # So that processes come and go, too; and no warning of a fork because the machine is busy.
    _fallback._IDLE, _fork._PATIENCE = 0.5, 120
    # One alone as often as files that are left open take to be noticed.
    numbers = itertools.repeat(int(given.round), 2 * EARLY) if given.round else itertools.count()
    soak(given.seconds, seed, numbers)


if __name__ == "__main__":
    main()
