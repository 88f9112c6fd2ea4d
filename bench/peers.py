"""The pools that are measured side by side, each made in the same way: by its worker count."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import subpool

type Task = Callable[..., Any]


def untagged(task: Task) -> Task:
    """Leave a task as it is: all but one pool take plain functions."""
    return task


@dataclass(frozen=True)
class Peer:
    key: str
    label: str
    make: Callable[[int], Executor]
    # Tasks of one burst: fewer where each takes longer, so that all bursts take about as long.
    burst: int
    tag: Callable[[Task], Task] = untagged


def processes(workers: int) -> Executor:
    # Not "fork": by then this process has had threads, and a child forked beside them can hang.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    return ProcessPoolExecutor(workers, context)


def all_peers() -> list[Peer]:
    """Every pool this Python has.  The first is the one that ratios refer to."""
    peers = [
        Peer("subpool", "subpool.InterpreterPoolExecutor", subpool.InterpreterPoolExecutor, 50_000),
        Peer(
            "subpool_threads",
            "subpool.InterpreterThreadPoolExecutor",
            lambda workers: subpool.InterpreterThreadPoolExecutor(max_interpreters=workers),
            50_000,
            tag=subpool.interpreter,
        ),
        Peer("threads", "ThreadPoolExecutor", ThreadPoolExecutor, 20_000),
        Peer("processes", "ProcessPoolExecutor", processes, 10_000),
    ]
    try:
        from concurrent.futures import InterpreterPoolExecutor  # noqa: PLC0415
    except ImportError:  # it came with Python 3.14
        return peers
    stdlib = Peer(
        "interpreters", "InterpreterPoolExecutor (stdlib)", InterpreterPoolExecutor, 10_000
    )
    return [*peers[:2], stdlib, *peers[2:]]
