"""What an asyncio program awaits of a pool: a future of its loop, and a coroutine as well.

Imported where a loop runs, so asyncio is there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from subpool._subpool import copy_in

if TYPE_CHECKING:
    from collections.abc import Generator

    from subpool.futures import Future

# Seconds that a cancelled await gives its interrupted task to end.
PATIENCE = 0.1


class Awaited[T](asyncio.Future[T]):
    """A future of the loop for a call in an interpreter.

    An `asyncio.Future`, so that ``gather``, ``wait`` and ``await`` take it as it is; and by
    ``send``, ``throw`` and ``close`` a coroutine, for ``create_task`` and its like. A coroutine's
    task would cost as much as the call.

    Cancelling it cancels a queued call at once. A running one is interrupted; the future is
    cancelled when the call has ended, or after `PATIENCE`.
    """

    __slots__ = ("_ending", "_source", "_steps")

    def __init__(self, source: Future[T], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._source = source
        self._ending: tuple[asyncio.TimerHandle, Any] | None = None
        self._steps: Generator[Any, None, T] | None = None

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        if self._ending is None and not self._source.cancel() and self._source.interrupt():
            timer = self.get_loop().call_later(PATIENCE, self._end)
            self._ending = timer, msg
            return True
        return super().cancel(msg)

    def _end(self) -> None:
        """Let a cancellation through that waited for the call's end."""
        if self._ending is not None and not self.done():
            timer, message = self._ending
            timer.cancel()
            super().cancel(message)

    def set_result(self, result: T, /) -> None:
        if self._ending is None:
            super().set_result(result)
        else:
            self._end()

    def set_exception(self, exception: Any, /) -> None:
        if self._ending is None:
            super().set_exception(exception)
        else:
            self._end()

    # The coroutine.

    def send(self, value: None) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        if self._steps is None:  # cancelled before its first step
            self.cancel()
            self._steps = self.__await__()
        return self._steps.throw(*error)

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()


def awaited[T](source: Future[T], loop: asyncio.AbstractEventLoop) -> Awaited[T]:
    """Give the future of `loop`, which runs on this thread, for a pool's future."""
    target = Awaited(source, loop)
    if not copy_in(loop, source, target):
        settle(source, target)
    return target


def settle(source: Future[Any], target: asyncio.Future[Any]) -> None:
    """Copy the outcome of a future that is done."""
    if source.cancelled():
        target.cancel()
        return
    error = source.exception()
    if error is None:
        target.set_result(source.result())
    else:
        target.set_exception(error)
