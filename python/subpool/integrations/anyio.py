"""anyio's `to_interpreter`, over one pool of interpreters per process.

Guarantees: a call holds its token of the limiter from before it is submitted until it has ended,
also when its await was cancelled and did not wait for that; so a limiter's tokens bound the
interpreters that its calls use. Interpreters start on threads of their own. Works on every backend
of anyio, in any number of loops at once.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from subpool import InterpreterPoolExecutor, worker

try:
    from anyio import (
        CancelScope,
        CapacityLimiter,
        Event,
        get_cancelled_exc_class,
        move_on_after,
    )
    from anyio.lowlevel import RunVar
except ImportError as error:
    raise ImportError(
        "subpool.integrations.anyio needs anyio: pip install 'subpool[anyio]'"
    ) from error

if TYPE_CHECKING or worker() is None:  # in a worker, that imports a program's module, nobody calls
    from subpool._loops import in_trio_task
    from subpool._subpool import copy_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from subpool import Future

__all__ = ["current_default_interpreter_limiter", "run_sync"]

# Limiters are the bound; a pool needs one too.
_MOST_INTERPRETERS = 1 << 16
# As in anyio.
_IDLE_TIMEOUT = 30.0
# Seconds that a cancelled call gets to end. Its token waits longer, if need be.
_PATIENCE = 0.05

_default_limiter = RunVar[CapacityLimiter]("subpool_default_interpreter_limiter")
_lock = threading.Lock()
_the_pool: InterpreterPoolExecutor | None = None


def _forget_after_fork() -> None:
    global _the_pool  # noqa: PLW0603 - the child has none of its threads
    _lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001
    _the_pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def _pool() -> InterpreterPoolExecutor:
    global _the_pool  # noqa: PLW0603 - there is one per process
    with _lock:
        # One that broke is replaced: callers hold no executor that they could replace.
        if _the_pool is None or _the_pool._shutdown or _the_pool._broken:  # noqa: SLF001
            _the_pool = InterpreterPoolExecutor(
                _MOST_INTERPRETERS, "anyio-interp", idle_timeout=_IDLE_TIMEOUT
            )
        return _the_pool


class _Call:
    """Who borrows the limiter's token: not the task, which may call again before this ends."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def __repr__(self) -> str:
        return f"<run_sync of {self.function!r}>"


async def run_sync[*Ts, R](
    func: Callable[[*Ts], R],
    *args: *Ts,
    limiter: CapacityLimiter | None = None,
    cancellable: bool = True,
) -> R:
    """Call ``func(*args)`` in an interpreter and wait for its result.

    A cancelled call is interrupted (`TaskInterrupted` is raised in it) and waited for, 0.05 s at
    most. Interpreters are shared by the whole process; one that is idle for 30 s is closed.

    Args:
        func: Any callable that can be sent to an interpreter.
        args: Its positional arguments.
        limiter: Bounds how many calls run at a time, and so how many interpreters. Default:
            `current_default_interpreter_limiter`. The call holds a token until it has ended.
        cancellable: False: once it has started, the call is neither interrupted nor abandoned
            when its cancel scope is cancelled.

    Raises:
        NotTransferableError: The call or its result cannot be sent.
        BrokenInterpreterPool: An interpreter could not start.
        BaseException: What the call raised.

    Example::

        async with anyio.create_task_group() as group:
            group.start_soon(run_sync, cpu_bound, data)

    The interface is that of ``anyio.to_interpreter``.

    """
    if limiter is None:
        limiter = current_default_interpreter_limiter()
    call = _Call(func)
    await limiter.acquire_on_behalf_of(call)
    try:
        future = _pool().submit(func, *args)
    except BaseException:
        limiter.release_on_behalf_of(call)
        raise
    try:
        with CancelScope(shield=not cancellable):
            await _end_of(future)
        return future.result()
    except get_cancelled_exc_class():
        # asyncio's own cancellations come through a shield; then the call is left alone.
        if cancellable and not future.cancel() and future.interrupt():
            # `await future` would not wait: anyio repeats a cancellation until it has its way.
            with move_on_after(_PATIENCE, shield=True):
                await _end_of(future)
        raise
    finally:
        _when_done(future, limiter.release_on_behalf_of, call)


async def _end_of(future: Future[Any]) -> None:
    """Wait; unlike ``await future``, leave the call alone if the wait is cancelled."""
    ended = Event()
    _when_done(future, ended.set)
    await ended.wait()


def _when_done(future: Future[Any], function: Callable[..., object], *args: object) -> None:
    """Call a function now if the future is done, or let the running loop call it at the end.

    A loop that ends before does not call.
    """
    listener: Any = _Listener(function, args)
    if not in_trio_task():
        from asyncio import get_running_loop  # noqa: PLC0415 - imported already

        copy_in(get_running_loop(), future, listener)
        return
    from subpool._trio import _connected  # noqa: PLC0415 - needs trio

    if future.done() or not _connected().expect(future, listener):
        function(*args)


class _Listener:
    """A function that the bridge calls, taking this for a future of the loop's."""

    __slots__ = ("_args", "_function")

    def __init__(self, function: Callable[..., object], args: tuple[object, ...]) -> None:
        self._function = function
        self._args = args

    def done(self) -> bool:
        return False

    cancelled = done

    def _end(self, _outcome: object = None) -> None:
        self._function(*self._args)

    set_result = set_exception = cancel = _end


def current_default_interpreter_limiter() -> CapacityLimiter:
    """Give the running loop's limiter for calls that bring none: a token for each usable CPU.

    Example::

        current_default_interpreter_limiter().total_tokens = 8

    """
    try:
        return _default_limiter.get()
    except LookupError:
        limiter = CapacityLimiter(os.process_cpu_count() or 1)
        _default_limiter.set(limiter)
        return limiter
