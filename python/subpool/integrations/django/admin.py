"""The admin page of the database store: what waits, what runs, what has become of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.tasks import task_backends
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from subpool.integrations.django.backend import InterpreterBackend
from subpool.integrations.django.models import StoredTask
from subpool.integrations.django.stores import FAILED, SUCCESSFUL
from subpool.integrations.django.stores.database import run_again

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


@admin.register(StoredTask)
class StoredTaskAdmin(admin.ModelAdmin):
    """Shows tasks, and runs finished ones again. Nothing is edited by hand."""

    list_display = ("task", "status", "queue", "priority", "attempts", "enqueued_at", "took")
    list_filter = ("status", "queue", "backend", "enqueued_at")
    search_fields = ("=id", "task")
    ordering = ("-enqueued_at",)
    show_full_result_count = False  # to count a large table takes long
    actions = ("run_again",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("task", "id", "status", "called_with", "return_json", "failures")}),
        (_("Order"), {"fields": ("backend", "queue", "priority", "run_after")}),
        (
            _("Attempts"),
            {"fields": ("attempts", "workers", "claimant")},
        ),
        (
            _("Times"),
            {"fields": ("enqueued_at", "started_at", "last_attempted_at", "finished_at", "took")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredTask]:
        """Look where tasks are stored, which is not the router's to say."""
        rows: QuerySet[StoredTask] = super().get_queryset(request)
        for backend in task_backends.all():
            if isinstance(backend, InterpreterBackend) and backend.stores_in is not None:
                return rows.using(backend.stores_in)
        return rows

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Tasks are enqueued by programs."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Look, but change nothing; who may, may run tasks again."""
        return obj is None and super().has_change_permission(request)

    @admin.display(description=_("took"))
    def took(self, task: StoredTask) -> str | None:
        """How long the last attempt took."""
        if task.finished_at is None or task.last_attempted_at is None:
            return None
        return f"{(task.finished_at - task.last_attempted_at).total_seconds():.3f} s"

    @admin.display(description=_("called with"))
    def called_with(self, task: StoredTask) -> str:
        """Show the arguments as a call has them."""
        args = [repr(value) for value in task.args]
        return ", ".join([*args, *(f"{name}={value!r}" for name, value in task.kwargs.items())])

    @admin.display(description=_("return value"))
    def return_json(self, task: StoredTask) -> str | None:
        """Show what the task returned."""
        if task.status != SUCCESSFUL:
            return None
        shown: str = format_html("<pre>{}</pre>", json.dumps(task.return_value, indent=2))
        return shown

    @admin.display(description=_("errors"))
    def failures(self, task: StoredTask) -> str | None:
        """Show the traceback of each attempt that failed."""
        return format_html_join("", "<pre>{1}</pre>", task.errors) or None

    @admin.display(description=_("workers"))
    def workers(self, task: StoredTask) -> str:
        """Show who has begun the task."""
        return ", ".join(task.worker_ids)

    @admin.action(description=_("Run again"), permissions=["change"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[StoredTask]) -> None:
        """Put finished tasks back into their queues."""
        count = run_again(queryset.filter(status__in=(SUCCESSFUL, FAILED)))
        text = ngettext("%d task will run again.", "%d tasks will run again.", count)
        self.message_user(request, text % count)
