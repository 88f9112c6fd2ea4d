"""Events, queues and locks for all interpreters of a process.

Made in the main interpreter or in a task, they go to others as arguments, as results, through a
`Queue`, as globals of functions that travel by value. What arrives is another handle to the same
thing. Who waits sleeps with the GIL released and without looking at a clock; an interrupt of the
task, a time limit, Ctrl-C in main and the end of the interpreter get it out of that.

In an event loop of asyncio, ``await`` the methods whose names end in ``_async``.

Imported in workers, so it imports next to nothing itself (_bootstrap.py).
"""

from __future__ import annotations

from subpool import _sharing
from subpool._sharing import Shared, room

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")
else:
    T = None

    class Generic:
        """What is left of it at run time."""

        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))


class Event(Shared):
    """A flag that others wait for, as `threading.Event` is, for all interpreters of a process.

    Example::

        stop = subpool.Event()
        future = pool.submit(serve, stop)  # the function calls stop.wait(), or is_set()
        ...
        stop.set()

    """

    __slots__ = ()

    def __init__(self) -> None:
        self._core = room.event()

    def set(self) -> None:
        """Set the flag, and wake all who wait for it."""
        self._core.set()

    def clear(self) -> None:
        """Reset the flag. Who was waiting when it was last set has been woken all the same."""
        self._core.clear()

    def is_set(self) -> bool:
        """Tell whether the flag is set."""
        return bool(self._core.is_set())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set.

        Args:
            timeout: Seconds to wait at most; ``None``: any time.

        Returns:
            Whether it was set. False: the time was up before.

        """
        core = self._core
        return core.is_set() or _sharing.wait(core.ticket(False), timeout) is True

    async def wait_async(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as `wait`
        """Wait as `wait` does, in a loop of asyncio, which goes on meanwhile.

        Example::

            async def main(stop):
                async with serving():
                    await stop.wait_async()

        """
        core = self._core
        if core.is_set():
            return True
        from subpool._doors import wait  # noqa: PLC0415 - for those who have a loop

        return await wait(core.ticket(False), timeout) is True

    def __repr__(self) -> str:
        return f"<subpool.Event at #{self._number()}: {'set' if self.is_set() else 'unset'}>"


class Lock(Shared):
    """A lock that one task or thread of the process holds at a time.

    Those who wait get it in the order in which they came. As with `threading.Lock`, who has it may
    not acquire it again, anybody may release it, and it stays held if its holder ends without a
    release: use it by ``with``.

    Example::

        def append(lock, path, line):
            with lock, open(path, "a") as file:
                file.write(line)

        pool.map(append, repeat(subpool.Lock()), repeat(path), lines)

    """

    __slots__ = ()

    def __init__(self) -> None:
        self._core = room.lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the lock, as `threading.Lock.acquire` does.

        Args:
            blocking: Whether to wait for it.
            timeout: Seconds to wait at most; -1: any time.

        Returns:
            Whether the caller has it now.

        """
        if timeout != -1 and (not blocking or timeout < 0):
            raise ValueError(
                "timeout value must be a non-negative number"
                if blocking
                else "can't specify a timeout for a non-blocking call"
            )
        core = self._core
        if core.acquire():
            return True
        return (
            blocking
            and _sharing.wait(core.ticket(False), None if timeout == -1 else timeout) is True
        )

    async def acquire_async(self) -> bool:
        """Wait for the lock in a loop of asyncio, which goes on meanwhile.

        A cancelled wait leaves the lock to the next one. ``async with lock:`` does this, too.
        """
        core = self._core
        if core.acquire_in_loop():
            return True
        from subpool._doors import wait  # noqa: PLC0415 - for those who have a loop

        return await wait(core.ticket(False), None) is True

    @_sharing.natively("free")
    def release(self) -> None:
        """Release the lock, whoever holds it.

        Raises:
            RuntimeError: Nobody does.

        """
        self._core.free()

    def locked(self) -> bool:
        """Tell whether somebody has the lock."""
        return bool(self._core.is_set())

    @_sharing.natively("enter")
    def __enter__(self) -> bool:
        entered: bool = self._core.enter()
        return entered

    @_sharing.natively("exit")
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._core.exit()

    @_sharing.natively("enter_in_loop")
    async def __aenter__(self) -> None:
        await self._core.enter_in_loop()

    @_sharing.natively("exit_in_loop")
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._core.exit_in_loop()

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} subpool.Lock object at #{self._number()}>"


class Queue(Shared, Generic[T]):
    """A queue of items, as `queue.Queue` is, for all interpreters of a process.

    Items travel as arguments do: natively, by pickle, functions and classes by value where they
    must. They come out in the order in which they went in. An interpreter that ends leaves what it
    has put.

    Args:
        maxsize: How many items there may be; 0: any number.

    Example::

        def produce(items):
            for line in lines():
                items.put(line)
            items.shutdown()

        items = subpool.Queue(100)
        pool.submit(produce, items)
        try:
            while True:
                handle(items.get())
        except queue.ShutDown:
            pass

    """

    __slots__ = ()

    def __init__(self, maxsize: int = 0) -> None:
        self._core = room.queue(max(maxsize, 0))

    @property
    def maxsize(self) -> int:
        """How many items there may be; 0: any number."""
        return int(self._core.most())

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put and not reported by `task_done`."""
        return int(self._core.unfinished())

    @property
    def is_shutdown(self) -> bool:
        """Whether `shutdown` was called."""
        return bool(self._core.is_shut())

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item in, and wait for room if need be.

        Args:
            item: What can be an argument of a call in an interpreter.
            block: Whether to wait.
            timeout: Seconds to wait at most; ``None``: any time.

        Raises:
            queue.Full: There was no room in that time.
            queue.ShutDown: The queue was shut down.
            NotTransferableError: The item cannot leave its interpreter.

        """
        limit = _seconds(block, timeout)
        done = self._core.put(item)
        if done is True:
            return
        if done is not False:
            done = _sharing.wait(done, limit) if block else None
            if done is None:
                raise _sharing.exception("Full")
        if done is False:
            raise _sharing.exception("ShutDown")

    def put_nowait(self, item: T) -> None:
        """Put an item in if there is room now. Raises like `put`."""
        self.put(item, block=False)

    async def put_async(self, item: T) -> None:
        """Put an item in; wait for room in a loop of asyncio, which goes on meanwhile.

        A cancelled wait leaves the item out, unless there was room for it just before that.

        Raises:
            queue.ShutDown: The queue was shut down.

        """
        done = self._core.put(item)
        if done is True:
            return
        if done is not False:
            from subpool._doors import wait  # noqa: PLC0415 - for those who have a loop

            done = await wait(done, None)
        if done is False:
            raise _sharing.exception("ShutDown")

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the first item out, and wait for one if need be.

        An interrupt that comes while the call returns can lose the item, as with `queue.Queue`.

        Args:
            block: Whether to wait.
            timeout: Seconds to wait at most; ``None``: any time.

        Raises:
            queue.Empty: There was no item in that time.
            queue.ShutDown: The queue was shut down, and there is no item left.
            NotTransferableError: The item cannot be unpickled here. It is gone.

        """
        limit = _seconds(block, timeout)
        got = self._core.get()
        if got is None and block:
            got = _sharing.wait(self._core.ticket(False), limit)
        return self._item(got)

    def get_nowait(self) -> T:
        """Take the first item out if there is one now. Raises like `get`."""
        return self.get(block=False)

    async def get_async(self) -> T:
        """Take the first item out; wait for it in a loop of asyncio, which goes on meanwhile.

        A cancelled wait loses no item.

        Raises:
            queue.ShutDown: The queue was shut down, and there is no item left.
            NotTransferableError: The item cannot be unpickled here. It is gone.

        """
        got = self._core.get()
        if got is None:
            from subpool._doors import wait  # noqa: PLC0415 - for those who have a loop

            got = await wait(self._core.ticket(False), None)
        return self._item(got)

    def _item(self, got: Any) -> T:
        if got is None:
            raise _sharing.exception("Empty")
        if got is False:
            raise _sharing.exception("ShutDown")
        if len(got) > 1:
            raise _sharing.unreadable(got[1])
        item: T = got[0]
        return item

    def qsize(self) -> int:
        """Tell how many items there are; another thread may change that at once."""
        return int(self._core.qsize())

    def empty(self) -> bool:
        """Tell whether there is no item; another thread may change that at once."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Tell whether there is no room; another thread may change that at once."""
        return bool(self._core.full())

    def task_done(self) -> None:
        """Report that an item that was got is dealt with, for `join`.

        Raises:
            ValueError: More were reported than were put.

        """
        if not self._core.task_done():
            raise ValueError("task_done() called too many times")

    def join(self, timeout: float | None = None) -> bool:
        """Wait until `task_done` was called for every item that was put.

        Args:
            timeout: Seconds to wait at most; ``None``: any time.

        Returns:
            Whether they are done. False: the time was up before.

        """
        return _sharing.wait(self._core.ticket(True), timeout) is True

    async def join_async(self) -> None:
        """Wait as `join` does, in a loop of asyncio, which goes on meanwhile."""
        from subpool._doors import wait  # noqa: PLC0415 - for those who have a loop

        await wait(self._core.ticket(True), None)

    def shutdown(self, immediate: bool = False) -> None:
        """Accept no more items, as `queue.Queue.shutdown` does.

        Who waits in `put` gets `queue.ShutDown`, and who calls `get` as soon as nothing is left.

        Args:
            immediate: Whether to drop what is left.

        """
        self._core.shutdown(bool(immediate))

    def __repr__(self) -> str:
        return f"<subpool.Queue at #{self._number()}: {self.qsize()} items>"


for _class in (Event, Lock, Queue):
    _class.__module__ = "subpool"  # where pickle looks for them
    _sharing.stateless.add(_class)


def _seconds(block: bool, timeout: float | None) -> float | None:
    if block and timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return timeout
