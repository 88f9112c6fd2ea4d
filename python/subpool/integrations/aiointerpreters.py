"""aiointerpreters' names, so that a program switches by changing the import.

Needs nothing of aiointerpreters'. What it has in `runner`, `executors` and `types` is all here.
"""

from __future__ import annotations

import subpool
from subpool import interpreter

TYPE_CHECKING = False  # workers import this with the modules that define tasks (routing.py)
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any, Self

__all__ = [
    "InterpreterError",
    "InterpreterThreadPoolExecutor",
    "Runner",
    "RunnerError",
    "Shareable",
    "interpreter",
]

# What can be sent, for annotations. Here that is most things (docs/limits.md).
if TYPE_CHECKING:
    type Shareable = Any
else:
    type Shareable = object


# Plain exceptions as there: subpool's own bring concurrent.futures into each worker.
class InterpreterError(Exception):
    """A call of a `Runner` failed: says how, and has the call's own exception as its cause."""


class RunnerError(Exception):
    """A `Runner` was used outside of its ``with`` block."""


class InterpreterThreadPoolExecutor(subpool.InterpreterThreadPoolExecutor):
    """subpool's executor, which may have as many interpreters as it has threads.

    There `max_workers` bounds both. Without it the bounds are subpool's own.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_interpreters: int | None = None,
        **options: Any,
    ) -> None:
        if max_interpreters is None:
            max_interpreters = max_workers
        super().__init__(
            max_workers,
            thread_name_prefix,
            initializer,
            initargs,
            max_interpreters=max_interpreters,
            **options,
        )


class Runner:
    """Runs functions in interpreters of its own, for as long as a ``with`` block lasts.

    Args:
        workers: How many interpreters.

    Raises:
        ValueError: `workers` is less than one.

    Example::

        with Runner(workers=4).start() as runner:
            result = await runner.run(cpu_bound, data)

    """

    def __init__(self, *, workers: int) -> None:
        if workers < 1:
            raise ValueError("workers must be greater than 0")
        self.workers = workers
        self._pool: subpool.InterpreterPoolExecutor | None = None

    def start(self) -> AbstractContextManager[Self]:
        """Give a context manager: it starts the interpreters, and at its end waits for the calls.

        The interpreters start in the background. The end of the block blocks the loop.
        """
        return _Started(self)

    async def run[**P, R](self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn(*args, **kwargs)`` in an interpreter and wait for its result.

        Cancelling the await interrupts the call.

        Raises:
            RunnerError: The runner has not been started, or has ended.
            NotTransferableError: The call or its result cannot be sent.
            InterpreterError: The call raised an exception, which is the cause of this one.

        """
        if self._pool is None:
            raise RunnerError("the runner is not running: use `with runner.start():`")
        future = self._pool.submit(fn, *args, **kwargs)
        try:
            return await future
        except subpool.PoolError:
            raise
        except BaseException as error:
            # A cancellation, or Ctrl-C, is not the call's.
            if future.done() and not future.cancelled() and future.exception() is error:
                raise InterpreterError(repr(error)) from error
            raise

    def wrap[**P, R](self, fn: Callable[P, R]) -> Callable[P, Coroutine[None, None, R]]:
        """Give an async function that calls `fn` as `run` does."""
        import functools  # noqa: PLC0415 - a worker has no use for it

        @functools.wraps(fn)
        async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self.run(fn, *args, **kwargs)

        return wrapped


class _Started:
    """A runner's ``with`` block."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def __enter__(self) -> Any:
        from contextlib import suppress  # noqa: PLC0415 - a worker has no use for it
        from threading import Thread  # noqa: PLC0415

        if self._runner._pool is not None:  # noqa: SLF001
            raise RunnerError("the runner is running already")
        self._pool = subpool.InterpreterPoolExecutor(self._runner.workers, "runner")

        def warm_up() -> None:
            with suppress(
                subpool.PoolError, RuntimeError
            ):  # broken or shut down: the calls tell of it
                self._pool.warm_up()

        # On a thread, because it waits, which the loop must not.
        self._starter = Thread(target=warm_up, name="runner-start")
        self._starter.start()
        self._runner._pool = self._pool  # noqa: SLF001
        return self._runner

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner._pool = None  # noqa: SLF001
        self._pool.shutdown()
        self._starter.join()
