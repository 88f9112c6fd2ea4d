"""One round over one pool: all measurements, in seconds.

Only one pool is open at a time, so that no idle workers of another disturb it, and each
round opens a new one, so that a lucky or unlucky pool is one sample and not all of them.
Nothing else runs in this process meanwhile: no progress bar, whose thread would take the GIL.
The garbage collector stays on, as it is for everyone else; it only starts from a clean slate.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cases import add, fib, who

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from peers import Peer, Task

WARM_UP_TASKS = 500
WARM_UP_DEADLINE = 60.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything.  `burst` scales each peer's own number of tasks."""

    burst: float = 1.0
    round_trips: int = 2_000
    cpu_tasks: int = 16
    cpu_argument: int = 29  # about 50 ms each on a machine of 2025


QUICK = Sizes(burst=0.1, round_trips=300, cpu_tasks=8, cpu_argument=27)

type Sample = dict[str, float]


def measure(peer: Peer, workers: int, sizes: Sizes) -> Sample:
    """Open a pool of this kind, measure everything and close it."""
    gc.collect()
    task = peer.tag(add)
    start = time.perf_counter()
    with peer.make(workers) as executor:
        check(executor.submit(task, 1, 2).result() == 3, peer.label)
        sample = {"first_result": time.perf_counter() - start}
        warm_up(executor, peer, workers)
        sample["burst"] = burst(executor, task, int(peer.burst * sizes.burst))
        sample |= round_trips(executor, task, sizes.round_trips)
        # Right before the parallel run, for a noisy neighbour seldom stays for just one of them.
        sample["sequential"] = cpu_bound_sequential(sizes)
        sample["cpu"] = cpu_bound(executor, peer.tag(fib), sizes)
    return sample


def warm_up(executor: Executor, peer: Peer, workers: int) -> None:
    """Wait until every worker has run something, in the same way for all pools."""
    seen: set[tuple[int, int]] = set()
    deadline = time.monotonic() + WARM_UP_DEADLINE
    while len(seen) < workers:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{peer.label}: {len(seen)} of {workers} workers answered")
        # Each sleeps, so that no worker can take them all.
        futures = [executor.submit(peer.tag(who), 0.02) for _ in range(workers)]
        seen.update(future.result() for future in futures)
    burst(executor, peer.tag(add), WARM_UP_TASKS)


def burst(executor: Executor, task: Task, tasks: int) -> float:
    """Submit everything, then collect everything: seconds per task."""
    gc.collect()
    submit = executor.submit
    start = time.perf_counter()
    futures = [submit(task, i, i) for i in range(tasks)]
    results = [future.result() for future in futures]
    elapsed = time.perf_counter() - start
    check(results == [2 * i for i in range(tasks)], "burst")
    return elapsed / tasks


def round_trips(executor: Executor, task: Task, trips: int) -> Sample:
    """Submit one call and wait for it, again and again: the median and the 99th percentile."""
    gc.collect()
    submit = executor.submit
    times = []
    for i in range(trips):
        start = time.perf_counter()
        submit(task, i, i).result()
        times.append(time.perf_counter() - start)
    return {
        "round_trip": statistics.median(times),
        "round_trip_p99": statistics.quantiles(times, n=100)[98],
    }


def cpu_bound_sequential(sizes: Sizes) -> float:
    """Run the same tasks here, one after another."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(sizes.cpu_tasks):
        fib(sizes.cpu_argument)
    return time.perf_counter() - start


def cpu_bound(executor: Executor, task: Task, sizes: Sizes) -> float:
    """Run the CPU-bound tasks on all workers: seconds for all of them."""
    gc.collect()
    start = time.perf_counter()
    futures = [executor.submit(task, sizes.cpu_argument) for _ in range(sizes.cpu_tasks)]
    results = [future.result() for future in futures]
    elapsed = time.perf_counter() - start
    check(len(set(results)) == 1, "CPU-bound work")
    return elapsed


def check(right: bool, where: str) -> None:
    """Refuse to report the time of a wrong answer."""
    if not right:
        raise RuntimeError(f"{where}: wrong result")
