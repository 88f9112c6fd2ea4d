"""Tasks that the tests of Django enqueue."""

import asyncio
import enum
import os
from pathlib import Path

from django.tasks import TaskContext, task

import subpool
from dj_app import apps


@task
def where():
    return [os.getpid(), subpool.worker().interpreter_id]


@task
def echo(*args, **kwargs):
    return [list(args), kwargs]


@task
async def echo_async(*args, **kwargs):
    await asyncio.sleep(0)
    return [list(args), kwargs]


class Mine(Exception):  # noqa: N818
    pass


@task
def fail(kind):
    raise {
        "ValueError": ValueError,
        "SystemExit": SystemExit,
        "KeyboardInterrupt": KeyboardInterrupt,
        "Mine": Mine,
    }[kind](f"it was {kind}")


@task
def fail_nested():
    raise ValueError(KeyError("the argument")) from KeyError("the cause")


@task
async def fail_async():
    raise ValueError("it was async")


@task
def give(kind):
    from dj_app.models import Color

    class Here(enum.IntEnum):
        TWO = 2

    return {
        "tuple": (1, (2, b"three")),
        "set": {1},
        "nested": {"a": [object()]},
        "members": {"model's": Color.RED, Here.TWO: [Here.TWO]},
    }[kind]


@task(takes_context=True)
def context_of(context, two):
    assert isinstance(context, TaskContext)
    result = context.task_result
    stored = result.task.get_result(result.id)
    return {
        "id": result.id,
        "attempt": context.attempt,
        "status": result.status,
        "stored": stored.status,
        "workers": stored.worker_ids,
        "started": stored.started_at is not None and stored.started_at == result.started_at,
        "two": two,
    }


@task
def hold(started, release):
    os.write(started, b"s")
    os.read(release, 1)
    return "held"


@task(priority=7, queue_name="other")
def preset():
    return "preset"


@task
def ready_and_signals(task_id):
    return [apps.ready, [entry for entry in apps.signals if entry[2] == task_id]]


@task
def parent(depth, backend="default"):
    if not depth:
        return subpool.worker().interpreter_id
    child = parent.using(backend=backend).enqueue(depth - 1, backend)
    try:
        child.refresh()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return [child.id, child.enqueued_at is not None]


@task
async def parent_async():
    child = await echo.aenqueue(1)
    return (await echo.aget_result(child.id)).id


@task
def write_note(text):
    from dj_app.models import Note

    return Note.objects.create(text=text).pk


@task
def connection_state():
    """Whether a connection was there, and use it."""
    from django.db import connection, connections

    before = [one.connection is not None for one in connections.all(initialized_only=True)]
    connection.ensure_connection()
    return before


@task
def break_connection():
    from django.db import connection

    connection.ensure_connection()
    connection.connection.close()
    connection.errors_occurred = True


@task
def leave_transactions(text, database):
    """Begin some that nobody ends, in each way there is."""
    from django.db import transaction

    from dj_app.models import Note

    transaction.set_autocommit(False, using="queue")
    transaction.atomic(using=database).__enter__()
    transaction.atomic().__enter__()
    Note.objects.create(text=text)


@task
def language(change=None):
    from django.utils import timezone, translation

    before = [translation.get_language(), timezone.get_current_timezone_name()]
    if change:
        translation.activate(change)
        timezone.activate("Asia/Tokyo")
    return before


@task
def setting(name):
    from django.conf import settings

    return getattr(settings, name)


@task
def script_prefix():
    from django.urls import get_script_prefix

    return get_script_prefix()


@task
def append(path, text):
    with Path(path).open("a") as file:
        file.write(text + "\n")


@task
def hold_until(path, text, started, release):
    os.write(started, b"s")
    os.read(release, 1)
    with Path(path).open("a") as file:
        file.write(text + "\n")


@task
def endless(path, started):
    try:
        os.write(started, b"s")
        while True:
            pass
    finally:
        with Path(path).open("a") as file:
            file.write("cleaned up\n")


def function():
    pass


renamed = task(function)


@task
def import_numpy():
    import numpy

    return str(numpy.zeros(1))
