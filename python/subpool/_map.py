"""``Executor.map`` through ``submit``: for calls on threads, and for subclasses with their own."""

from __future__ import annotations

import itertools
import time
import weakref
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future

# Iterators that run no user code and never wait: the native `map` may collect from them.
_PLAIN: tuple[Iterable[Any], ...] = (
    [], (), range(0), range(1 << 70), {}, {}.values(), {}.items(), set(), "", b"", bytearray(),
    reversed([]), itertools.repeat(0),
)  # fmt: skip
AT_HAND = frozenset(type(iter(iterable)) for iterable in _PLAIN)


def run(  # noqa: PLR0917 - called by the native `map` alone
    executor: Executor,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    timeout: float | None,
    buffersize: int | None,
    carry: bool = False,
) -> Iterator[Any]:
    """Submit the calls (all, or `buffersize` of them) and give an iterator over the results.

    Does what the standard method does, with ``buffersize`` on Python 3.13 too. With `carry` all
    calls are submitted in the caller's context as it is now.
    """
    context = copy_context() if carry else None

    def submit(executor: Executor, args: tuple[Any, ...]) -> Future[Any]:
        if context is None:
            return executor.submit(fn, *args)
        # A copy for each: what a subclass's `submit` sets stays with that call.
        return context.copy().run(executor.submit, fn, *args)

    deadline = None if timeout is None else timeout + time.monotonic()
    calls: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
    first = calls if buffersize is None else itertools.islice(calls, buffersize)
    futures = deque(submit(executor, args) for args in first)
    # Weak, so that a half-used iterator does not keep a dropped executor open.
    owner = weakref.ref(executor)

    def submit_next() -> None:
        executor = owner()
        if executor is not None and (args := next(calls, None)) is not None:
            futures.append(submit(executor, args))

    return _results(futures, deadline, None if buffersize is None else submit_next)


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
