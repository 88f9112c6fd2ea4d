"""What workers leave: interpreters that close, and workers that do not end.

Guarantees: the end of the program does not wait for what cannot be ended; what ended by itself in
time is not counted.
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING

from subpool import _ending
from subpool._subpool import close_all

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import Callable

    from subpool.integrations.hypercorn._places import Life

_SLOW = 5.0  # seconds after which the log tells of an interpreter that does not close
_AGAIN = 1.0  # seconds before it is tried again to wait for one


class Leaving:
    """The workers that count no more, and of which something may still be there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: logging.Logger) -> None:
        self._loop = loop
        self._log = log
        self._lives: set[Life] = set()
        self._all_gone: asyncio.Future[None] = loop.create_future()
        self._is_at_the_end = False

    def add(self, life: Life) -> None:
        """Note a worker that does not end."""
        self._lives.add(life)

    def close(self, life: Life, *, was_replaced: bool) -> None:
        """Note a worker that has ended, and wait for its interpreter."""
        self._lives.add(life)
        number = life.handle.number
        slow = self._loop.call_later(_SLOW, self._tell_slow, number)

        def gone() -> None:
            slow.cancel()
            self._lives.discard(life)
            if was_replaced and not self._is_at_the_end:
                self._log.info("Worker %d: the one before it has ended", number)
            if not self._lives:
                settle(self._all_gone)

        self._wait_for(life, gone)

    def _wait_for(self, life: Life, gone: Callable[[], None]) -> None:
        try:
            life.handle.when_gone(gone)
        except RuntimeError:  # no thread is left: the one that ends may give one back
            self._loop.call_later(_AGAIN, self._wait_for, life, gone)

    def wait(self, seconds: float) -> bool:
        """Run the loop so long, or until nothing is there, and tell whether that came to be."""
        self._is_at_the_end = True
        if self._lives:
            self._all_gone = self._loop.create_future()
            self._loop.call_later(seconds, lambda: settle(self._all_gone))
            self._loop.run_until_complete(self._all_gone)
        return not self._lives

    def _tell_slow(self, number: int) -> None:
        self._log.warning(
            "Worker %d: the interpreter of one that has ended does not close, because a thread of "
            "the app's goes on in it",
            number,
        )


def settle(future: asyncio.Future[None]) -> None:
    """Give a future its result, if it has none."""
    if not future.done():
        future.set_result(None)


def leave_at_the_end(code: int) -> None:
    """Have the program's end be that of the process: it would wait for what does not end."""

    def leave() -> None:
        atexit.unregister(close_all)  # which waits
        _ending.leave(SystemExit(code), late=False)

    # After that of subpool's own, and so called before it.
    threading._register_atexit(leave)  # type: ignore[attr-defined]  # noqa: SLF001
