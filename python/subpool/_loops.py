"""Awaiting in event loops: the loops' side of the bridge (src/bridge.rs).

Guarantees: an await of a pool's future wakes up on its own loop's thread; cancelling it cancels
what is queued and interrupts what runs, and waits for that no longer than a bound (`_awaited.py`);
a loop that is closed leaves nothing behind, and what it awaited goes on.

Nothing here imports an event loop: who awaits has one.
"""

from __future__ import annotations

import concurrent.futures
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

from subpool._subpool import Bridge, await_in_loop, copy_in

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator
    from types import CodeType, FunctionType

    from subpool.futures import Future


# Seconds.
_NEVER = 1e9


def bell() -> tuple[int, int]:
    """Make two descriptors for a `Bridge`: one to watch, and one that makes it readable."""
    if hasattr(os, "eventfd"):
        reader = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return reader, os.dup(reader)
    import socket  # noqa: PLC0415 - not where there are eventfds

    watched, rung = socket.socketpair()
    for end in (watched, rung):
        end.setblocking(False)
    return watched.detach(), rung.detach()


def connect(loop: asyncio.AbstractEventLoop) -> Bridge:
    """Give an asyncio loop, on its own thread, the bridge that it does not have yet.

    Its registration owns the bridge, so that closing the loop closes the bridge; the loop itself
    keeps a weak reference, for `copy_in` to find.
    """
    bridge = Bridge(bell())
    try:
        loop.add_reader(bridge.fileno(), bridge.drain)
    except NotImplementedError:  # a loop that watches no descriptors: Windows' proactor
        bridge = _bridge_by_call(loop)
    loop._subpool_bridge = weakref.ref(bridge)  # type: ignore[attr-defined]  # noqa: SLF001
    return bridge


def _bridge_by_call(loop: asyncio.AbstractEventLoop) -> Bridge:
    found = weakref.ref(loop)

    def wake() -> None:
        loop, bridge = found(), reference()
        if bridge is None:
            return
        try:
            if loop is not None:
                loop.call_soon_threadsafe(bridge.drain)
        except RuntimeError:  # the loop is closed
            bridge.close()

    bridge = Bridge(wake)
    reference = weakref.ref(bridge)
    # There is no registration that a close would end, but there are timers.
    loop.call_later(_NEVER, bridge.drain)
    return bridge


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Give this thread's running asyncio loop."""
    # Without an import: who runs a loop has imported it.
    events = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()  # noqa: SLF001


def in_trio_task() -> bool:
    """Tell whether a task of trio is running."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def wait[T](future: Future[T]) -> Generator[Any, None, T]:
    """Wait in the running event loop until a pool's future is done, and give its result.

    Raises:
        RuntimeError: No loop is running, or one that is neither asyncio's nor trio's.

    """
    if in_trio_task():  # first: trio may be a guest in an asyncio loop
        from subpool._trio import wait_in_trio  # noqa: PLC0415 - trio is optional

        return (yield from wait_in_trio(future).__await__())
    target = await_in_loop(future)
    if target is None:
        raise RuntimeError("await needs a running event loop, of asyncio or of trio")
    return (yield from target)


class _Probe(concurrent.futures.Future[None]):
    """Shows which callback asyncio chains futures by."""

    code: CodeType

    def add_done_callback(self, fn: Any) -> None:
        self.code = fn.__code__


# What `asyncio.wrap_future` adds to a future as its callback, or None if that looks unknown.
_chaining: CodeType | bool | None = False


def chain(future: Future[Any], callback: FunctionType) -> bool:
    """Take the place of `callback` if that is asyncio's, and copies `future` to the running loop.

    ``loop.run_in_executor`` and `asyncio.to_thread` come this way, by `asyncio.wrap_future`. Its
    callback would run on the completer's thread and send the outcome on to the loop. False: it is
    something else.
    """
    global _chaining  # noqa: PLW0603 - looked up once
    if _chaining is False:
        _chaining = _find_chaining()
    code, closure = callback.__code__, callback.__closure__
    if code is not _chaining or closure is None or not future._has_task:  # noqa: SLF001
        return False
    cells = dict(zip(code.co_freevars, closure, strict=True))
    loop = running_loop()
    # A bridge can only be connected on the loop's own thread.
    if loop is None or cells["dest_loop"].cell_contents is not loop:
        return False
    copy_in(loop, future, cells["destination"].cell_contents)
    return True


def _find_chaining() -> CodeType | None:
    from asyncio import futures  # noqa: PLC0415 - imported already: it made the callback

    probe = _Probe()
    futures._chain_future(probe, concurrent.futures.Future())  # type: ignore[attr-defined]  # noqa: SLF001
    known = {"dest_loop", "destination"} <= set(probe.code.co_freevars)
    return probe.code if known else None


def converted(error: BaseException) -> BaseException:
    """Give an exception as asyncio's chaining gives it to its own future."""
    from asyncio import CancelledError, InvalidStateError  # noqa: PLC0415 - as above

    if type(error) is concurrent.futures.CancelledError:
        return CancelledError(*error.args).with_traceback(error.__traceback__)
    if type(error) is concurrent.futures.InvalidStateError:
        return InvalidStateError(*error.args).with_traceback(error.__traceback__)
    return error
