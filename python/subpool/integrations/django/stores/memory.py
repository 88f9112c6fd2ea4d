"""Records in the memory of this process: they end with it.

Guarantees: a record that has not finished is kept; of those that have, the last `max_results`.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from subpool.integrations.django.stores import utc_now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from subpool.integrations.django.config import Options
    from subpool.integrations.django.stores import Outcome, Record


class MemoryStore:
    """The store of one alias in one process. Lives in main."""

    poll_interval: float | None = None
    lease: float | None = None

    def __init__(self, max_results: int = 10_000) -> None:
        self._max_results = max_results
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._open: dict[str, Record] = {}
        self._finished: OrderedDict[str, Record] = OrderedDict()
        # For each queue, what is due, best first, and what is not yet, earliest first.
        self._due: dict[str, list[tuple[int, datetime, int, str]]] = {}
        self._later: dict[str, list[tuple[datetime, int, str]]] = {}
        self._claims: dict[str, str] = {}

    def add(self, record: Record) -> None:
        """Take a new record."""
        with self._lock:
            record.enqueued_at = now = utc_now()
            self._open[record.id] = record.copy()  # its lists are the caller's
            self._queue(record, now, next(self._order))

    def _queue(self, record: Record, enqueued_at: datetime, number: int) -> None:
        if record.run_after is None:
            # Due now, even if the clock is set back; but not before what has waited for its time.
            self._is_due(record, enqueued_at, number)
        else:
            waits = self._later.setdefault(record.queue, [])
            heapq.heappush(waits, (record.run_after, number, record.id))

    def _is_due(self, record: Record, since: datetime, number: int) -> None:
        entry = -record.priority, since, number, record.id
        heapq.heappush(self._due.setdefault(record.queue, []), entry)

    def get(self, record_id: str) -> Record | None:
        """Give a copy of the record as it is now."""
        with self._lock:
            found = self._open.get(record_id) or self._finished.get(record_id)
            # What a task returned is nobody's to change here.
            return None if found is None else found.copy()

    def claim(self, queues: Collection[str] | None, limit: int, claimant: str) -> list[Record]:
        """Take at most `limit` records that are due."""
        claimed: list[Record] = []
        with self._lock:
            self._wake(queues)
            while len(claimed) < limit:
                heaps = [heap for heap in self._of(self._due, queues) if heap]
                if not heaps:
                    break
                record_id = heapq.heappop(min(heaps, key=lambda heap: heap[0]))[-1]
                self._claims[record_id] = claimant
                claimed.append(self._open[record_id].copy())
        return claimed

    def _wake(self, queues: Collection[str] | None) -> None:
        """Move what has become due."""
        now = utc_now()
        for heap in self._of(self._later, queues):
            while heap and heap[0][0] <= now:
                run_after, number, record_id = heapq.heappop(heap)
                self._is_due(self._open[record_id], run_after, number)

    @staticmethod
    def _of[T](heaps: dict[str, list[T]], queues: Collection[str] | None) -> list[list[T]]:
        return [heap for name, heap in heaps.items() if queues is None or name in queues]

    def begin(self, record_id: str, claimant: str, worker: str) -> Record | None:
        """Note that a worker begins a claimed task."""
        with self._lock:
            if self._claims.get(record_id) != claimant:
                return None
            record = self._open[record_id]
            record.begin(worker, utc_now())
            return record.copy()

    def renew(self, record_ids: Collection[str], claimant: str) -> set[str]:
        """Give the claims that are still the claimant's."""
        with self._lock:
            return {one for one in record_ids if self._claims.get(one) == claimant}

    def finish(self, record_id: str, claimant: str, outcome: Outcome) -> Record | None:
        """Note how a task ended, and forget the oldest results beyond the bound."""
        with self._lock:
            if self._claims.get(record_id) != claimant:
                return None
            del self._claims[record_id]
            record = self._open.pop(record_id)
            record.finish(outcome, utc_now())
            self._finished[record_id] = record
            while len(self._finished) > self._max_results:
                self._finished.popitem(last=False)
            return record.copy()

    def release(self, record_ids: Iterable[str], claimant: str) -> None:
        """Put claimed records back, first of their kind."""
        with self._lock:
            for record_id in record_ids:
                if self._claims.get(record_id) == claimant:
                    del self._claims[record_id]
                    record = self._open[record_id]
                    self._queue(record, record.enqueued_at or utc_now(), -next(self._order))

    def next_due(self, queues: Collection[str] | None) -> datetime | None:
        """Tell when the next record can be claimed."""
        with self._lock:
            if any(self._of(self._due, queues)):
                return utc_now()
            times = [heap[0][0] for heap in self._of(self._later, queues) if heap]
            return min(times, default=None)

    def open_count(self) -> int:
        """Tell how many records have not finished."""
        with self._lock:
            return len(self._open)

    def in_child(self) -> MemoryStore:
        """Make the store for the child of a fork: with the results, without the tasks.

        Asks for no lock, which another thread of the parent may have had.
        """
        store = MemoryStore(self._max_results)
        store._finished.update(self._finished)
        return store

    def follow(self, options: Options) -> None:
        """Keep to other options from now on."""
        with self._lock:
            self._max_results = options.max_results

    def close(self) -> None:
        """Nothing to let go of."""
