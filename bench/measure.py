"""Measure one case of one pool, in a process of its own (cell.py), all times in seconds.

Each measuring process opens a new pool, so that a lucky or unlucky one is one sample and not all
of them.  The garbage collector stays on, as it is for everyone else; it only starts from a clean
slate.  What comes back is checked, outside of what is timed.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import workload
from cases import KINDS_BACK, KINDS_IN, KINDS_IN_DICT, TASK_SECONDS, Settings, payload_name
from process import cpu_seconds, family, memory

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from peers import Factory, Peer, Task

WARM_UP_DEADLINE = 30.0
FEWEST = 16
ROUND_TRIPS = 2_000
EXTRA_WORKERS = 3

type Emit = Callable[[str, float, int], None]
type Measure = Callable[[Task, Task], Awaitable[None]]
type Refuse = Callable[[str, BaseException], None]


class WrongResultError(Exception):
    """The time of a wrong answer is not worth knowing."""


class Bench:
    """One case of one pool."""

    def __init__(self, peer: Peer, settings: Settings, emit: Emit, refuse: Refuse) -> None:
        self.peer, self.settings, self.emit, self.refuse = peer, settings, emit, refuse
        self.tag = peer.tag()

    def run(self, case: str) -> None:
        getattr(self, case.replace("-", "_"))()

    # Calls

    def burst(self) -> None:
        with self.warm_pool() as (executor, estimate):
            calls = self.affordable(estimate)
            self.emit("burst", burst(executor, self.tag(workload.add), calls), calls)

    def round_trip(self) -> None:
        task = self.tag(workload.add)
        with self.warm_pool() as (executor, _):
            submit = executor.submit
            gc.collect()
            times: list[float] = []
            begin = end = time.perf_counter()
            # Here and not in `repeat`, whose own call would be a good part of what is measured.
            while len(times) < ROUND_TRIPS and end - begin < 2 * self.settings.budget:
                i = len(times)
                start = time.perf_counter()
                result = submit(task, i, i).result()
                end = time.perf_counter()
                times.append(end - start)
                check(result == 2 * i)
        self.emit("round trip", statistics.median(times), len(times))
        self.emit("round trip p99", statistics.quantiles(times, n=100)[98], len(times))

    def map(self) -> None:
        task = self.tag(workload.add)
        with self.warm_pool() as (executor, estimate):
            for name, options in (("map", {}), ("map chunks", {"chunksize": 1000})):
                # Twice: what batches or chunks has room for far more calls than its `submit`.
                seconds = estimate
                for _ in range(2):
                    calls = self.affordable(seconds)
                    gc.collect()
                    start = time.perf_counter()
                    results = list(executor.map(task, range(calls), range(calls), **options))
                    seconds = (time.perf_counter() - start) / calls
                    check(results == list(range(0, 2 * calls, 2)))
                self.emit(name, seconds, calls)

    # asyncio

    def gather(self) -> None:
        self.on_loop(self.measured_gather("gather"))

    def to_thread(self) -> None:
        self.on_loop(self.measured_gather("to_thread"), "to_thread")

    def gather_executor(self) -> None:
        self.on_loop(self.measured_gather("gather executor"), "executor")

    def gather_uvloop(self) -> None:
        import uvloop

        self.on_loop(self.measured_gather("gather uvloop"), loop_factory=uvloop.new_event_loop)

    # Named like the case, and that is a keyword.
    def await_(self) -> None:
        self.on_loop(self.measured_await("await"))

    def await_executor(self) -> None:
        self.on_loop(self.measured_await("await executor"), "executor")

    def measured_gather(self, name: str) -> Measure:
        settings = self.settings

        async def measure(call: Task, task: Task) -> None:
            estimate = await warm_up_async(call, task)
            affordable = int(settings.gather_budget / estimate)
            calls = max(FEWEST, min(settings.gather_calls, affordable))
            self.emit(name, await gather(call, task, calls), calls)

        return measure

    def measured_await(self, name: str) -> Measure:
        async def measure(call: Task, task: Task) -> None:
            await warm_up_async(call, task)
            times: list[float] = []
            begin = time.perf_counter()
            while len(times) < FEWEST or (
                len(times) < ROUND_TRIPS and time.perf_counter() - begin < self.settings.budget
            ):
                i = len(times)
                start = time.perf_counter()
                result = await call(task, i, i)
                times.append(time.perf_counter() - start)
                check(result == 2 * i)
            self.emit(name, statistics.median(times), len(times))

        return measure

    def on_loop(
        self,
        measure: Measure,
        way: str = "",
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        open_pool, workers = self.peer.open_async(way), self.settings.workers

        async def main() -> None:
            with open_pool(workers) as call:
                await every_worker_async(call, self.tag(workload.who), workers)
                await measure(call, self.tag(workload.add))

        asyncio.run(main(), loop_factory=loop_factory)

    # The pool itself

    def start_up(self) -> None:
        factory, task = self.factory(), self.tag(workload.add)
        gc.collect()
        start = time.perf_counter()
        with factory(self.settings.workers) as executor:
            check(executor.submit(task, 1, 2).result() == 3)
            first = time.perf_counter() - start
            every_worker(executor, self.tag(workload.who), self.settings.workers, 0.001)
            every = time.perf_counter() - start
        self.emit("first result", first, 1)
        self.emit("all workers", every, 1)

    def memory(self) -> None:
        """Open a second pool beside the first: what that adds is its workers' memory."""
        factory = self.factory()
        task, who = self.tag(workload.add), self.tag(workload.who)
        with factory(1) as first, factory(EXTRA_WORKERS) as second:
            readings = []
            for executor, workers in ((first, 1), (second, EXTRA_WORKERS)):
                every_worker(executor, who, workers, 0.05)
                check(executor.submit(task, 1, 2).result() == 3)
                gc.collect()
                readings.append(memory())
        before, after = readings
        self.emit("memory", (after[0] - before[0]) / EXTRA_WORKERS, EXTRA_WORKERS)
        self.emit("memory rss", (after[1] - before[1]) / EXTRA_WORKERS, EXTRA_WORKERS)

    def idle(self) -> None:
        """Count the CPU time of a pool that has just given the last result of a burst."""
        with self.warm_pool() as (executor, estimate):
            calls = self.affordable(estimate)
            burst(executor, self.tag(workload.add), calls)
            processes = family()
            before, start = cpu_seconds(processes), time.perf_counter()
            time.sleep(self.settings.idle_seconds)
            used, elapsed = cpu_seconds(processes) - before, time.perf_counter() - start
        self.emit("idle", used / elapsed, calls)

    def efficiency(self) -> None:
        """Compare with the same loops here, one after another, right before and right after."""
        if self.peer.key == "bare":
            from bare import efficiency

            for name, seconds in TASK_SECONDS.items():
                turns = calibrate(seconds)
                tasks = int(self.settings.budget / seconds)
                self.emit(f"efficiency {name}", efficiency(self.settings, turns, tasks), tasks)
            return
        task, workers = self.tag(workload.spin), self.settings.workers
        with self.warm_pool() as (executor, estimate):
            for name, seconds in TASK_SECONDS.items():
                turns = calibrate(seconds)
                # A slow pool gets fewer tasks, but enough for every worker.
                tasks = max(FEWEST, int(self.settings.budget / max(seconds, estimate)))
                before = sequential(turns, tasks)
                gc.collect()
                start = time.perf_counter()
                futures = [executor.submit(task, turns) for _ in range(tasks)]
                results = {future.result() for future in futures}
                parallel = time.perf_counter() - start
                check(results == {workload.spin(turns)})
                alone = (before + sequential(turns, tasks)) / 2
                self.emit(f"efficiency {name}", alone / parallel / workers, tasks)

    # Data

    def nested(self) -> None:
        task = self.tag(workload.echo)
        with self.warm_pool() as (executor, _):
            for name, value in (
                ("nested", workload.document()),
                ("ints", list(range(100_000))),
            ):
                check(executor.submit(task, value).result() == value)
                times = repeat(
                    lambda _, value=value: executor.submit(task, value).result(),
                    self.settings.budget / 2,
                )
                self.emit(name, statistics.median(times), len(times))

    def payload_in(self) -> None:
        look = self.tag(workload.look)

        def call(executor: Executor, data: Any) -> Any:
            return executor.submit(look, data).result()

        self.payloads("in", KINDS_IN, call, lambda data: data)

    def payload_dict(self) -> None:
        look = self.tag(workload.look)

        def call(executor: Executor, data: Any) -> Any:
            return executor.submit(look, data).result()

        self.payloads("dict", KINDS_IN_DICT, call, lambda data: {"id": 1, "payload": data})

    def payload_back(self) -> None:
        give = self.tag(workload.give)

        def call(executor: Executor, wanted: tuple[str, int]) -> Any:
            return workload.look(executor.submit(give, wanted).result())

        self.payloads("back", KINDS_BACK, call, None)

    def payloads(
        self,
        way: str,
        kinds: tuple[str, ...],
        call: Callable[[Executor, Any], Any],
        wrap: Callable[[Any], Any] | None,
    ) -> None:
        nothing, budget = self.tag(workload.nothing), self.settings.payload_budget
        with self.warm_pool() as (executor, _):
            times = repeat(lambda _: executor.submit(nothing).result(), budget, 500)
            self.emit(f"{way}/nothing", statistics.median(times), len(times))
            for kind in kinds:
                for size in self.settings.sizes:
                    data = workload.payload(kind, size)
                    expected = workload.look(data)
                    argument = (kind, size) if wrap is None else wrap(data)
                    del data
                    name = payload_name(way, kind, size)
                    try:
                        if wrap is None:
                            keep = self.tag(workload.keep)
                            every_worker(executor, keep, self.settings.workers, argument)
                        times, result = repeat_with_result(
                            lambda argument=argument: call(executor, argument), budget
                        )
                        check(result == expected)
                    except WrongResultError:
                        raise
                    except Exception as error:  # noqa: BLE001 - each kind is an answer
                        self.refuse(name, error)
                    else:
                        self.emit(name, statistics.median(times), len(times))

    # Helpers

    def factory(self) -> Factory:
        if self.peer.load is None:
            raise TypeError(f"{self.peer.label} makes no executor")
        return self.peer.load()

    @contextmanager
    def warm_pool(self) -> Iterator[tuple[Executor, float]]:
        """Open a pool in which every worker has run something; with it, seconds per call."""
        with self.factory()(self.settings.workers) as executor:
            every_worker(executor, self.tag(workload.who), self.settings.workers, 0.01)
            calls, task = FEWEST, self.tag(workload.add)
            while True:
                estimate = burst(executor, task, calls)
                if estimate * calls > 0.02 or calls >= 5_000:
                    break
                calls *= 4
            yield executor, estimate

    def affordable(self, estimate: float) -> int:
        return max(FEWEST, min(self.settings.most_calls, int(self.settings.budget / estimate)))


def check(right: bool) -> None:
    if not right:
        raise WrongResultError


def burst(executor: Executor, task: Task, calls: int) -> float:
    """Submit everything, then collect everything: seconds per task."""
    gc.collect()
    submit = executor.submit
    start = time.perf_counter()
    futures = [submit(task, i, i) for i in range(calls)]
    results = [future.result() for future in futures]
    elapsed = time.perf_counter() - start
    check(results == list(range(0, 2 * calls, 2)))
    return elapsed / calls


async def gather(call: Task, task: Task, calls: int) -> float:
    gc.collect()
    start = time.perf_counter()
    results = await asyncio.gather(*[call(task, i, i) for i in range(calls)])
    elapsed = time.perf_counter() - start
    check(results == list(range(0, 2 * calls, 2)))
    return elapsed / calls


async def warm_up_async(call: Task, task: Task) -> float:
    calls = FEWEST
    while True:
        estimate = await gather(call, task, calls)
        if estimate * calls > 0.02 or calls >= 5_000:
            return estimate
        calls *= 4


def every_worker(executor: Executor, who: Task, workers: int, argument: Any) -> None:
    """Wait until every worker has run this task, which takes so long that none takes them all."""
    seen: set[tuple[int, int]] = set()
    deadline = time.monotonic() + WARM_UP_DEADLINE
    while len(seen) < workers:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(seen)} of {workers} workers answered")
        futures = [executor.submit(who, argument) for _ in range(workers)]
        seen.update(future.result() for future in futures)


async def every_worker_async(call: Task, who: Task, workers: int) -> None:
    seen: set[tuple[int, int]] = set()
    deadline = time.monotonic() + WARM_UP_DEADLINE
    while len(seen) < workers:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(seen)} of {workers} workers answered")
        seen.update(await asyncio.gather(*[call(who, 0.01) for _ in range(workers)]))


def repeat(one: Callable[[int], Any], budget: float, most: int = 200) -> list[float]:
    """Time one call after another while the budget lasts; three at least, fewer if very slow."""
    gc.collect()
    times: list[float] = []
    begin = time.perf_counter()
    spent = 0.0
    while len(times) < most and (spent < budget or (len(times) < 3 and spent < 5 * budget)):
        start = time.perf_counter()
        one(len(times))
        end = time.perf_counter()
        times.append(end - start)
        spent = end - begin
    return times


def repeat_with_result(one: Callable[[], Any], budget: float) -> tuple[list[float], Any]:
    results = []

    def keep(_: int) -> None:
        results[:] = [one()]

    return repeat(keep, budget), results[0]


def calibrate(seconds: float) -> int:
    """Find how many turns of the loop take so long here."""
    turns = 200_000
    best = min(sequential(turns, 1) for _ in range(3))
    return max(1, round(turns * seconds / best))


def sequential(turns: int, tasks: int) -> float:
    start = time.perf_counter()
    for _ in range(tasks):
        workload.spin(turns)
    return time.perf_counter() - start
