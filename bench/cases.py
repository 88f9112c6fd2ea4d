"""What is measured: the cases, their measurements, and how much of everything.

A case is what one process measures of one pool; a measurement is one number out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """How much of everything.  Made for the whole run, and handed to each measuring process."""

    workers: int = 2
    # Seconds that a measurement of many calls may take; a slow pool gets fewer calls, not longer.
    budget: float = 0.35
    most_calls: int = 100_000
    # Of asyncio.gather, in which time per call depends on how many there are: issue 4's number,
    # with time enough for the standard pools to have as many.
    gather_calls: int = 20_000
    gather_budget: float = 2.0
    sizes: tuple[int, ...] = (1 << 10, 1 << 16, MIB, 16 * MIB, 100 * MIB)
    payload_budget: float = 0.12
    idle_seconds: float = 2.0
    limit: float = 60.0  # seconds that one process may take before it is ended


def quick(workers: int) -> Settings:
    return Settings(
        workers=workers,
        budget=0.1,
        most_calls=20_000,
        gather_budget=0.3,
        sizes=(1 << 10, MIB, 16 * MIB),
        payload_budget=0.01,
        idle_seconds=1.0,
        limit=20.0,
    )


@dataclass(frozen=True)
class Measurement:
    """One number per pool and round.  Its name is unique in the whole run."""

    name: str
    heading: str
    unit: str = "time"  # or: share (of the ideal), bytes, cpu (share of a core)


@dataclass(frozen=True)
class Case:
    key: str
    title: str
    measurements: Callable[[Settings], list[Measurement]]
    together: bool = False  # all pools at once: nothing is timed that another could disturb
    heavy: bool = False  # in every other round, so that the run ends before the reader leaves
    peers: tuple[str, ...] = ()  # the pools it is about; default: all
    once: bool = False  # not in rounds, and no measurement: compatibility.py


TASK_SECONDS = {"50 \N{MICRO SIGN}s": 50e-6, "500 \N{MICRO SIGN}s": 500e-6, "5 ms": 5e-3}
KINDS_IN = ("bytes", "bytearray", "array", "memoryview", "str")
KINDS_IN_DICT = ("bytes", "memoryview")
KINDS_BACK = ("bytes",)

# Keys of peers.PEERS.
OURS = ("subpool", "subpool-threads")
STANDARD = ("interpreters", "threads", "processes")


def size_name(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size >> 10} KiB"


def payload_name(way: str, kind: str, size: int) -> str:
    return f"{way}/{kind}/{size_name(size)}"


def _fixed(*measurements: Measurement) -> Callable[[Settings], list[Measurement]]:
    return lambda _: list(measurements)


def _payloads(way: str, kinds: tuple[str, ...]) -> Callable[[Settings], list[Measurement]]:
    def measurements(settings: Settings) -> list[Measurement]:
        named = [
            Measurement(payload_name(way, kind, size), size_name(size))
            for kind in kinds
            for size in settings.sizes
        ]
        return [Measurement(f"{way}/nothing", "nothing"), *named]

    return measurements


CASES = (
    Case("burst", "submit all, collect all", _fixed(Measurement("burst", "burst, per task"))),
    Case(
        "round-trip",
        "one call at a time",
        _fixed(
            Measurement("round trip", "round trip, median"),
            Measurement("round trip p99", "99th percentile"),
        ),
    ),
    Case(
        "map",
        "map of tiny calls",
        _fixed(
            Measurement("map", "map, per call"),
            Measurement("map chunks", "map, chunksize=1000"),
        ),
    ),
    Case("gather", "asyncio.gather", _fixed(Measurement("gather", "gather, per call"))),
    Case("await", "await, one at a time", _fixed(Measurement("await", "await one, median"))),
    Case(
        "to-thread",
        "asyncio.gather of asyncio.to_thread, with the pool as the loop's default executor",
        _fixed(Measurement("to_thread", "gather of to_thread")),
        peers=(*OURS, *STANDARD, "aiointerpreters", "loky"),
    ),
    Case(
        "gather-executor",
        "asyncio.gather of loop.run_in_executor, for pools with a better way of their own",
        _fixed(Measurement("gather executor", "gather of run_in_executor")),
        heavy=True,
        peers=OURS,
    ),
    Case(
        "await-executor",
        "await loop.run_in_executor, for the same",
        _fixed(Measurement("await executor", "await run_in_executor")),
        heavy=True,
        peers=OURS,
    ),
    Case(
        "gather-uvloop",
        "asyncio.gather on uvloop",
        _fixed(Measurement("gather uvloop", "gather on uvloop")),
        heavy=True,
        peers=("subpool", *STANDARD),
    ),
    Case(
        "start-up",
        "a new pool in a new process",
        _fixed(
            Measurement("first result", "first result"),
            Measurement("all workers", "every worker answered"),
        ),
    ),
    Case(
        "memory",
        "what an extra worker costs after a first task",
        _fixed(
            Measurement("memory", "per extra worker (PSS)", "bytes"),
            Measurement("memory rss", "(RSS)", "bytes"),
        ),
    ),
    Case("idle", "a used pool, idle", _fixed(Measurement("idle", "idle", "cpu")), together=True),
    Case(
        "efficiency",
        "CPU-bound tasks on all workers",
        _fixed(*(Measurement(f"efficiency {n}", f"{n} tasks", "share") for n in TASK_SECONDS)),
        heavy=True,
    ),
    Case(
        "nested",
        "structured data there and back",
        _fixed(
            Measurement("nested", "document of 1,000 records"),
            Measurement("ints", "list of 100,000 ints"),
        ),
    ),
    Case("payload-in", "something big as the argument", _payloads("in", KINDS_IN), heavy=True),
    Case("payload-dict", "something big in a dict", _payloads("dict", KINDS_IN_DICT), heavy=True),
    Case("payload-back", "something big as the result", _payloads("back", KINDS_BACK), heavy=True),
    Case(
        "table",
        "what arrives: the table of tests/table",
        _fixed(),
        once=True,
        peers=("subpool", "interpreters", "aiointerpreters"),
    ),
)
