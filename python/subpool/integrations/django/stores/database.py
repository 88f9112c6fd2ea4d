"""Records in the project's database: they outlive this process, and others share them.

Guarantees, on a database that keeps what it has committed:

- A record is there for others when the transaction of `add` is committed, and not before.
- A claim has one holder. It holds for `lease` seconds and from each renewal on. When it has run
  out, the record is another's to take, so a task whose process died is run again: at least once,
  and more than once where a process stood still for longer than its lease.
- Only who holds a claim can begin and finish its task. A second run's result is not mixed up with
  that of the first, which comes too late.
- A task that has been begun `max_attempts` times and never ended, since its process died or it was
  cut off, has failed: it may be what ends the processes.

A claim is one statement that says what it expects (`claimant = ''`), or holds row locks that others
skip, where the database has them. No transaction is held open while a task runs. Times are the
database's, so the machines' clocks may differ.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.db import DataError, Error, IntegrityError, connections, transaction
from django.db.models import F, Q
from django.utils import timezone

from subpool.integrations.django import failures
from subpool.integrations.django.models import SECOND, Clock, StoredTask
from subpool.integrations.django.stores import (
    FAILED,
    READY,
    RUNNING,
    SUCCESSFUL,
    Failure,
    Outcome,
    Record,
    StoreUnavailable,
    utc_now,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from subpool.integrations.django.config import Config, Options

logger = logging.getLogger("subpool.integrations.django")

# Of the results that are deleted before a claim, which waits for it.
_PRUNED_AT_ONCE = 1000
_PRUNE_EVERY = 60.0
_LONGEST_WAIT = 2.0


class WorkerLost(Exception):  # noqa: N818 - it is the end of a worker, not an error in it
    """The process that ran a task ended without saying how the task did."""


class DatabaseStore:
    """The store of one alias: in main, and in each interpreter for itself."""

    lease: float
    poll_interval: float

    def __init__(self, config: Config) -> None:
        self.database = config.options.database
        self._alias = config.alias
        self.follow(config.options)
        # When the claimant has last said that it holds them: not to be taken from it by itself.
        self._held: dict[str, float] = {}
        self._rescue_at = self._prune_at = 0.0
        # Whether more was due, at the last claim, than that asked for.
        self._has_backlog = False
        # What is to be begun here, and what was: `begin` and `finish` need not read it again.
        self._expected: dict[str, Record] = {}
        self._begun: dict[str, Record] = {}

    def follow(self, options: Options) -> None:
        """Keep to other options from now on; the database stays."""
        self.lease = options.lease
        self.poll_interval = options.poll_interval
        self._keep_results = options.keep_results
        self._max_attempts = options.max_attempts

    @property
    def _all(self) -> Any:
        return StoredTask.objects.using(self.database)

    @property
    def _rows(self) -> Any:
        return self._all.filter(backend=self._alias)

    def add(self, record: Record) -> None:
        """Take a new record, in the transaction that the caller may have open."""
        now = utc_now()
        record.enqueued_at = now
        StoredTask(
            id=record.id,
            backend=record.backend,
            task=record.task,
            args=record.args,
            kwargs=record.kwargs,
            queue=record.queue,
            priority=record.priority,
            run_after=_local(record.run_after),
            takes_context=record.takes_context,
            status=READY,
            enqueued_at=_local(now),
            due=Clock() if record.run_after is None else _microseconds(record.run_after),
        ).save(using=self.database, force_insert=True)

    def get(self, record_id: str) -> Record | None:
        """Give the record as it is now."""
        row = self._rows.filter(pk=record_id).first()
        return None if row is None else _record(row)

    def claim(self, queues: Collection[str] | None, limit: int, claimant: str) -> list[Record]:
        """Take at most `limit` records that are due; now and then, see to what others left."""

        def claim() -> list[Record]:
            self._upkeep(claimant)
            rows = self._claim(_of(queues, self._rows), limit, claimant)
            self._has_backlog = len(rows) >= limit
            self._hold(row.pk for row in rows)
            return [_record(row) for row in rows]

        return self._again(claim)

    def _claim(self, rows: Any, limit: int, claimant: str) -> list[StoredTask]:
        waiting = rows.filter(status=READY, claimant="")
        if self._has_backlog:
            # No index on the time alone will do for this: it would sort all that is due.
            due = waiting.alias(since=F("due") + 0).filter(since__lte=Clock())
        else:
            # One will, past all that wait for another day.
            due = waiting.filter(due__lte=Clock())
        due = due.order_by("-priority", "due")
        taken = {"claimant": claimant, "lease": self._lease_from_now()}
        if connections[self.database].features.has_select_for_update_skip_locked:
            with transaction.atomic(using=self.database):
                found = list(due.select_for_update(skip_locked=True)[:limit])
                if found:
                    self._all.filter(pk__in=[row.pk for row in found]).update(**taken)
            return found
        # Another may take some between the first and the second statement. The second takes what is
        # still free, and the third tells which those are.
        while ids := list(due.values_list("pk", flat=True)[:limit]):
            if self._all.filter(pk__in=ids, status=READY, claimant="").update(**taken):
                mine = self._all.filter(pk__in=ids, claimant=claimant)
                return list(mine.order_by("-priority", "due"))
        return []

    def expect(self, record: Record) -> None:
        """Note what a record was when it was claimed: `begin` need not read it."""
        self._expected[record.id] = record

    def begin(self, record_id: str, claimant: str, worker: str) -> Record | None:
        """Note that a worker begins a claimed task."""

        def begin() -> Record | None:
            record = None if expected is None else expected.copy()
            if record is None:
                found = self._claimed([record_id], claimant).first()
                record = None if found is None else _record(found)
            if record is None:
                return None
            record.begin(worker, utc_now())
            begun = self._change(
                {"id": record_id, "claimant": claimant},
                "attempts = attempts + 1",
                status=RUNNING,
                started_at=_local(record.started_at),
                last_attempted_at=_local(record.last_attempted_at),
                worker_ids=record.worker_ids,
            )
            return record if begun else None

        expected = self._expected.pop(record_id, None)
        record = self._again(begin)
        if record is not None:
            self._begun = {record_id: record}  # an interpreter runs one at a time
        return record

    def renew(self, record_ids: Collection[str], claimant: str) -> set[str]:
        """Prolong the leases of claims; give those that are not lost to others, or deleted."""
        # Of all else that it has held the claimant knows the end.
        self._held = {one: when for one, when in self._held.items() if one in record_ids}
        if not record_ids:
            return set()

        def renew() -> set[str]:
            claimed = self._claimed(record_ids, claimant)
            if claimed.update(lease=self._lease_from_now()) == len(set(record_ids)):
                renewed = set(record_ids)
            else:
                # Of those that have just ended the dispatcher may not have heard.
                mine = Q(claimant=claimant) | Q(status__in=(SUCCESSFUL, FAILED))
                found = self._all.filter(mine, pk__in=list(record_ids))
                renewed = set(found.values_list("pk", flat=True))
            self._hold(renewed)
            return renewed

        return self._again(renew)

    def finish(self, record_id: str, claimant: str, outcome: Outcome) -> Record | None:
        """Note how a task ended. While the database is away, wait for it as long as the lease."""
        begun = self._begun.pop(record_id, None)
        now, end = utc_now(), time.monotonic() + self.lease
        wait = 0.1
        while True:
            try:
                return self._again(lambda: self._finish(record_id, begun, claimant, outcome, now))
            except StoreUnavailable:
                if time.monotonic() + wait > end:
                    raise
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def _finish(
        self,
        record_id: str,
        begun: Record | None,
        claimant: str,
        outcome: Outcome,
        now: datetime,
    ) -> Record | None:
        begun = begun or self.get(record_id)
        if begun is None:
            return None
        record = replace(begun, errors=[*begun.errors])  # this may be tried again
        record.finish(outcome, now)
        noted = self._change(
            {"id": record_id, "claimant": claimant},
            status=record.status,
            finished_at=_local(now),
            return_value=record.return_value,
            errors=record.errors,
            claimant="",
            lease=0,
        )
        if not noted:
            # Maybe it is noted, and the connection went before it could say so.
            stored = self.get(record_id)
            noted = stored is not None and (stored.status, stored.finished_at) == (
                record.status,
                now,
            )
        return record if noted else None

    def release(self, record_ids: Iterable[str], claimant: str) -> None:
        """Give back claims: tasks that have not begun, or must be begun again."""
        ids = list(record_ids)
        for one in ids:
            self._held.pop(one, None)
        if ids:
            self._again(lambda: self._free(self._claimed(ids, claimant), len(ids)))

    def next_due(self, queues: Collection[str] | None) -> datetime | None:
        """Tell when the next record can be claimed."""
        waiting = _of(queues, self._rows).filter(status=READY, claimant="")
        first = waiting.order_by("due").values_list("due", Clock())
        found = self._again(first.first)
        if found is None:
            return None
        due, now = found  # in the database's time
        return utc_now() + timedelta(microseconds=due - now)

    def close(self) -> None:
        """Close this thread's connection."""
        connections[self.database].close()

    def _claimed(self, record_ids: Collection[str], claimant: str) -> Any:
        return self._all.filter(
            pk__in=list(record_ids), claimant=claimant, status__in=(READY, RUNNING)
        )

    def _change(self, expected: dict[str, Any], *also: str, **changes: Any) -> int:
        """Change the row that is as expected; tell whether there was one.

        This is `filter(**expected).update(**changes)`, which takes Django 0.35 ms to put into words
        where the database takes 0.05 to do it; and each task needs it twice.
        """
        connection = connections[self.database]
        quote = connection.ops.quote_name
        values = [
            StoredTask._meta.get_field(name).get_db_prep_save(value, connection)  # noqa: SLF001
            for name, value in (*changes.items(), *expected.items())
        ]
        assignments = ", ".join([*(f"{quote(name)} = %s" for name in changes), *also])
        conditions = " AND ".join(f"{quote(name)} = %s" for name in expected)
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE subpool_task SET {assignments} WHERE {conditions}",  # noqa: S608
                values,
            )
            return cast("int", cursor.rowcount)

    def _hold(self, record_ids: Iterable[str]) -> None:
        self._held.update(dict.fromkeys(record_ids, time.monotonic()))

    def _lease_from_now(self) -> Any:
        return Clock() + round(self.lease * SECOND)

    def _upkeep(self, claimant: str) -> None:
        now = time.monotonic()
        if now >= self._rescue_at:
            self._rescue_at = now + min(self.lease / 4, 15.0)
            self.rescue(claimant)
        # One piece before each claim, for nothing is begun while it lasts.
        if now >= self._prune_at and self.prune() < _PRUNED_AT_ONCE:
            self._prune_at = now + _PRUNE_EVERY

    def rescue(self, claimant: str) -> list[Record]:
        """Free the claims that have run out; give the records that failed for good."""
        last = time.monotonic() - self.lease
        self._held = {one: when for one, when in self._held.items() if when > last}
        expired = self._rows.filter(lease__gt=0, lease__lt=Clock())
        failed = self._free(expired.exclude(claimant=claimant))
        # Not in the statement: what it holds may be many, what it has lost is seldom any.
        mine = expired.filter(claimant=claimant)
        if lost := [one for one in mine.values_list("pk", flat=True) if one not in self._held]:
            failed += self._free(mine.filter(pk__in=lost))
        return failed

    def _free(self, claimed: Any, count: int | None = None) -> list[Record]:
        """End claims, so many if that is known; give the records that failed for good."""
        freed = claimed.filter(Q(status=READY) | Q(attempts__lt=self._max_attempts)).update(
            status=READY, claimant="", lease=0
        )
        if freed == count:
            return []
        failed = []
        for row in claimed.filter(status=RUNNING, attempts__gte=self._max_attempts):
            record = _record(row)
            error = WorkerLost(
                f"task {record.task} ({record.id}) was begun {row.attempts} times, and never came "
                "to its end: its process crashed or was killed (the system's log may say why), or "
                "was told to end before the task did. The admin page can run it again; "
                "OPTIONS['max_attempts'] allows more attempts"
            )
            record.finish(Outcome(failure=_failure(error)), utc_now())
            changes = {
                "status": FAILED,
                "finished_at": _local(record.finished_at),
                "errors": record.errors,
                "claimant": "",
                "lease": 0,
            }
            if claimed.filter(pk=row.pk, claimant=row.claimant).update(**changes):
                failed.append(record)
                logger.error("%s", error)
                failures.announce(record, error)
        return failed

    def prune(self) -> int:
        """Delete results that are older than `keep_results`, a bounded number; tell how many."""
        if self._keep_results is None:
            return 0
        oldest = _local(utc_now() - timedelta(seconds=self._keep_results))
        old = self._rows.filter(finished_at__lt=oldest)
        ids = list(old.values_list("pk", flat=True)[:_PRUNED_AT_ONCE])
        # Still old: the admin may have put one back into its queue since.
        return cast("int", old.filter(pk__in=ids).delete()[0]) if ids else 0

    def _again[T](self, operation: Callable[[], T]) -> T:
        """Do it, and once more on a new connection if this one fails.

        Each operation can be repeated: at worst it has claimed records that nobody knows of, and
        their lease runs out.

        Raises:
            StoreUnavailable: The second time, too.

        """
        connection = connections[self.database]
        if connection.in_atomic_block:  # the caller's transaction is lost with the connection
            return operation()
        try:
            return operation()
        except (DataError, IntegrityError):  # the values' fault, whatever the connection
            raise
        except Error:
            # Of any kind: a server that has become a standby says "internal error", a table that a
            # migration changes is a "programming error".
            connection.close()
        try:
            return operation()
        except (DataError, IntegrityError):
            raise
        except Error as error:
            connection.close()
            # Others could not renew their leases either. They get the time to, when it is back.
            self._rescue_at = time.monotonic() + self.lease
            text = f"the database {self.database!r} of tasks {self._alias!r} fails: {error}"
            raise StoreUnavailable(text) from error


def store_for(config: Config) -> DatabaseStore:
    """Give a store that enqueues to an alias and reads its results."""
    return DatabaseStore(config)


def _failure(error: Exception) -> Failure:
    path = f"{type(error).__module__}.{type(error).__qualname__}"
    return Failure(path, f"{path}: {error}\n")


def run_again(rows: Any) -> int:
    """Put finished tasks back into their queues; tell how many. What is kept are their errors."""
    finished = rows.filter(status__in=(SUCCESSFUL, FAILED))
    return cast(
        "int",
        finished.update(
            status=READY, claimant="", attempts=0, due=Clock(), finished_at=None, return_value=None
        ),
    )


def _of(queues: Collection[str] | None, rows: Any) -> Any:
    return rows if queues is None else rows.filter(queue__in=queues)


def _microseconds(when: datetime) -> int:
    return round(when.timestamp() * SECOND)


def _local(when: datetime | None) -> Any:
    """Give a time as Django stores it: without a zone if USE_TZ is off."""
    if when is None or settings.USE_TZ:
        return when
    return timezone.make_naive(when, timezone.get_default_timezone())


def _aware(when: datetime | None) -> datetime | None:
    if when is not None and timezone.is_naive(when):
        when = timezone.make_aware(when, timezone.get_default_timezone())
    return None if when is None else when.astimezone(UTC)


def _record(row: Any) -> Record:
    return Record(
        id=row.pk,
        task=row.task,
        backend=row.backend,
        args=row.args,
        kwargs=row.kwargs,
        queue=row.queue,
        priority=row.priority,
        run_after=_aware(row.run_after),
        takes_context=row.takes_context,
        status=row.status,
        enqueued_at=_aware(row.enqueued_at),
        started_at=_aware(row.started_at),
        last_attempted_at=_aware(row.last_attempted_at),
        finished_at=_aware(row.finished_at),
        errors=[Failure(*error) for error in row.errors],
        worker_ids=row.worker_ids,
        return_value=row.return_value,
    )
