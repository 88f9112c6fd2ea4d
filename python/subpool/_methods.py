"""What both executors do with their interpreters, and how they make their pool."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from subpool._context import locate
from subpool._subpool import ExecutorCore, PoolCore
from subpool.futures import Future
from subpool.routing import Tagged, Timed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from contextvars import ContextVar

# Seconds after an interrupt that a task has not reacted to: until a warning, and until another
# interpreter takes the place of the task's.
_WARNING = 1.0
_GRACE = 5.0

# Seconds that the threads which tasks have left behind may take to end when an interpreter closes.
_FAREWELL = 5.0

NO_TIMEOUT = "an initializer cannot have a timeout: nothing interrupts it"


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
        return self._pool.interrupt_all()

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

    def warm_up(self, n: int | None = None) -> None:
        """Start `n` interpreters now (default: all) and wait until they are ready.

        Raises:
            BrokenInterpreterPool: The initializer failed.

        """
        self._pool.warm_up(n)


def make_pool(
    max_workers: int,
    prefix: str,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    *,
    context_vars: Iterable[ContextVar[Any]],
    idle_timeout: float | None,
) -> PoolCore:
    call = None
    if initializer is not None:
        if not callable(initializer):
            raise TypeError("initializer must be a callable")
        if isinstance(initializer, Timed):
            raise TypeError(NO_TIMEOUT)
        if isinstance(initializer, Tagged):
            initializer = initializer.__wrapped__
        call = initializer, tuple(initargs)
    return PoolCore(
        max_workers,
        prefix,
        call,
        Future,
        patience=(_WARNING, _GRACE, _FAREWELL),
        context_vars=locate(context_vars),
        idle_timeout=idle_timeout,
    )
