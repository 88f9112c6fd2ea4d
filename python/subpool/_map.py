"""``Executor.map`` with ``chunksize`` and, on every Python version, ``buffersize``."""

from __future__ import annotations

import itertools
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from subpool._bootstrap import run_chunk
from subpool.routing import interpreter, route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future


def run(  # noqa: PLR0917 - the arguments of Executor.map, passed on
    executor: Executor,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
) -> Iterator[Any]:
    """Submit the calls (all, or `buffersize` of them) and give an iterator over the results."""
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    deadline = None if timeout is None else timeout + time.monotonic()
    calls: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
    chunked = chunksize > 1
    if chunked:
        fn, calls = _in_chunks(fn, calls, chunksize)
    first = calls if buffersize is None else itertools.islice(calls, buffersize)
    futures = deque(executor.submit(fn, *args) for args in first)
    # Weak, so that a half-used iterator does not keep a dropped executor open.
    owner = weakref.ref(executor)

    def submit_next() -> None:
        executor = owner()
        if executor is not None and (args := next(calls, None)) is not None:
            futures.append(executor.submit(fn, *args))

    results = _results(futures, deadline, None if buffersize is None else submit_next)
    return itertools.chain.from_iterable(results) if chunked else results


def _in_chunks(
    fn: Callable[..., Any], calls: Iterator[tuple[Any, ...]], size: int
) -> tuple[Callable[..., Any], Iterator[tuple[Any, ...]]]:
    tagged = route(fn, (), {})
    if tagged is not None and not tagged[1] and not tagged[2]:
        fn = tagged[0]
    return interpreter(run_chunk), (
        (fn, chunk) for chunk in itertools.batched(calls, size, strict=False)
    )


def _results(
    futures: deque[Future[Any]], deadline: float | None, submit_next: Callable[[], None] | None
) -> Iterator[Any]:
    try:
        while futures:
            if submit_next is not None:
                submit_next()
            # Popped and not kept: a result is the caller's alone, and can be freed by it.
            left = None if deadline is None else deadline - time.monotonic()
            yield _take(futures, left)
    finally:
        while futures:
            futures.pop().cancel()


def _take(futures: deque[Future[Any]], timeout: float | None) -> Any:
    future = futures.popleft()
    try:
        return future.result(timeout)
    finally:
        # Does nothing to one that is done; one that timed out shall not run for nobody.
        future.cancel()
        del future
