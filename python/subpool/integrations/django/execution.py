"""What happens to a task in an interpreter.

Guarantees: each attempt is noted before it begins and when it has ended, here, so that receivers of
`task_finished` see the result; a task that could not begin has not failed; database connections are
looked at before and after each task, as around a request, and are closed with the interpreter; no
transaction outlives its task, nor is the task's end noted in one.
"""

from __future__ import annotations

import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any

from subpool import TaskInterrupted, worker
from subpool._bootstrap import is_refusal
from subpool.integrations.django.stores import Failure, Outcome, StoreUnavailable

if TYPE_CHECKING:
    from subpool.integrations.django.config import Config
    from subpool.integrations.django.stores import Record

logger = logging.getLogger("subpool.integrations.django")

# The alias that this interpreter works for.
_config: Any = None
_store: Any = None


def set_up(config: Config) -> None:
    """Set up Django, once in each interpreter, before its first task."""
    global _config, _store
    config.site.set_up()

    import atexit  # noqa: PLC0415 - main needs none of this

    from django.db import connections  # noqa: PLC0415

    from subpool.integrations.django.backend import store_for  # noqa: PLC0415

    atexit.register(connections.close_all)
    _config, _store = config, store_for(config)


def run(claimant: str, record_id: str, record: Record | None) -> bool:
    """Run a claimed task; False if the claim has been lost. The record as claimed, or None.

    Raises:
        StoreUnavailable: It has not begun, or its end could not be noted.

    """
    # A context of its own, so that what it activates (a language, a time zone) ends with it.
    return Context().run(_run, claimant, record_id, record)


def _run(claimant: str, record_id: str, claimed: Record | None) -> bool:
    from django.core.cache import close_caches  # noqa: PLC0415 - not in main

    try:
        record = _begin(claimant, record_id, claimed)
        if record is not None:
            _attempt(record, claimant)
    finally:
        _close_old_connections()
        close_caches()
    return record is not None


def _begin(claimant: str, record_id: str, claimed: Record | None) -> Record | None:
    from django.conf import settings  # noqa: PLC0415
    from django.db import reset_queries  # noqa: PLC0415 - not in main
    from django.urls import set_script_prefix  # noqa: PLC0415

    try:
        # As `django.setup` does; it is the context's, and so it is each run's.
        prefix = settings.FORCE_SCRIPT_NAME
        set_script_prefix("/" if prefix is None else prefix)
        reset_queries()
        _close_old_connections()
        here = worker()
        number = 0 if here is None else here.interpreter_id
        if claimed is not None:
            _store.expect(claimed)
        begun: Record | None = _store.begin(record_id, claimant, f"{claimant}.{number}")
    except StoreUnavailable:
        raise
    except Exception as error:
        if is_refusal(error):
            raise  # main can say which library it is, and what to do
        text = f"task {record_id} cannot begin: {type(error).__name__}: {error}"
        raise StoreUnavailable(text) from error
    return begun


def _close_old_connections() -> None:
    from django.db import close_old_connections  # noqa: PLC0415 - not in main

    _leave_transactions()
    close_old_connections()


def _leave_transactions() -> list[str]:
    """Drop the transactions that a task left open; tell in which databases `atomic` was.

    What is noted in one would never be seen. And a connection that is closed within `atomic` thinks
    that it is there for ever, and refuses all that comes.
    """
    from django.db import connections  # noqa: PLC0415 - not in main

    left = []
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            left.append(connection.alias)
            connection.close()
            del connections[connection.alias]
        elif connection.connection is not None and not connection.autocommit:
            connection.close()
    return left


def _attempt(record: Record, claimant: str) -> None:
    from django.tasks.base import TaskContext  # noqa: PLC0415 - not in main
    from django.tasks.signals import task_started  # noqa: PLC0415

    from subpool.integrations.django.results import plain, result_of, sender_of  # noqa: PLC0415

    result: Any = None
    try:
        result = result_of(record)
        task_started.send_robust(sender_of(record), task_result=result)
        args = [TaskContext(task_result=result)] if result.task.takes_context else []
        value = plain(result.task.call(*args, *result.args, **result.kwargs))
    except TaskInterrupted:
        raise  # main knows why
    except BaseException as error:  # whatever it is, it is the task's end
        if is_refusal(error):
            raise  # main can say which library it is, and what to do
        # Inside, for receivers that ask for the exception.
        _finish(record, claimant, Outcome(failure=failure_of(error)), result)
    else:
        _finish(record, claimant, Outcome(value), result)


def _finish(record: Record, claimant: str, outcome: Outcome, result: Any) -> None:
    from django.tasks.signals import task_finished  # noqa: PLC0415 - not in main

    from subpool.integrations.django.results import sender_of, update  # noqa: PLC0415

    if left := _leave_transactions():
        logger.warning(
            "task id=%s path=%s left atomic() open for the database %s: it is rolled back",
            record.id,
            record.task,
            ", ".join(map(repr, left)),
        )
    finished = _store.finish(record.id, claimant, outcome)
    if finished is None:
        logger.warning(
            "the end of task id=%s path=%s is not noted: its lease ran out, and another process "
            "has taken it",
            record.id,
            record.task,
        )
    elif result is None:
        # In the handler of what `_attempt` has caught.
        logger.exception("task id=%s cannot be had from path=%s", record.id, record.task)  # noqa: LOG004
    else:
        update(result, finished)
        task_finished.send_robust(sender_of(record), task_result=result)


def failure_of(error: BaseException) -> Failure:
    """Describe an exception as Django's `TaskError` does."""
    from traceback import format_exception  # noqa: PLC0415 - only when something failed

    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return Failure(name, "".join(format_exception(error)))
