"""What both executors do with their interpreters, and how they make their pool."""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from subpool import _fork
from subpool._context import locate
from subpool._subpool import ExecutorCore, PoolCore
from subpool.futures import Future
from subpool.routing import FALLBACKS, Tagged, Termed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from contextvars import ContextVar

# Seconds after an interrupt that a task has not reacted to: until a warning, and until another
# interpreter takes the place of the task's.
_WARNING = 1.0
_GRACE = 5.0

NO_TERMS = (
    "an initializer has no timeout and no fallback: nothing interrupts it, and tasks go elsewhere"
)

# Seconds that the threads which tasks have left behind may take to end when an interpreter closes.
_FAREWELL = 5.0

# Seconds before a worker that could not start is tried again, once, twice and a third time, if
# others of its pool have started.
_RETRIES = (0.1, 0.5, 2.0)


class InterpreterMethods(ExecutorCore):
    """What both executors do with their interpreters."""

    if TYPE_CHECKING:

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...

    def run[**P, R](
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """Run ``fn(*args, **kwargs)`` in an interpreter, tagged or not, and give its result.

        For asyncio (its own loops, uvloop) and trio. Cancelling the await cancels a queued call
        and interrupts a running one, which is given 0.1 s to end before the cancellation goes on.
        At a full pool (``max_pending``) the call waits for its place, behind those that came
        before; the loop is not blocked.

        Raises:
            RuntimeError: The executor is shutting down, or no event loop is running.
            NotTransferableError: The call or its result cannot cross between interpreters.

        Example::

            async with asyncio.timeout(1):
                answer = await ex.run(cpu_bound, data)

        """
        awaited = self._run_in_loop(fn, *args, **kwargs)
        if awaited is not None:
            return awaited
        # Trio, or a loop that is yet to run, as in ``asyncio.run(ex.run(...))``.
        return self._run(fn, *args, **kwargs)

    inspect.markcoroutinefunction(run)

    async def _run[**P, R](self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._start(fn, *args, **kwargs)

    def wrap[**P, R](self, fn: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]:
        """Make an async function that calls `fn` with `run`.

        Raises:
            TypeError: `fn` is not callable.

        Example::

            cpu_bound = ex.wrap(cpu_bound)
            answers = await asyncio.gather(*map(cpu_bound, data))

        """
        if not callable(fn):
            raise TypeError(f"wrap() takes a callable, not {type(fn).__name__}")

        @functools.wraps(fn)
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self._start(fn, *args, **kwargs)

        return run

    def interrupt_all(self) -> int:
        """Interrupt every task that runs in an interpreter, and tell how many these are.

        What waits in the queue stays there. Does not wait for the tasks to end, which they may
        do by themselves before the interrupt comes.

        Raises:
            RuntimeError: The system gave no thread to do it with.

        """
        elsewhere = _fallback()
        there = elsewhere.interrupt_pool(self._pool.number) if elsewhere else 0
        return self._pool.interrupt_all() + there

    def terminate_workers(self) -> None:
        """Shut down without waiting: cancel what has not started, interrupt what runs.

        Plain calls that run on threads cannot be interrupted; they end by themselves. Call
        ``shutdown()`` as well to wait for the end of all.

        After `concurrent.futures.ProcessPoolExecutor.terminate_workers`.

        Raises:
            RuntimeError: The system gave no thread to do it with.

        """
        self.shutdown(wait=False, cancel_futures=True)
        self._pool.terminate()
        if elsewhere := _fallback():
            elsewhere.interrupt_pool(self._pool.number)

    def warm_up(self, n: int | None = None) -> None:
        """Start `n` interpreters now (default: all) and wait until they are ready.

        Raises:
            BrokenInterpreterPool: The initializer failed.

        """
        self._pool.warm_up(n)

    def stats(self) -> PoolStats:
        """Tell how many calls there were, and where they went.

        Example::

            print(ex.stats().fallback_processes, "calls went to processes")

        """
        elsewhere = _fallback()
        counts = elsewhere.counts(self._pool.number) if elsewhere else {"thread": 0, "process": 0}
        accepted, outstanding = self._pool.accepted, self._pool.outstanding
        return PoolStats(
            submitted=accepted,
            outstanding=outstanding,
            fallback_threads=counts["thread"],
            fallback_processes=counts["process"],
            interpreters=self._pool.width,
        )

    def _close(self, wait: bool, cancel_futures: bool) -> None:
        """Shut down what runs in interpreters, and what went elsewhere."""
        self._pool.close(cancel_futures)
        if cancel_futures and (elsewhere := _fallback()):
            elsewhere.cancel_pool(self._pool.number)
        if wait:
            self._pool.join()
            # After the last worker: until then one may send a call there.
            if elsewhere := _fallback():
                elsewhere.join(self._pool.number)


class PoolStats(NamedTuple):
    """Counts of a pool, at one moment.

    Attributes:
        submitted: Calls for interpreters that were accepted, wherever they went.
        outstanding: Those of them that have not ended.
        fallback_threads: Calls that went to a thread of the main interpreter instead.
        fallback_processes: Calls that went to a process instead.
        interpreters: Interpreters that there are now.

    """

    submitted: int
    outstanding: int
    fallback_threads: int
    fallback_processes: int
    interpreters: int


def _fallback() -> Any:
    """Give `subpool._fallback`, if any call has needed it."""
    if "subpool._fallback" not in sys.modules:
        return None
    # Waits, where another thread is importing it: half of it is of no use.
    from subpool import _fallback as elsewhere  # noqa: PLC0415 - see above

    return elsewhere


def make_pool(
    max_workers: int,
    prefix: str,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    *,
    context_vars: Iterable[ContextVar[Any]],
    max_tasks_per_interpreter: int | None,
    idle_timeout: float | None,
    fallback: str | None,
    max_pending: int | None,
) -> PoolCore:
    if max_tasks_per_interpreter is not None:
        max_tasks_per_interpreter = operator.index(max_tasks_per_interpreter)
        if max_tasks_per_interpreter < 1:
            raise ValueError("max_tasks_per_interpreter must be greater than 0")
        max_tasks_per_interpreter = min(max_tasks_per_interpreter, sys.maxsize)
    if fallback not in FALLBACKS:
        raise ValueError(f"fallback must be None, 'thread' or 'process', not {fallback!r}")
    if max_pending is not None:
        max_pending = min(operator.index(max_pending), sys.maxsize)
        if max_pending < 1:
            raise ValueError("max_pending must be greater than 0")
    call = None
    if initializer is not None:
        if not callable(initializer):
            raise TypeError("initializer must be a callable")
        if isinstance(initializer, Termed):
            raise TypeError(NO_TERMS)
        if isinstance(initializer, Tagged):
            initializer = initializer.__wrapped__
        call = initializer, tuple(initargs)
    pool = PoolCore(
        max_workers,
        prefix,
        call,
        Future,
        patience=(_WARNING, _GRACE, _FAREWELL),
        retries=_RETRIES,
        context_vars=locate(context_vars),
        max_tasks_per_interpreter=max_tasks_per_interpreter,
        idle_timeout=idle_timeout,
        fallback=fallback,
        max_pending=max_pending,
    )
    _fork.remember_pool(pool)
    return pool
