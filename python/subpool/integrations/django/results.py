"""Records as Django's tasks and results, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.tasks import task_backends
from django.tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django.tasks.signals import task_finished
from django.utils.json import normalize_json
from django.utils.module_loading import import_string

from subpool.integrations.django.stores import Record

if TYPE_CHECKING:
    from datetime import datetime


def plain(value: Any) -> Any:
    """Give what JSON makes of a value: the same from each store, and of no class of the project's.

    `normalize_json` lets subclasses through, such as the members of a `TextChoices`. They would
    travel by the name of their class, and main may not have it.

    Raises:
        TypeError, ValueError: JSON cannot hold it.

    """
    return json.loads(json.dumps(normalize_json(value)))


def record_of(result: Any) -> Record:
    """Make the record of a result that is to be enqueued."""
    task = result.task
    return Record(
        id=result.id,
        task=task.module_path,
        backend=result.backend,
        args=result.args,
        kwargs=result.kwargs,
        queue=task.queue_name,
        priority=int(task.priority),
        run_after=_to_utc(task.run_after),
        takes_context=task.takes_context,
    )


def result_of(record: Record) -> Any:
    """Make the result that a record is of, to run its task.

    Raises:
        ImportError: The task is not there any more.

    """
    return _result_of(record, task_of(record))


def known_result_of(record: Record) -> Any:
    """Make the result that a record is of, to look at it: its task may be gone."""
    try:
        task = task_of(record)
    except Exception:  # noqa: BLE001 - whatever the task's module raises
        task = _stand_in_of(record)
    return _result_of(record, task)


def _result_of(record: Record, task: Any) -> Any:
    result: Any = TaskResult(
        task=task,
        id=record.id,
        status=TaskResultStatus(record.status),
        enqueued_at=None,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=record.args,
        kwargs=record.kwargs,
        backend=record.backend,
        errors=[],
        worker_ids=[],
    )
    update(result, record)
    return result


def update(result: Any, record: Record) -> None:
    """Bring a result to what its record says."""
    for name, value in {
        "status": TaskResultStatus(record.status),
        "enqueued_at": from_utc(record.enqueued_at),
        "started_at": from_utc(record.started_at),
        "finished_at": from_utc(record.finished_at),
        "last_attempted_at": from_utc(record.last_attempted_at),
        "errors": [
            TaskError(exception_class_path=path, traceback=text) for path, text in record.errors
        ],
        "worker_ids": list(record.worker_ids),
        "_return_value": record.return_value,
    }.items():
        object.__setattr__(result, name, value)  # frozen, but for backends


def task_of(record: Record) -> Any:
    """Find the task, and give it with what `using` had changed."""
    found = import_string(record.task)
    if not isinstance(found, Task):
        raise ImportError(  # noqa: TRY004 - as if it were not there
            f"{record.task} is not a task, but {type(found).__name__}"
        )
    return _made(type(found), {one.name: getattr(found, one.name) for one in fields(found)}, record)


def _stand_in_of(record: Record) -> Any:
    """Make a task that has the name of one that is gone, and cannot be called."""

    def gone(*_: object, **__: object) -> None:
        import_string(record.task)  # says what is missing
        raise ImportError(f"{record.task} could not be imported when its result was looked at")

    gone.__module__, _, gone.__qualname__ = record.task.rpartition(".")
    gone.__name__ = gone.__qualname__
    kind = getattr(task_backends[record.backend], "task_class", Task)
    return _made(kind, {"func": gone, "takes_context": record.takes_context}, record)


def _made(kind: type, values: dict[str, Any], record: Record) -> Any:
    # Not by `replace`, which validates: it was valid when it was enqueued.
    task: Any = object.__new__(kind)
    of_this = {
        "priority": record.priority,
        "queue_name": record.queue,
        "run_after": from_utc(record.run_after),
        "backend": record.backend,
    }
    for name, value in (values | of_this).items():
        object.__setattr__(task, name, value)
    return task


def sender_of(record: Record) -> type:
    """Give the sender of signals: the backend's class, which may be the project's own."""
    return type(task_backends[record.backend])


def announce_failure(record: Record, error: BaseException) -> None:
    """Send `task_finished` for a task whose interpreter could not."""
    try:
        raise error  # noqa: TRY301 - for receivers that ask for the exception
    except BaseException:  # noqa: BLE001 - as above
        task_finished.send_robust(sender_of(record), task_result=known_result_of(record))


def _to_utc(when: datetime | None) -> datetime | None:
    # One that is naive (USE_TZ = False) is local, as Django's `timezone.now` gives it.
    return None if when is None else when.astimezone(UTC)


def from_utc(when: datetime | None) -> datetime | None:
    """Give a record's time as `timezone.now` would."""
    if when is None or settings.USE_TZ:
        return when
    return when.astimezone().replace(tzinfo=None)
