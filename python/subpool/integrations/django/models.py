"""The table of the database store: a task and its result are one row.

What the rows promise is in `stores/database.py`.
"""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.tasks import TaskResultStatus
from django.utils.translation import gettext_lazy as _

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

    id = models.CharField(_("id"), primary_key=True, max_length=64, editable=False)
    backend = models.CharField(_("backend"), max_length=64)
    task = models.TextField(_("task"))
    args = JSONTextField(_("arguments"), default=list)
    kwargs = JSONTextField(_("keyword arguments"), default=dict)
    queue = models.CharField(_("queue"), max_length=128)
    priority = models.SmallIntegerField(_("priority"), default=0)
    run_after = models.DateTimeField(_("run after"), null=True, blank=True)
    takes_context = models.BooleanField(_("takes context"), default=False)
    is_async = models.BooleanField(_("is async"), default=False)

    status = models.CharField(_("status"), max_length=10, choices=TaskResultStatus.choices)
    enqueued_at = models.DateTimeField(_("enqueued at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    last_attempted_at = models.DateTimeField(_("last attempted at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    return_value = JSONTextField(_("return value"), default=None)
    errors = JSONTextField(_("errors"), default=list)
    worker_ids = JSONTextField(_("workers"), default=list)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)

    # These two in microseconds, as `Clock`. When it may run, and so its place among those of its
    # priority: `run_after`, or else when it was enqueued.
    due = models.BigIntegerField(_("due"))
    # Until when it is the claimant's alone; 0: nobody's.
    lease = models.BigIntegerField(_("lease"), default=0)
    claimant = models.CharField(_("claimant"), max_length=128, default="", blank=True)

    class Meta:
        app_label = "subpool"
        db_table = "subpool_task"
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        # A row is in one of them. It moves when it is claimed and when it ends.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["-priority", "due", "queue", "backend"],
                name="subpool_task_waiting",
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
