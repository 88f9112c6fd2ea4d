"""Waiting for events, queues and locks in loops of asyncio, in main and in workers.

Guarantees: each loop has one door, a descriptor that it watches, for all its waits; a wait that is
cancelled gives back what it was called for (src/transfer/shared/ticket.rs); a loop that is closed
leaves nothing behind.

Nothing here imports an event loop: who awaits has one.
"""

from __future__ import annotations

import os
import sys

from subpool._sharing import room

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    import asyncio
    from typing import Any


class _Door:
    """A loop's door. Its registration with the loop owns it, so that closing the loop ends it."""

    __slots__ = ("__weakref__", "core", "told", "waiting")

    def __init__(self, core: Any) -> None:
        self.core = core
        self.told: list[int] = []
        self.waiting: dict[int, asyncio.Future[None]] = {}

    def drain(self) -> None:
        told = self.told
        try:
            self.core.drain(told)
            for number in told:
                future = self.waiting.get(number)
                if future is not None and not future.done():
                    future.set_result(None)
        except BaseException:
            # Ctrl-C or an interrupt, and the loop may go on: it would wait for ever for those.
            self.core.ring()
            raise
        told.clear()


def _door_of(loop: Any) -> _Door:
    found = getattr(loop, "_subpool_door", None)
    door: _Door | None = None if found is None else found()
    if door is None:
        from _weakref import ref  # noqa: PLC0415 - once for a loop

        door = _Door(room.door(*_descriptors()))
        loop.add_reader(door.core.fileno(), door.drain)
        loop._subpool_door = ref(door)  # noqa: SLF001
    return door


def _descriptors() -> tuple[int, int]:
    """Make one to watch, and one that makes it readable."""
    if hasattr(os, "eventfd"):
        reader = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            return reader, os.dup(reader)
        except OSError:
            os.close(reader)
            raise
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


async def wait(ticket: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - of the ticket
    """Wait for what a ticket is for, and take it. ``None``: the time is up.

    Raises:
        RuntimeError: No loop of asyncio is running.

    """
    try:
        # Without an import: who runs a loop has imported it.
        events: Any = sys.modules.get("asyncio.events")
        loop = None if events is None else events._get_running_loop()  # noqa: SLF001
        if loop is None:
            raise RuntimeError("await needs a running event loop of asyncio")
        door = _door_of(loop)
        number = ticket.enter(door.core)
        # Not the door: the loop alone keeps it, so that its end is the door's.
        waiting = door.waiting
        del door
        if number is not None:
            future = waiting[number] = loop.create_future()
            timer = None if timeout is None else loop.call_later(timeout, _tell, future)
            try:
                await future
            finally:
                waiting.pop(number, None)
                if timer is not None:
                    timer.cancel()
        return ticket.take()
    finally:
        ticket.leave()


def _tell(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
