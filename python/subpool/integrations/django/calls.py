"""What a dispatcher has claimed and given to its pool: from the claim until its end is noted.

Guarantees: each ends in the store or is given back, whatever becomes of its interpreter, and if the
store does not answer, that is tried again; no task is with the pool twice; what was claimed in
advance and has not begun after a second is given back; claims that were lost are interrupted.

All is the dispatcher's thread's, but `_note_end`.
"""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from subpool import BrokenInterpreterPool, IncompatibleModuleError, TaskInterrupted
from subpool.integrations.django import failures
from subpool.integrations.django.execution import failure_of
from subpool.integrations.django.stores import Outcome, StoreUnavailable

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from subpool import Future, InterpreterPoolExecutor
    from subpool.integrations.django.pools import Pools
    from subpool.integrations.django.stores import Record, Store

logger = logging.getLogger("subpool.integrations.django")

# A part of the lease, after which it is renewed.
_RENEWALS = 3.0
# For how many seconds, at the rate seen, tasks are claimed in advance; and at most how many.
_AHEAD, _MOST_AHEAD = 0.1, 64
# Seconds after which those that have not begun are given back.
_KEPT = 1.0
# Seconds that interrupted tasks get, at the end of the program.
_GRACE = 5.0


class _Call(NamedTuple):
    """A task that the pool has, and since when."""

    future: Future[bool]
    since: float


class Calls:
    """The calls that the pool has.

    Args:
        claimant: Whose claims these are.
        changed: To notify when a call has ended.
        is_ending: Whether what is interrupted now is so because all ends.

    """

    def __init__(
        self, claimant: str, changed: threading.Condition, is_ending: Callable[[], bool]
    ) -> None:
        self._claimant = claimant
        self._process = os.getpid()
        self._changed = changed
        self._is_ending = is_ending
        # In the order in which the pool begins them. Those of them that have ended are in both.
        self._running: dict[str, _Call] = {}
        self._ended: list[tuple[str, Future[bool]]] = []
        # Tasks that were interrupted here, and claims that are to be given back.
        self._interrupted: set[str] = set()
        self._unwanted: list[str] = []
        # Tasks that were claimed anew while they ran.
        self._regained: set[str] = set()
        self.renewed = 0.0
        # Tasks that have run, and the last look at how fast: when, how many by then, how many a
        # second before that.
        self.ran = 0
        self._looked, self._ran_by_then, self._rate = time.monotonic(), 0, 0.0

    def __len__(self) -> int:
        return len(self._running)

    @property
    def have_ended(self) -> bool:
        """Whether some have, and were not seen to."""
        return bool(self._ended)

    def submit(self, record: Record, store: Store, pools: Pools) -> None:
        """Give a claimed task to the pool, unless that has it already."""
        if record.id in self._running:
            logger.warning(
                "task %s was freed by another process, since its lease was over, and is this "
                "one's again: its run goes on",
                record.id,
            )
            self._regained.add(record.id)
            return
        # From a database an interpreter would read it once more.
        data = record if store.lease is not None else None
        future = pools.submit(self._claimant, record.id, data)
        self._running[record.id] = _Call(future, time.monotonic())
        future.add_done_callback(partial(self._note_end, record.id))

    def _note_end(self, record_id: str, future: Future[bool]) -> None:
        """Hear that a call has ended. On the completer's thread, or in the child of a fork."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._ended.append((record_id, future))
            self._changed.notify_all()

    def release(self, record_ids: list[str], store: Store) -> None:
        """Give back claims; what cannot be given back now is so by the next `settle`."""
        self._unwanted += record_ids
        if self._unwanted:
            store.release(self._unwanted, self._claimant)
            self._unwanted.clear()

    # How many to claim in advance.

    def ahead(self, store: Store) -> int:
        """Tell how many more tasks to claim than there are interpreters."""
        now = time.monotonic()
        if store.lease is None:
            return 0
        if now >= self._looked + _AHEAD:
            self._rate = (self.ran - self._ran_by_then) / (now - self._looked)
            self._looked, self._ran_by_then = now, self.ran
        return min(int(self._rate * _AHEAD), _MOST_AHEAD)

    def give_back(self, width: int, *, at_once: bool) -> None:
        """Cancel what was claimed in advance, if its turn does not come: others may have time.

        And what is due meanwhile may come before it.
        """
        now, since = time.monotonic(), self._in_advance_since(width)
        if not at_once and (since is None or now < since + _KEPT):
            return
        surplus = len(self._running) if at_once else len(self._running) - width
        for call in reversed(list(self._running.values())):
            if surplus <= 0:
                break
            surplus -= call.future.cancel()
        self._looked, self._ran_by_then, self._rate = now, self.ran, 0.0

    def _in_advance_since(self, width: int) -> float | None:
        """Tell when the oldest was claimed of what was so in advance, and has not begun."""
        for future, since in islice(self._running.values(), width, None):
            if not (future.running() or future.done()):
                return since
        return None

    def next_times(self, width: int, store: Store) -> list[float]:
        """Tell when there is something to do for them that nobody tells of."""
        times = []
        if store.lease is not None and self._running:
            times.append(self.renewed + store.lease / _RENEWALS)
        if (since := self._in_advance_since(width)) is not None:
            times.append(since + _KEPT)
        return times

    # Ends.

    def settle(self, store: Store, pools: Pools) -> None:
        """See to calls that have ended, and to those tasks that did not see to themselves."""
        with self._changed:
            ended = list(self._ended)
        for record_id, future in ended:
            call = self._running.get(record_id)
            if call is not None and call.future is future:
                self.ran += self._settle_one(record_id, future, store, pools)
                del self._running[record_id]
                self._interrupted.discard(record_id)
                if record_id in self._regained:
                    # If its end is noted that does nothing. Else it came before the second claim.
                    self._regained.remove(record_id)
                    self._unwanted.append(record_id)
            # Not before it is settled: the store may not answer.
            with self._changed:
                self._ended.remove((record_id, future))
        self.release([], store)
        self._renew(store)

    def _renew(self, store: Store) -> None:
        now = time.monotonic()
        lease = store.lease
        if lease is None or not self._running or now < self.renewed + lease / _RENEWALS:
            return
        kept = store.renew(list(self._running), self._claimant)
        self.renewed = now
        for record_id in self._running.keys() - kept:
            logger.warning(
                "task %s is not this process's any more, and is interrupted: it was deleted, "
                "or this process stood still and another has taken it",
                record_id,
            )
            self._interrupted.add(record_id)
            self._running[record_id].future.interrupt()

    def _settle_one(self, record_id: str, future: Future[bool], store: Store, pools: Pools) -> bool:
        """Do so; tell whether the task was begun."""
        try:
            return self._note(record_id, future, store, pools)
        except StoreUnavailable:
            raise
        except Exception:  # of this task alone, whose lease runs out
            logger.exception("the end of task %s cannot be noted", record_id)
            return True

    def _note(self, record_id: str, future: Future[bool], store: Store, pools: Pools) -> bool:
        if future.cancelled():
            self._unwanted.append(record_id)
            return False
        error = future.exception()
        if error is None:
            pools.have_worked()
            return future.result()
        if isinstance(error, BrokenInterpreterPool):
            pools.have_failed(error)
        if store.lease is not None and self._is_cut_off(record_id, error):
            if isinstance(error, StoreUnavailable):
                pools.have_no_store(error)
            self._unwanted.append(record_id)  # for another process to try
            return isinstance(error, TaskInterrupted)
        if isinstance(error, IncompatibleModuleError):
            error.add_note(failures.NO_FALLBACK)
        record = store.finish(record_id, self._claimant, Outcome(failure=failure_of(error)))
        if record is not None:
            failures.announce(record, error)
        return True

    def _is_cut_off(self, record_id: str, error: BaseException) -> bool:
        """Tell whether a task has ended through no doing of its own."""
        if isinstance(error, TaskInterrupted):
            # A task may raise one itself, for example that of a pool of its own.
            return record_id in self._interrupted or self._is_ending()
        return isinstance(error, BrokenInterpreterPool | StoreUnavailable)

    def cut_off(self, store: Store, pools: Pools, every: list[InterpreterPoolExecutor]) -> None:
        """Interrupt all, and note what becomes of them."""
        self._interrupted.update(self._running)
        for pool in every:
            pool.terminate_workers()
        until = time.monotonic() + _GRACE
        for record_id, (future, _) in list(self._running.items()):
            with suppress(TimeoutError, CancelledError):
                future.exception(max(0.0, until - time.monotonic()))
            if future.done():
                del self._running[record_id]
                with suppress(StoreUnavailable):
                    self._settle_one(record_id, future, store, pools)
        with suppress(StoreUnavailable):
            self.release([], store)

    def clear(self) -> None:
        """Forget them, since the pool has ended."""
        self._running.clear()
        self._interrupted.clear()
        self._regained.clear()
