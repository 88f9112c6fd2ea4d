"""The table of the database store: a task and its result are one row.

What the rows promise is in `stores/database.py`.
"""

from __future__ import annotations

import json

from django.db import models
from django.db.models import Q
from django.tasks import TaskResultStatus
from django.utils.translation import gettext_lazy as _

READY, RUNNING = TaskResultStatus.READY.value, TaskResultStatus.RUNNING.value
FINISHED = (TaskResultStatus.SUCCESSFUL.value, TaskResultStatus.FAILED.value)


class JSONTextField(models.TextField):
    """JSON in a column of text: what comes out is what went in, the same on every database.

    The column type for JSON of PostgreSQL sorts the keys of dicts, and refuses the character NUL
    and the number NaN. Nothing here looks into the values, so there is nothing to gain from it.
    """

    def from_db_value(self, value, expression, connection):  # noqa: ARG002 - Django's interface
        return None if value is None else json.loads(value)

    def to_python(self, value):
        return json.loads(value) if isinstance(value, str) else value

    def get_prep_value(self, value):
        return None if value is None else json.dumps(value)

    def value_to_string(self, obj):
        return self.get_prep_value(self.value_from_object(obj))


class StoredTask(models.Model):
    """A task that was enqueued, and its result."""

    id = models.CharField(_("id"), primary_key=True, max_length=64, editable=False)
    backend = models.CharField(_("backend"), max_length=64)
    task_path = models.TextField(_("task"))
    args = JSONTextField(_("arguments"))
    kwargs = JSONTextField(_("keyword arguments"))
    queue_name = models.CharField(_("queue"), max_length=128)
    priority = models.SmallIntegerField(_("priority"), default=0)
    run_after = models.DateTimeField(_("run after"), null=True, blank=True)
    # When it may run: `run_after`, or else when it was enqueued. So it is also the order in which
    # tasks of one priority run.
    due_at = models.DateTimeField(_("due at"))
    status = models.CharField(_("status"), max_length=10, choices=TaskResultStatus.choices)

    enqueued_at = models.DateTimeField(_("enqueued at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    last_attempted_at = models.DateTimeField(_("last attempted at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    return_value = JSONTextField(_("return value"), null=True, blank=True)
    errors = JSONTextField(_("errors"), default=list)
    # One line for each attempt: a line can be added without reading the others.
    worker_ids = models.TextField(_("workers"), default="", blank=True)

    # Who has it: a word that only that claim knows, and until when nobody else may have it.
    claim = models.CharField(_("claim"), max_length=32, default="", blank=True)
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)

    class Meta:
        app_label = "subpool"
        db_table = "subpool_task"
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        ordering = ("-enqueued_at",)
        # Each row is in one of them, and leaves it with its status.
        indexes = (
            models.Index(
                fields=["-priority", "due_at", "queue_name", "backend"],
                name="subpool_task_ready",
                condition=Q(status=READY),
            ),
            models.Index(
                fields=["lease_until"], name="subpool_task_running", condition=Q(status=RUNNING)
            ),
            models.Index(
                fields=["finished_at"], name="subpool_task_finished", condition=Q(status__in=FINISHED)
            ),
        )

    def __str__(self):
        return f"{self.task_path} ({self.id})"
