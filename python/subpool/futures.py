"""`Future`: the standard library's contract over a native core.

A future that nobody listens to is a few words of native memory. The first listener (a
done-callback, `wait`, `as_completed`, an event loop) reaches for ``_condition``, ``_waiters`` or
``_done_callbacks``; only then do these come into being, and only then is the task's end delivered
here by the completer. From there on the standard class's own methods do the work.
"""

from __future__ import annotations

import concurrent.futures
import os
import threading
from concurrent.futures import InvalidStateError
from types import FunctionType
from typing import TYPE_CHECKING, Any

from subpool._loops import chain, wait
from subpool._subpool import FutureCore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_LISTENING = frozenset({"_condition", "_waiters", "_done_callbacks"})
_UNSETTLED = {"_state": "PENDING", "_result": None, "_exception": None}

# Guards the creation of the attributes above; held for a few calls. Reentrant: the garbage
# collector, or a signal's handler, may run code there that listens to another future.
_creating = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_creating._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001

# Those that somebody waits for to publish an end.
_wanted: list[threading.Condition] = []


def _wait_for(condition: threading.Condition) -> None:
    """Acquire a future's condition; meanwhile `let_go` knows of it."""
    _wanted.append(condition)
    try:
        condition.acquire()
    finally:
        _wanted.remove(condition)


def let_go() -> None:
    """Release what the calling thread has of futures others wait for; it has come to its end.

    Ctrl-C within `threading.Condition` itself, which is Python code, leaves it locked for ever:
    in `concurrent.futures.wait`, in `add_done_callback`.
    """
    for condition in _wanted.copy():
        while condition._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001
            condition.release()


class Future[T](FutureCore, concurrent.futures.Future[T]):
    """The result of a call in an interpreter: a `concurrent.futures.Future`.

    Everything the standard class promises holds. In addition a cancelled future counts as done
    for `wait` and `as_completed` at once, not only when a worker comes by it.

    Example::

        future = executor.submit(interpreter(pow), 2, 10)
        future.result(timeout=5)   # seconds; 1024

    """

    # What FutureCore does natively, with the types the standard class gives it.
    if TYPE_CHECKING:

        def result(self, timeout: float | None = None) -> T:
            """Wait for the result, `timeout` seconds at most, and give it or raise its error."""

        def exception(self, timeout: float | None = None) -> BaseException | None:
            """Wait like `result`, and give the exception the call raised, or ``None``."""

        def interrupt(self) -> bool:
            """Raise `TaskInterrupted` in the task, if it runs. False: it does not.

            The task ends with it, with a value if it ends by itself first, or with whatever it
            makes of the exception. Does not wait for any of that.
            """

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have ``fn(self)`` called at the end, on the completer's thread, or now if done."""
        if type(fn) is FunctionType and fn.__name__ == "_call_set_state" and chain(self, fn):
            return
        super().add_done_callback(fn)  # type: ignore[arg-type]

    def __await__(self) -> Generator[Any, None, T]:
        """Wait in the running event loop, asyncio's or trio's, and give the result.

        Cancelling the await cancels a queued call and interrupts a running one. What runs is
        given 0.1 s to end before the cancellation goes on.
        """
        if self.done() and not self.cancelled():
            return self.result()
        if self._has_task:
            return (yield from wait(self))
        from asyncio import wrap_future  # noqa: PLC0415 - rare: a future made by hand

        return (yield from wrap_future(self).__await__())

    def __getattr__(self, name: str) -> Any:
        if name in _LISTENING or (name in _UNSETTLED and not self._has_task):
            self._make_standard()
            return self.__dict__[name]
        if name == "_state":
            return self._phase_name()
        if name in _UNSETTLED:
            outcome = self._outcome() if self.done() else None
            return None if outcome is None else outcome[name == "_exception"]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _make_standard(self) -> None:
        """Create the standard class's attributes, once, and begin to listen."""
        with _creating:
            if "_waiters" in self.__dict__:
                return
            # First: who finds the attributes goes past this method, and relies on being listened
            # to. An end that comes now waits for them, in `_publish`.
            self._listen()
            made: dict[str, Any] = {} if self._has_task else dict(_UNSETTLED)
            # `_waiters` last: it is what tells other threads that all is there.
            made |= {
                "_condition": threading.Condition(),
                "_done_callbacks": [],
                "_waiters": [],
            }
            for name, value in made.items():
                # Attributes that were set already (by a test, by a subclass) stay.
                self.__dict__.setdefault(name, value)

    def _publish(self) -> None:
        """Let listeners see the task's end, and wake those that wait."""
        # Decoded first: unpickling runs the user's code, which has no place under the lock.
        outcome = self._outcome()
        # Looked up before the lock is taken: they may be in the making (`_make_standard`).
        waiters = self._waiters
        condition = self._condition
        if not condition.acquire(blocking=False):
            _wait_for(condition)
        try:
            if not self._mark_published():
                return
            for waiter in waiters:
                if outcome is None:
                    waiter.add_cancelled(self)
                elif outcome[1] is not None:
                    waiter.add_exception(self)
                else:
                    waiter.add_result(self)
            condition.notify_all()
        finally:
            condition.release()

    def _deliver(self) -> None:
        """Publish and call the callbacks. Called once, by the completer or by ``cancel``."""
        self._publish()
        self._invoke_callbacks()

    def _publish_after_fork(self) -> None:
        """Let the end be seen in the child of a fork. Callbacks are the parent's business."""
        # The lock may be held, and the waiters be those, of threads that are not here.
        self.__dict__ |= {
            "_condition": threading.Condition(),
            "_waiters": [],
            "_done_callbacks": [],
        }
        self._mark_published()

    def set_running_or_notify_cancel(self) -> bool:
        """Do what the standard method does; a pool's own futures are not the caller's to set."""
        self._refuse_if_owned()
        return super().set_running_or_notify_cancel()

    def set_result(self, result: T) -> None:
        """Do what the standard method does; a pool's own futures are not the caller's to set."""
        self._refuse_if_owned()
        super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        """Do what the standard method does; a pool's own futures are not the caller's to set."""
        self._refuse_if_owned()
        super().set_exception(exception)

    def _refuse_if_owned(self) -> None:
        if self._has_task:
            raise InvalidStateError(f"{self!r} belongs to a pool, which alone ends it")
