"""Reloads: all workers are replaced, one after another.

Guarantees: a follower that does not come to be ready leaves the old workers where they are. What is
asked for while a follower still starts replaces that follower, and what is asked for later is done
afterwards, so that no change is missed. At each place one follower starts at a time, however often
it is asked for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from subpool.integrations.hypercorn._places import Life, Place


class Reloads:
    """What is still to be replaced.

    Args:
        places: All.
        log: Of the server.
        start: Starts a follower at a place; gives ``None`` if that failed.
        drop: Ends a follower that is not wanted any more. It may have begun to serve, unheard.

    """

    def __init__(
        self,
        places: list[Place],
        log: logging.Logger,
        start: Callable[[Place], Life | None],
        drop: Callable[[Place, Life], None],
    ) -> None:
        self._places = places
        self._log = log
        self._start = start
        self._drop = drop
        self._left: list[Place] = []
        self._at: Place | None = None
        self._follower: Life | None = None
        # Until it has ended, or accepts nothing more: the one before the follower, or one dropped.
        self._giving_way: Life | None = None
        self._is_asked_again = False

    def ask(self) -> None:
        """Replace all, also those that have been replaced a moment ago."""
        self._left = list(self._places)
        if self._follower is not None and self._follower.state != "starting":
            self._is_asked_again = True
            return
        if self._at is not None:
            # Its follower is perhaps from what was there before; it may even hang in that.
            self._left.remove(self._at)
            self._left.insert(0, self._at)
        if self._giving_way is None:
            self._next()

    def is_ready(self, life: Life, before: Life | None) -> None:
        """Hear that a worker is ready, and which one it follows."""
        if life is self._follower:
            if before is None:
                self._next()
            else:
                self._giving_way = before

    def is_draining(self, life: Life) -> None:
        """Hear that a worker takes no more connections."""
        if life is self._giving_way:
            self._next()

    def go_on_without(self, life: Life) -> None:
        """Hear that a worker has ended."""
        if life is self._giving_way:
            self._next()
        elif life is self._follower:
            self._fail()

    def end(self) -> None:
        """Replace nothing any more."""
        self._left.clear()
        self._at = self._follower = self._giving_way = None

    def _fail(self) -> None:
        if self._is_asked_again:
            self._next()
            return
        self.end()
        self._log.error("The reload has failed: the workers that there are go on")

    def _next(self) -> None:
        self._follower = self._giving_way = None
        self._is_asked_again = False
        if not self._left:
            self._at = None
            self._log.info("All workers are replaced")
            return
        self._at = place = self._left[0]
        if place.follower is not None:  # a new one is on its way, but from what was there before
            self._giving_way = place.follower
            self._drop(place, place.follower)
            return
        self._left.pop(0)
        self._follower = self._start(place)
        if self._follower is None:
            self._fail()
