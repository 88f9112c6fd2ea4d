"""What an asyncio program awaits of a pool: a future of its loop, and a coroutine as well.

Imported where a loop runs, so asyncio is there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from subpool.futures import Future

# Seconds that a cancelled await gives its interrupted task to end.
PATIENCE = 0.1


class Awaited[T](asyncio.Future[T]):
    """A future of the running loop for a call in an interpreter.

    An `asyncio.Future`, so that ``gather``, ``wait`` and ``await`` take it as it is; and by
    ``send``, ``throw`` and ``close`` a coroutine, for ``create_task`` and its like. A coroutine's
    task would cost as much as the call.

    Cancelling it cancels a queued call at once. A running one is interrupted; the future is
    cancelled when the call has ended, or after `PATIENCE`.
    """

    __slots__ = ("_source",)

    # Set by who makes it (src/bridge.rs): an __init__ in Python would cost.
    _source: Future[T]
    _steps: Generator[Any, None, T] | None = None

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        if self._source.cancel() or not self._source.interrupt():
            return super().cancel(msg)
        # From here on the call's outcome is not wanted any more.
        self.__class__ = _Ending
        self._message = msg
        self._timer = self.get_loop().call_later(PATIENCE, self.cancel)
        return True

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


class _Ending(Awaited[Any]):
    """One that waits for the end of its interrupted call; whatever that is, it is cancelled."""

    __slots__ = ()

    _message: Any
    _timer: asyncio.TimerHandle

    def cancel(self, _msg: Any = None) -> bool:
        self._timer.cancel()
        return asyncio.Future.cancel(self, self._message)

    def set_result(self, _result: Any, /) -> None:
        self.cancel()

    def set_exception(self, _exception: Any, /) -> None:
        self.cancel()
