"""Awaiting in trio: one system task per run watches the bridge's descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, RunVar

from subpool._loops import bell
from subpool._subpool import Bridge

if TYPE_CHECKING:
    from subpool.futures import Future

# Seconds that a cancelled await gives its interrupted task to end.
PATIENCE = 0.1

_bridge: RunVar[Bridge] = RunVar("subpool._bridge")


class _Waiter:
    """A trio task that sleeps. To a bridge it is a future; the task itself looks at the outcome."""

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self._woken = False

    def done(self) -> bool:
        return self._woken

    def cancelled(self) -> bool:
        return False

    def _wake(self, _outcome: object = None) -> None:
        self._woken = True
        trio.lowlevel.reschedule(self._task)

    set_result = set_exception = cancel = _wake

    async def sleep(self) -> None:
        def leave(_raise_cancel: object) -> Abort:
            self._woken = True
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(leave)


async def wait_in_trio[T](future: Future[T]) -> T:
    """Wait until a pool's future is done; see `subpool._loops.wait`."""
    try:
        await _sleep_until(future)
        return future.result()
    except trio.Cancelled:
        if not future.cancel() and future.interrupt():
            with trio.move_on_after(PATIENCE, shield=True):
                await _sleep_until(future)
        raise


async def _sleep_until(future: Future[Any]) -> None:
    waiter = _Waiter()
    if _connected().expect(future, waiter):
        await waiter.sleep()
    else:
        await trio.lowlevel.checkpoint()


def _connected() -> Bridge:
    try:
        return _bridge.get()
    except LookupError:
        bridge = Bridge(bell())
        _bridge.set(bridge)
        trio.lowlevel.spawn_system_task(_serve, bridge, name="subpool bridge")
        return bridge


async def _serve(bridge: Bridge) -> None:
    try:
        while True:
            await trio.lowlevel.wait_readable(bridge.fileno())
            bridge.drain()
    finally:
        # The run ends: nobody is left to be told.
        bridge.close()
