"""The two executors.

Guarantees: what `submit` accepted ends, unless it is cancelled; `shutdown` and the program's end
wait for it. Dropping an executor without `shutdown` lets its work finish too.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from subpool import (
    _ending,  # noqa: F401 - sees to the end of the program
    _fork,
)
from subpool._methods import NO_TERMS, InterpreterMethods, make_pool
from subpool.errors import BrokenInterpreterPool
from subpool.routing import route

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from contextvars import ContextVar

    from subpool._subpool import WorkerThread
    from subpool.futures import Future


_fork.register()


def _cpu_count() -> int:
    return os.process_cpu_count() or 1


class InterpreterPoolExecutor(InterpreterMethods, ThreadPoolExecutor):
    """An executor whose every call runs in an interpreter.

    A drop-in for `concurrent.futures.InterpreterPoolExecutor`, and like that a
    `ThreadPoolExecutor`, which is what ``loop.set_default_executor`` insists on.

    Args:
        max_workers: The most interpreters, started as the work asks for them. Default: the CPUs
            this process may use, where the standard class takes four more; the work is
            CPU-bound, and each interpreter costs megabytes.
        thread_name_prefix: The interpreters' threads are called ``<prefix>_<number>``, also for
            the operating system (15 bytes there).
        initializer: Called once in each interpreter before its first task.
        initargs: The initializer's arguments.
        max_tasks_per_interpreter: How many calls an interpreter runs before a fresh one, made
            ready meanwhile, takes its place. Each call of a `map` counts, also within a chunk.
            Default: any number.
        context_vars: The `ContextVar` objects whose values go along with each call. Each must be
            a global of a module.
        idle_timeout: Seconds after which an interpreter without work is closed; the next work
            starts another. Default: never, before the shutdown.
        fallback: Where calls go that no interpreter can run, since an extension module refuses to
            load there: ``"thread"`` (of the main interpreter) or ``"process"``. Default: they
            raise `IncompatibleModuleError`. A tag's own fallback goes before this one.
        max_pending: The most calls that wait to be started. At a full pool `submit` and `map` block
            until there is room, and `run` waits without blocking the loop. Default: no bound.

    Raises:
        ValueError: `max_workers`, `max_tasks_per_interpreter` or `max_pending` is less than one,
            `idle_timeout` is not greater than 0, a context variable is in no module, or `fallback`
            is something else.
        TypeError: `initializer` is not callable, or `context_vars` has something else in it.
        NotTransferableError: `initializer` or `initargs` cannot be sent to an interpreter.

    Example::

        with InterpreterPoolExecutor() as executor:
            print(*executor.map(math.factorial, range(10)))

    """

    BROKEN = BrokenInterpreterPool

    _own_counter = itertools.count().__next__

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_interpreter: int | None = None,
        context_vars: Iterable[ContextVar[Any]] = (),
        idle_timeout: float | None = None,
        fallback: str | None = None,
        max_pending: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = _cpu_count()
        prefix = thread_name_prefix or f"InterpreterPoolExecutor-{self._own_counter()}"
        # Starts nothing: its threads would come with its own `submit`.
        super().__init__(max_workers, prefix)
        self._use(
            make_pool(
                max_workers,
                prefix,
                initializer,
                initargs,
                context_vars=context_vars,
                max_tasks_per_interpreter=max_tasks_per_interpreter,
                idle_timeout=idle_timeout,
                fallback=fallback,
                max_pending=max_pending,
            ),
            False,
        )

    if TYPE_CHECKING:
        # What ExecutorCore does natively, with the type that it has here.
        def submit[**P, R](
            self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
        ) -> Future[R]:
            """Queue ``fn(*args, **kwargs)`` and give its future."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more work; finish what is queued, or cancel it; close the interpreters.

        Args:
            wait: Return only when all that is done.
            cancel_futures: Cancel what has not started.

        """
        self._close(wait, cancel_futures)

    # What the standard class keeps in attributes, and programs read there. Its constructor sets
    # them; the pool knows better.

    @property  # type: ignore[override]
    def _threads(self) -> set[WorkerThread]:
        return set(self._pool.threads())

    @_threads.setter
    def _threads(self, initial: object) -> None: ...

    @property  # type: ignore[override]
    def _broken(self) -> str | bool:
        return self._pool.broken or False

    @_broken.setter
    def _broken(self, initial: object) -> None: ...

    @property
    def _shutdown(self) -> bool:
        return self._pool.closed

    @_shutdown.setter
    def _shutdown(self, initial: object) -> None: ...


class InterpreterThreadPoolExecutor(InterpreterMethods, ThreadPoolExecutor):
    """A `ThreadPoolExecutor` that runs tagged functions in interpreters.

    Plain functions run on its threads exactly as they do on the base class. A function tagged
    with `interpreter`, also inside ``functools.partial`` or ``Context.run``, runs in parallel in
    one of its interpreters.

    Args:
        max_workers: The most threads for plain functions; the base class's default.
        thread_name_prefix: Threads are called ``<prefix>_<number>``, the interpreters' threads
            ``<prefix>-interpreter_<number>``.
        initializer: Routed like any call: plain, it runs in each thread; tagged, in each
            interpreter, before its first task.
        initargs: The initializer's arguments.
        max_interpreters: The most interpreters, started as tagged work asks for them. Default:
            the CPUs this process may use.
        max_tasks_per_interpreter: How many calls an interpreter runs before a fresh one, made
            ready meanwhile, takes its place. Each call of a `map` counts, also within a chunk.
            Default: any number.
        context_vars: The `ContextVar` objects whose values go along with each tagged call. Each
            must be a global of a module.
        idle_timeout: Seconds after which an interpreter without work is closed; the next work
            starts another. Default: never, before the shutdown.
        fallback: Where tagged calls go that no interpreter can run, since an extension module
            refuses to load there: ``"thread"`` (of the main interpreter) or ``"process"``.
            Default: they raise `IncompatibleModuleError`. A tag's own fallback goes before this.
        max_pending: The most tagged calls that wait to be started. At a full pool `submit` and
            `map` block until there is room, and `run` waits without blocking the loop. Default: no
            bound. Plain calls have none, as on the base class.

    Raises:
        ValueError: `max_workers`, `max_interpreters`, `max_tasks_per_interpreter` or `max_pending`
            is less than one, `idle_timeout` is not greater than 0, a context variable is in no
            module, or `fallback` is something else.
        TypeError: `initializer` is not callable, or `context_vars` has something else in it.
        NotTransferableError: A tagged `initializer` or its `initargs` cannot be sent.

    Example::

        with InterpreterThreadPoolExecutor() as ex:
            ex.submit(read_file, path)               # a thread
            ex.submit(interpreter(cpu_bound), data)  # an interpreter

    """

    _own_counter = itertools.count().__next__

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_interpreters: int | None = None,
        max_tasks_per_interpreter: int | None = None,
        context_vars: Iterable[ContextVar[Any]] = (),
        idle_timeout: float | None = None,
        fallback: str | None = None,
        max_pending: int | None = None,
    ) -> None:
        if max_interpreters is None:
            max_interpreters = _cpu_count()
        if max_interpreters <= 0:
            raise ValueError("max_interpreters must be greater than 0")
        tagged = None if initializer is None else route(initializer, tuple(initargs), {})
        if tagged is None:
            super().__init__(max_workers, thread_name_prefix, initializer, initargs)
        else:
            super().__init__(max_workers, thread_name_prefix)
            initializer, initargs, keywords, *terms = tagged
            if keywords:
                raise TypeError("a tagged initializer takes no keyword arguments")
            if terms != [None, None]:
                raise TypeError(NO_TERMS)
        prefix = (
            f"{thread_name_prefix}-interpreter"
            if thread_name_prefix
            # Short, so that the operating system's 15 bytes hold the number too.
            else f"interp-{self._own_counter()}"
        )
        if tagged is None:
            initializer = None
        self._use(
            make_pool(
                max_interpreters,
                prefix,
                initializer,
                initargs,
                context_vars=context_vars,
                max_tasks_per_interpreter=max_tasks_per_interpreter,
                idle_timeout=idle_timeout,
                fallback=fallback,
                max_pending=max_pending,
            ),
            True,
        )
        _fork.remember(self)

    def set_as_event_loop_default(
        self, loop: asyncio.AbstractEventLoop | asyncio.Runner | None = None
    ) -> None:
        """Make this the executor behind ``asyncio.to_thread`` and ``run_in_executor(None, ...)``.

        Args:
            loop: An event loop, a runner, or ``None`` for the running loop.

        Raises:
            RuntimeError: `loop` is ``None`` and no loop is running.

        Example::

            ex.set_as_event_loop_default()
            await asyncio.to_thread(interpreter(cpu_bound), data)

        """
        import asyncio  # noqa: PLC0415 - a program without a loop shall not pay for it

        if loop is None:
            loop = asyncio.get_running_loop()
        elif isinstance(loop, asyncio.Runner):
            loop = loop.get_loop()
        loop.set_default_executor(self)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more work; finish what is queued, or cancel it; end threads and interpreters.

        Args:
            wait: Return only when all that is done.
            cancel_futures: Cancel what has not started.

        """
        self._close(wait=False, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._close(wait=True, cancel_futures=False)
