"""What main tells of tasks that could not tell of their own end: refused, cut off, lost.

Guarantees: each is told of once, in order, on a thread of its own: receivers are the project's, and
may send mail, or close the pool, while the dispatcher must go on; the thread ends when all is told.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subpool.integrations.django.stores import Record

logger = logging.getLogger("subpool.integrations.django")

NO_FALLBACK = (
    "For tasks of Django: use the library in functions that only requests call, or give this task "
    "to another backend, `@task(backend=...)`. `subpool doctor` tells which libraries load."
)


class _Announcer:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Record, BaseException]] = deque()
        # Whether somebody tells what waits; and the last thread that did.
        self._is_busy = False
        self._thread: threading.Thread | None = None

    def announce(self, record: Record, error: BaseException) -> None:
        with self._lock:
            self._waiting.append((record, error))
            if self._is_busy:
                return
            self._is_busy = True
            # The program's end waits for it.
            thread = threading.Thread(target=self._run, name="subpool-tasks-failures", daemon=False)
            with suppress(RuntimeError):  # none is to be had
                thread.start()
                self._thread = thread
                return
        self._run()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_busy = False
                    break
                record, error = self._waiting.popleft()
            _tell(record, error)
        _close_connections()

    def wait(self, timeout: float | None) -> bool:
        thread = self._thread
        if thread is threading.current_thread():
            return False
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()


_announcer = _Announcer()


def announce(record: Record, error: BaseException) -> None:
    """Log it, or send `task_finished`, where there is a Django to send it. Raises nothing."""
    _announcer.announce(record, error)


def wait(timeout: float | None = None) -> bool:
    """Wait until all is told; not on the thread that tells it. False: it is not."""
    return _announcer.wait(timeout)


def in_child() -> None:
    """Start anew in the child of a fork: what is to be told is the parent's."""
    global _announcer  # noqa: PLW0603 - the child has not its thread
    _announcer = _Announcer()


def _close_connections() -> None:
    database: Any = sys.modules.get("django.db")
    if database is not None:
        with suppress(Exception):
            database.connections.close_all()


def _tell(record: Record, error: BaseException) -> None:
    apps: Any = sys.modules.get("django.apps")
    if apps is None or not apps.apps.ready:
        logger.error("task id=%s path=%s failed", record.id, record.task, exc_info=error)
        return
    try:
        from subpool.integrations.django import results  # noqa: PLC0415 - needs Django

        results.announce_failure(record, error)
    except Exception:  # of a project's class, say; the dispatcher must go on
        logger.exception("nobody could be told that task %s has failed", record.id)
