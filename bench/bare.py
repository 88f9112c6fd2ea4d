"""The machine's own limit: the same loops in bare processes, with nobody handing out tasks.

On a machine whose cores share something (one core's two threads, a busy neighbour) even these
do not reach 100 %, and no pool can.
"""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Any

from measure import sequential

if TYPE_CHECKING:
    from cases import Settings


def efficiency(settings: Settings, turns: int, tasks: int) -> float:
    workers = settings.workers
    context = multiprocessing.get_context("spawn")
    ready, spans = context.Barrier(workers + 1), context.SimpleQueue()
    share = max(1, tasks // workers)
    processes = [
        context.Process(target=run_share, args=(ready, spans, turns, share)) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait()  # all are there and warm
    before = sequential(turns, share * workers)
    ready.wait()
    found = [spans.get() for _ in processes]
    for process in processes:
        process.join()
    alone = (before + sequential(turns, share * workers)) / 2
    # One clock for all processes: perf_counter is the system's monotonic clock.
    parallel = max(end for _, end in found) - min(start for start, _ in found)
    return alone / parallel / workers


def run_share(ready: Any, spans: Any, turns: int, tasks: int) -> None:
    sequential(turns, 1)
    ready.wait()
    ready.wait()
    start = time.perf_counter()
    sequential(turns, tasks)
    spans.put((start, time.perf_counter()))
