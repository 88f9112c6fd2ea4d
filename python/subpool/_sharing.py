"""What stands behind `subpool.sync`: its handles' base, waiting, pickling, errors.

Imported in workers, so it imports next to nothing itself (_bootstrap.py). The native side
(src/transfer/shared/) finds `room`, `dump_otherwise`, `find` and `wait_in_loop` here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F")

_native: Any = sys.modules.get("_subpool_worker")
if not hasattr(_native, "make_room"):  # main, or a process of ours
    from subpool import _subpool as _native


def _look() -> None:
    """Do nothing. As it begins Python raises what was set for the thread (ticket.rs)."""


# With globals of its own: the room keeps it, and no garbage collector looks into the room, so by
# these it would keep all of this module.
_function: Any = type(_look)
room: Any = _native.make_room(_function(_look.__code__, {}))


class Shared:
    """A handle. Handles of the same thing are equal, wherever they are."""

    __slots__ = ("__weakref__", "_core")

    _core: Any

    def __reduce__(self) -> tuple[Any, ...]:
        cls = type(self)
        made = take_core, (cls, self._core)
        if cls in stateless:
            return made
        state = state_of(self)
        return (*made, state) if state else made

    # By the number alone, which no other thing of the process has: the process's own part of the
    # name changes with a fork, and a handle's place in a dict must not.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shared):
            return NotImplemented
        return self._number() == other._number()

    def __hash__(self) -> int:
        return hash(self._number())

    def _number(self) -> int:
        number: int = self._core.name()[1]
        return number


# The classes of `subpool.sync` themselves, whose handles have no attributes.
stateless: set[type] = set()


def state_of(handle: Shared) -> Any:
    """Give what a subclass has added to its instances, as `pickle` wants it."""
    cls: Any = type(handle)
    if cls.__getstate__ is not object.__getstate__:
        return cls.__getstate__(handle)
    # The second is that of slots, among which is ours.
    attributes, slots = object.__getstate__(handle)
    slots = {name: value for name, value in slots.items() if name != "_core"}
    return (attributes, slots) if slots else attributes


class Native:
    """A method of a handle's native side: no Python code of ours runs in its call.

    So nothing is raised in it: Python does that where its own code runs.
    """

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Any) -> None:
        self.name = name
        self.function = function

    def __get__(self, handle: Any, cls: type | None = None) -> Any:
        return self.function if handle is None else getattr(handle._core, self.name)  # noqa: SLF001


def natively(name: str) -> Callable[[F], F]:
    """Do what the function does by the native method of that name."""

    def wrap(function: F) -> F:
        return Native(name, function)  # type: ignore[return-value]

    return wrap


def take_core(cls: type[Shared], core: Any) -> Shared:
    """Make a handle of what travelled."""
    made = cls.__new__(cls)
    made._core = core  # noqa: SLF001 - this file's own
    return made


def wait(ticket: Any, timeout: float | None) -> Any:
    """Wait for what a ticket is for, and take it. ``None``: the time is up."""
    try:
        left: Any = timeout
        # It comes back when the thread is to raise something, which happens here.
        while (left := ticket.wait(left)) is not True:
            if left is False:
                return None
        return ticket.take()
    finally:
        ticket.leave()


async def wait_in_loop(core: Any) -> None:
    """Wait for a lock's core (hold.rs)."""
    from subpool._doors import wait  # noqa: PLC0415 - for those who have a loop

    await wait(core.ticket(False), None)


def exception(name: str) -> Exception:
    """Make one of the exceptions of `queue`."""
    import queue  # noqa: PLC0415 - it imports threading and more

    error: Exception = getattr(queue, name)()
    return error


def unreadable(error: BaseException) -> BaseException:
    """Tell of an item that cannot be had here."""
    if not isinstance(error, Exception):
        return error  # an interrupt amid the unpickling
    from subpool._bootstrap import text_of  # noqa: PLC0415 - only when something failed
    from subpool.errors import NotTransferableError  # noqa: PLC0415

    told = NotTransferableError(
        "cannot receive an item of a subpool.Queue: it could not be unpickled in this interpreter: "
        f"{type(error).__name__}: {text_of(error)}"
    )
    told.path = "item"
    told.__cause__ = error
    return told


def dump_otherwise(error: BaseException | None, item: object, sink: Any) -> None:
    """Write an item that plain pickle refused with `error` to `sink`, in a worker."""
    if not isinstance(error, Exception):
        raise error or SystemError("an item could not be pickled, and nobody said why")
    from subpool._bootstrap import encode_part  # noqa: PLC0415 - only when something failed

    refused = encode_part("item", error, item, sink)
    if refused is not None:
        from subpool.errors import NotTransferableError  # noqa: PLC0415 - as above

        path, why, cause = refused
        told = NotTransferableError(f"cannot send {path} by a subpool.Queue: {why}")
        told.path = path
        raise told from cause


def find(kind: str, name: tuple[int, int]) -> Any:
    """Find what a pickle of other hands than ours names."""
    core = room.find(*name)
    if core is not None:
        return core
    from subpool.errors import NotTransferableError  # noqa: PLC0415 - only when something failed

    own: int = room.event().name()[0]
    raise NotTransferableError(
        f"this subpool.{kind} belongs to another process: events, queues and locks of subpool "
        "connect the interpreters of one process; use those of multiprocessing between processes"
        if name[0] != own
        else f"this subpool.{kind} is gone: its last handle was dropped before this pickle of it "
        "was loaded; keep one, or let subpool do the pickling"
    )
