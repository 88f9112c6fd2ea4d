"""Django's task contract with the database store, run by the process that enqueues."""

import asyncio
from datetime import timedelta

import pytest
from dj_app import apps, tasks
from dj_app.models import Note
from django.db import transaction
from django.tasks import TaskResultStatus, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils import timezone

from subpool.integrations.django import registry
from subpool.integrations.django.models import StoredTask


@pytest.fixture
def database(stored_alias):
    return "default" if stored_alias == "stored" else "postgres"


@pytest.fixture
def stored(stored_alias):
    """A task, as one of this backend."""
    return lambda task, **more: task.using(backend=stored_alias, **more)


@pytest.fixture
def backend(stored_alias):
    return task_backends[stored_alias]


def test_contract(finished, stored, backend):
    """What tasks of each kind do, and what is known of them."""
    before = timezone.now()
    echo = stored(tasks.echo).enqueue(1, two=["2"])
    assert (echo.status, echo.attempts) == (TaskResultStatus.READY, 0)
    assert before <= echo.enqueued_at
    of_async = stored(tasks.echo_async).enqueue()
    failed = stored(tasks.fail).enqueue("Mine")
    preset = stored(tasks.preset).enqueue()
    note = stored(tasks.write_note).enqueue("of a stored task")
    finished(echo, of_async, failed, preset, note)
    assert echo.return_value == [[1], {"two": ["2"]}]
    assert echo.enqueued_at <= echo.started_at <= echo.last_attempted_at <= echo.finished_at
    assert (echo.attempts, echo.errors) == (1, [])
    assert of_async.return_value == [[], {}]
    assert failed.status == TaskResultStatus.FAILED
    assert failed.errors[0].exception_class is tasks.Mine
    assert "it was Mine" in failed.errors[0].traceback
    again = tasks.preset.get_result  # of another backend: nothing is known there
    with pytest.raises(TaskResultDoesNotExist):
        again(preset.id)
    found = backend.get_result(preset.id)
    assert (found.task.priority, found.task.queue_name) == (7, "other")
    assert found.task.backend == backend.alias
    with pytest.raises(TaskResultDoesNotExist):
        backend.get_result("nobody's")


def test_context(finished, stored):
    """A task that asks for itself finds what the worker has told it."""
    result = finished(stored(tasks.context_of).enqueue(2))
    value = result.return_value
    assert (value["id"], value["attempt"], value["status"]) == (result.id, 1, "RUNNING")
    assert value["stored"] == "RUNNING"
    assert value["workers"] == result.worker_ids
    assert value["started"]


def test_async(stored):
    async def main():
        result = await stored(tasks.echo).aenqueue(3)
        while not result.is_finished:
            await asyncio.sleep(0)
            await result.arefresh()
        return result.return_value

    assert asyncio.run(main()) == [[3], {}]


def test_tasks_in_tasks(finished, stored, backend):
    """They run in the same process, and it does not wait for its next look."""
    result = finished(stored(tasks.parent).enqueue(1, backend.alias))
    child, was_there = result.return_value
    assert was_there
    assert isinstance(finished(backend.get_result(child)).return_value, int)


def test_transactions(finished, stored, database):
    """What is rolled back has never been enqueued; the rest runs when it is committed."""
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=database):
        gone = stored(tasks.echo).enqueue("gone")
        raise ZeroDivisionError
    with transaction.atomic(using=database):
        kept = stored(tasks.echo).enqueue("kept")
        assert kept.status == TaskResultStatus.READY
    assert finished(kept).return_value == [["kept"], {}]
    with pytest.raises(TaskResultDoesNotExist):
        gone.refresh()


def test_a_transaction_that_a_task_leaves_open(finished, stored, database):
    """Its end was noted in that and lost; all later tasks there failed without being run."""
    left = stored(tasks.leave_transactions).enqueue("left", database)
    after = [stored(tasks.echo).enqueue(number) for number in range(3)]
    for result in finished(*after):
        assert (result.status, result.attempts) == (TaskResultStatus.SUCCESSFUL, 1), result.errors
    assert finished(left).status == TaskResultStatus.SUCCESSFUL
    note = finished(stored(tasks.write_note).enqueue("after it")).return_value
    assert Note.objects.get(pk=note).text == "after it"
    assert not Note.objects.filter(text="left").exists()


def test_signals(finished, stored):
    """Where it is enqueued, and in the interpreter, which sees what others would see."""
    result = finished(stored(tasks.echo).enqueue())
    assert [entry[0] for entry in apps.signals if entry[2] == result.id] == ["task_enqueued"]
    _, there = finished(stored(tasks.ready_and_signals).enqueue(result.id)).return_value
    assert [(entry[0], *entry[3:]) for entry in there] == [
        ("task_started", "RUNNING", None),
        ("task_finished", "SUCCESSFUL", "SUCCESSFUL"),
    ]


def test_run_after(finished, stored):
    when = timezone.now() + timedelta(seconds=0.5)
    later = stored(tasks.echo, run_after=when).enqueue()
    assert finished(later).started_at >= when
    assert later.task.run_after == when


def test_close_runs_what_is_due(finished, stored, backend, database):
    """And the next task starts all anew."""
    results = [stored(tasks.echo).enqueue(number) for number in range(10)]
    backend.close()
    assert registry.find(backend.alias)._thread is None
    assert {StoredTask.objects.using(database).get(pk=one.id).status for one in results} == {
        "SUCCESSFUL"
    }
    assert finished(stored(tasks.echo).enqueue()).return_value == [[], {}]
