"""What the supervisor knows of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from subpool.integrations.hypercorn._workers import Handle

FIRST_DELAY = 0.1  # seconds before a worker that failed is started again; doubled each time


class Life:
    """One worker from its start to its end."""

    def __init__(self) -> None:
        self.handle: Handle
        self.state = "starting"
        self.ready_at = 0.0
        self.was_cut = False
        self.option: str | None = None  # what it loads a library for, before the app
        self.forced = 0
        self.timer: asyncio.TimerHandle | None = None

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Place:
    """What one of the server's workers is at: the one that serves, and the one that follows."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Life | None = None
        self.follower: Life | None = None
        self.delay = FIRST_DELAY
        self.timer: asyncio.TimerHandle | None = None
