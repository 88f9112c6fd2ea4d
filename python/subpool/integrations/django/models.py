"""The table of the database store: a task and its result are one row.

What the rows promise is in `stores/database.py`.
"""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from subpool.integrations.django.stores import READY

SECOND = 1_000_000


class JSONTextField(models.TextField):
    """JSON in a column of text: what comes out is what went in, the same on every database.

    The column type for JSON of PostgreSQL sorts the keys of dicts, and refuses the character NUL
    and the number NaN. No query looks into the values, so there is nothing to gain from it.
    """

    def from_db_value(self, value: str | None, *_: object) -> Any:
        """Give what was stored."""
        return None if value is None else json.loads(value)

    def to_python(self, value: Any) -> Any:
        """Give what a fixture or a form holds as text."""
        return json.loads(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> str:
        """Give the column's text."""
        return json.dumps(value)

    def value_to_string(self, obj: models.Model) -> str:
        """Give a fixture's text."""
        return self.get_prep_value(self.value_from_object(obj))


class Clock(models.Func):
    """The database's clock, in microseconds since 1970.

    Its own, since the machines that share a queue may disagree; a number, since a time without a
    zone (USE_TZ=False) leaps twice a year. A database that is not named here has the machine's.
    """

    output_field = models.BigIntegerField()
    arity = 0

    def as_sql(self, *_: object, **__: object) -> tuple[str, list[int]]:
        """Give this machine's clock."""
        return "%s", [time.time_ns() // 1000]

    def as_postgresql(self, *_: object, **__: object) -> tuple[str, list[int]]:
        """Give the time at which the statement began."""
        return "(EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP()) * 1000000)::bigint", []

    def as_mysql(self, *_: object, **__: object) -> tuple[str, list[int]]:
        """Give the time at which the statement began."""
        return "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)", []


class StoredTask(models.Model):
    """A task that was enqueued, and its result."""

    id = models.CharField(primary_key=True, max_length=64, editable=False)
    backend = models.CharField(max_length=64)
    task = models.TextField()
    args = JSONTextField(default=list)
    kwargs = JSONTextField(default=dict)
    queue = models.CharField(max_length=128)
    priority = models.SmallIntegerField(default=0)
    run_after = models.DateTimeField(null=True, blank=True)
    takes_context = models.BooleanField(default=False)

    status = models.CharField(max_length=10)
    enqueued_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    last_attempted_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    return_value = JSONTextField(default=None)
    errors = JSONTextField(default=list)
    worker_ids = JSONTextField(default=list)
    # Since it was enqueued or, in the admin, told to run again.
    attempts = models.PositiveIntegerField(default=0)

    # These two in microseconds, as `Clock`. When it may run, and so its place among those of its
    # priority: `run_after`, or else when it was enqueued.
    due = models.BigIntegerField()
    # Until when it is the claimant's alone; 0: nobody's.
    lease = models.BigIntegerField(default=0)
    claimant = models.CharField(max_length=128, default="", blank=True)

    class Meta:  # noqa: D106 - Django's
        app_label = "subpool"
        db_table = "subpool_task"
        verbose_name = "task"
        # A row that waits is in the first two, else in one. It moves when it is claimed and ends.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["backend", "-priority", "due", "queue"],
                name="subpool_task_waiting",
                condition=Q(status=READY, claimant=""),
            ),
            # For when the next one is due, past all that wait for another day.
            models.Index(
                fields=["backend", "due"],
                name="subpool_task_due",
                condition=Q(status=READY, claimant=""),
            ),
            models.Index(
                fields=["lease"],
                name="subpool_task_claimed",
                condition=Q(lease__gt=0),
            ),
            models.Index(
                fields=["finished_at"],
                name="subpool_task_finished",
                condition=Q(finished_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} ({self.id})"
