"""What main tells of tasks that could not tell of their own end: refused, cut off, lost."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subpool.integrations.django.stores import Record

logger = logging.getLogger("subpool.integrations.django")

NO_FALLBACK = (
    "For tasks of Django: use the library in functions that only requests call, or give this task "
    "to another backend, `@task(backend=...)`. `subpool doctor` tells which libraries load."
)


def announce(record: Record, error: BaseException) -> None:
    """Log it, or send `task_finished`, where there is a Django to send it. Raises nothing."""
    apps: Any = sys.modules.get("django.apps")
    if apps is None or not apps.apps.ready:
        logger.error("task id=%s path=%s failed", record.id, record.task, exc_info=error)
        return
    try:
        from subpool.integrations.django import results  # noqa: PLC0415 - needs Django

        results.announce_failure(record, error)
    except Exception:  # of a project's class, say; the dispatcher must go on
        logger.exception("nobody could be told that task %s has failed", record.id)
