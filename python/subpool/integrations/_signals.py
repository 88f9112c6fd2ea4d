"""The signals that end and reload what serves, from before its start to the end of the program.

Guarantees: no signal is lost, and none ends the process in another way than who listens to them.
The handlers do nothing: Python runs them in the middle of whatever the main thread does. They are
not an event loop's either: those go when the loop is closed, and what comes after it, as
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

_ENDED = 0  # no signal's number


class Signals:
    """While this is entered, signals are bytes on a socket.

    Args:
        numbers: Of the signals.
        stay: Whether they do nothing afterwards, since the program ends then. Otherwise their
            handlers are again what they were.

    """

    def __init__(self, *numbers: signal.Signals, stay: bool = False) -> None:
        self._numbers = numbers
        self._stay = stay
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._handlers[number] = signal.signal(number, _do_nothing)
        return self

    def listen(
        self, loop: asyncio.AbstractEventLoop, heard: Callable[[signal.Signals], None]
    ) -> None:
        """Call `heard` in the loop with each signal, also with those that came before."""

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                for number in self.reader.recv(100):
                    if number in self._numbers:  # it may be that of some other handler
                        heard(signal.Signals(number))

        self.reader.setblocking(False)
        loop.add_reader(self.reader.fileno(), read)

    def wait(self) -> signal.Signals | None:
        """Wait for a signal; give ``None`` when `end` has been called."""
        while (number := self.reader.recv(1)[0]) != _ENDED:
            if number in self._numbers:
                return signal.Signals(number)
        return None

    def end(self) -> None:
        """Have no signal waited for any more; from any thread."""
        self._writer.send(bytes([_ENDED]))

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
