"""Queues and events between the main interpreter and a worker, beside what else there is.

    python bench/sharing.py [--quick] [--json FILE]

All of them in one run, one after the other in each round, so that a round's ratios are of one
moment; the table has the medians. `concurrent.interpreters.Queue` is there from Python 3.14 on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import queue
import statistics
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subpool import Event, InterpreterPoolExecutor, Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Seconds for each measurement of a round.
BUDGET = 0.3
OURS = "subpool.Queue"
SMALL, LARGE = 7, {"rows": [(number, str(number)) for number in range(100)]}


def echo(questions: Any, answers: Any) -> None:
    """Send back what comes, until that is None."""
    while (item := questions.get()) is not None:
        answers.put(item)


def bounce(there: Any, back: Any, times: int) -> None:
    for _ in range(times):
        there.wait()
        there.clear()
        back.set()


async def echo_in_loop(questions: Any, answers: Any) -> None:
    while (item := await questions.get_async()) is not None:
        await answers.put_async(item)


def run_loop(questions: Any, answers: Any) -> None:
    asyncio.run(echo_in_loop(questions, answers))


@contextmanager
def ours(echo: Callable[[Any, Any], None] = echo) -> Iterator[tuple[Any, Any]]:
    questions, answers = Queue[Any](), Queue[Any]()
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(echo, questions, answers)
        yield questions, answers
        questions.put(None)


@contextmanager
def standard() -> Iterator[tuple[Any, Any]]:
    from concurrent import interpreters

    questions, answers = interpreters.create_queue(), interpreters.create_queue()
    interpreter = interpreters.create()
    interpreter.prepare_main(questions=questions, answers=answers)
    code = "while (item := questions.get()) is not None:\n    answers.put(item)\n"
    thread = threading.Thread(target=interpreter.exec, args=(code,))
    thread.start()
    yield questions, answers
    questions.put(None)
    thread.join()
    interpreter.close()


@contextmanager
def threads() -> Iterator[tuple[Any, Any]]:
    questions, answers = queue.Queue[Any](), queue.Queue[Any]()
    thread = threading.Thread(target=echo, args=(questions, answers))
    thread.start()
    yield questions, answers
    questions.put(None)
    thread.join()


@contextmanager
def processes() -> Iterator[tuple[Any, Any]]:
    context = multiprocessing.get_context("spawn")
    questions, answers = context.Queue(), context.Queue()
    process = context.Process(target=echo, args=(questions, answers))
    process.start()
    yield questions, answers
    questions.put(None)
    process.join()


PAIRS = {
    OURS: ours,
    "subpool.Queue, loop in the worker": lambda: ours(run_loop),
    "concurrent.interpreters.Queue": standard,
    "queue.Queue, a thread": threads,
    "multiprocessing.Queue": processes,
}


def round_trip(pair: tuple[Any, Any], item: object, budget: float) -> float:
    """Give the seconds of one item there and back."""
    questions, answers = pair
    begin, times = time.perf_counter(), 0
    while times < 3 or time.perf_counter() - begin < budget:
        questions.put(item)
        answers.get()
        times += 1
    return (time.perf_counter() - begin) / times


def burst(pair: tuple[Any, Any], item: object, budget: float) -> float:
    """Give the seconds of an item of many that go at once."""
    questions, answers = pair
    # As many as take the time, by what a few have taken.
    once = min(round_trip(pair, item, 0) for _ in range(3))
    times = max(min(int(budget / once), 5_000), 20)
    begin = time.perf_counter()
    for _ in range(times):
        questions.put(item)
    for _ in range(times):
        answers.get()
    return (time.perf_counter() - begin) / times


def events(pool: InterpreterPoolExecutor, _item: object, budget: float) -> float:
    """Give the seconds of a set in main and one in a worker that answers it."""
    there, back = Event(), Event()
    times = int(budget / 40e-6)
    future = pool.submit(bounce, there, back, times)
    begin = time.perf_counter()
    for _ in range(times):
        there.set()
        back.wait()
        back.clear()
    seconds = (time.perf_counter() - begin) / times
    future.result()
    return seconds


KINDS = {
    "round trip, an int": (round_trip, SMALL),
    "round trip, 100 rows": (round_trip, LARGE),
    "burst, an int": (burst, SMALL),
}


def measure(rounds: int, budget: float) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    found["round trip of events"] = {"subpool.Event": []}
    with ExitStack() as stack:
        pairs = {}
        for name, make in PAIRS.items():
            if make is standard and sys.version_info < (3, 14):
                continue
            pairs[name] = stack.enter_context(make())
        pool = stack.enter_context(InterpreterPoolExecutor(1))
        for pair in pairs.values():
            round_trip(pair, SMALL, 0)
        events(pool, None, 1e-3)
        for _ in range(rounds):
            for kind, (measured, item) in KINDS.items():
                for name, pair in pairs.items():
                    found[kind].setdefault(name, []).append(measured(pair, item, budget))
            found["round trip of events"]["subpool.Event"].append(events(pool, None, budget))
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    lines = []
    for kind, rows in found.items():
        own = rows.get(OURS)
        lines += [f"| {kind} | µs | of subpool.Queue's |", "| --- | ---: | ---: |"]
        for name, seconds in rows.items():
            # Round by round, so that what disturbs a round disturbs both.
            ratio = own and statistics.median(
                one / base for one, base in zip(seconds, own, strict=True)
            )
            shown = f"{ratio:.2f}" if ratio else ""
            lines.append(f"| {name} | {statistics.median(seconds) * 1e6:.1f} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    found = measure(1, 0.02) if options.quick else measure(7, BUDGET)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
