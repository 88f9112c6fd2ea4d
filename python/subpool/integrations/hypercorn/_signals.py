"""The signals that end and reload the server, from before its start to the end of the program.

Guarantees: no signal is lost, and none ends the process in another way than the supervisor's. The
handlers are not the event loop's: those go when the loop is closed, and what comes after it, as
interpreters that close and tasks that finish, would then be ended by the signal itself.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

_NUMBERS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP


class Signals:
    """While this is entered, signals are bytes on a socket.

    Args:
        stay: Whether they do nothing afterwards, since the program ends then. Otherwise their
            handlers are again what they were.

    """

    def __init__(self, *, stay: bool = False) -> None:
        self._stay = stay
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.reader, self._writer = socket.socketpair()
        for each in (self.reader, self._writer):
            each.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in _NUMBERS:
            self._handlers[number] = signal.signal(number, _do_nothing)
        return self

    def listen(
        self, loop: asyncio.AbstractEventLoop, heard: Callable[[signal.Signals], None]
    ) -> None:
        """Call `heard` in the loop with each signal, also with those that came before."""

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                for number in self.reader.recv(100):
                    if number in _NUMBERS:
                        heard(signal.Signals(number))

        loop.add_reader(self.reader.fileno(), read)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._stay:
            for number, handler in self._handlers.items():
                if handler is not None:  # otherwise not Python's
                    signal.signal(number, handler)
        signal.set_wakeup_fd(self._before)
        self.reader.close()
        self._writer.close()


def _do_nothing(*_: object) -> None:
    pass
