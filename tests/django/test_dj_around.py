"""Django's tasks and what is around them: transactions, connections, tasks in tasks, settings."""

import os
import threading

import dj_outside
import pytest
from dj_app import apps, tasks
from dj_app.models import Note
from django.db import connection, transaction
from django.tasks import TaskResultStatus, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist
from django.test import override_settings

from subpool import InterpreterPoolExecutor
from subpool.integrations.django import registry
from support import eventually, interpreters


def test_a_task_of_a_transaction_is_enqueued_when_that_commits(finished):
    with transaction.atomic():
        result = tasks.echo.enqueue(1)
        assert result.enqueued_at is None
        assert result.status == TaskResultStatus.READY
        assert not [entry for entry in apps.signals if entry[2] == result.id]
        with pytest.raises(TaskResultDoesNotExist):
            tasks.echo.get_result(result.id)
    assert result.enqueued_at is not None
    assert [entry[0] for entry in apps.signals if entry[2] == result.id] == ["task_enqueued"]
    assert finished(result).return_value == [[1], {}]


def test_a_task_of_a_transaction_that_is_rolled_back_never_was():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        result = tasks.echo.enqueue(1)
        1 / 0  # noqa: B018
    with pytest.raises(TaskResultDoesNotExist):
        tasks.echo.get_result(result.id)


def test_the_row_is_there_when_the_task_runs(finished):
    with transaction.atomic():
        Note.objects.create(text="from the transaction")
        result = tasks.write_note.enqueue("from the task")
    pk = finished(result).return_value
    assert Note.objects.get(pk=pk).text == "from the task"
    connection.close()


def test_enqueue_on_commit_can_be_turned_off(finished):
    with transaction.atomic():
        result = tasks.echo.using(backend="single").enqueue(1)
        assert result.enqueued_at is not None
        assert finished(result).return_value == [[1], {}]


def test_connections_are_closed_after_each_task(finished):
    # CONN_MAX_AGE is 0 here. Without `close_old_connections` the second task would find one open.
    one = tasks.connection_state.using(backend="single")
    finished(one.enqueue())
    assert finished(one.enqueue()).return_value in ([], [False])


def test_a_broken_connection_is_not_the_next_task_s(finished):
    finished(tasks.break_connection.using(backend="single").enqueue())
    result = finished(tasks.write_note.using(backend="single").enqueue("after the break"))
    assert result.status == TaskResultStatus.SUCCESSFUL, result.errors


def test_all_threads_enqueue_to_one_pool(finished):
    # Each has a backend of its own: Django makes one for each thread.
    results = []

    def enqueue():
        results.append(tasks.where.using(backend="single").enqueue())

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    enqueue()
    finished(*results)
    assert len({result.return_value[1] for result in results}) == 1


def test_a_task_enqueues_tasks_to_the_same_pool(finished):
    result = finished(tasks.parent.using(backend="single").enqueue(3, "single"))
    while isinstance(result.return_value, list):
        child, was_enqueued = result.return_value
        assert was_enqueued
        result = finished(task_backends["single"].get_result(child))
    # The pool has one interpreter, so they all ran in it.
    (own,) = finished(tasks.where.using(backend="single").enqueue()).return_value[1:]
    assert result.return_value == own


def test_a_task_enqueues_to_another_pool(finished):
    child, _ = finished(tasks.parent.enqueue(1, "single")).return_value
    there = finished(task_backends["single"].get_result(child))
    assert (
        there.return_value
        == finished(tasks.where.using(backend="single").enqueue()).return_value[1]
    )


def test_an_async_task_enqueues_and_looks(finished):
    child = finished(tasks.parent_async.enqueue()).return_value
    assert finished(tasks.echo.get_result(child)).return_value == [[1], {}]


def test_two_thousand_tasks(finished, times):
    count = len(times(500, long=2000))
    results = [tasks.echo.enqueue(number) for number in range(count)]
    finished(*results)
    assert all(result.status == TaskResultStatus.SUCCESSFUL for result in results)
    assert [result.return_value[0][0] for result in results] == list(range(count))


def test_overridden_settings_are_those_of_the_tasks(finished):
    backend = "subpool.integrations.django.InterpreterBackend"
    options = {"max_interpreters": 1}
    of_the_test = {"default": {"BACKEND": backend, "QUEUES": [], "OPTIONS": options}}
    of_the_test["single"] = of_the_test["default"]
    with override_settings(GREETING="from the test", TASKS=of_the_test):
        result = finished(tasks.setting.enqueue("GREETING"))
        assert result.return_value == "from the test"
        # And these are its own pool's.
        assert finished(tasks.setting.enqueue("TASKS")).return_value == of_the_test
    failed = finished(tasks.setting.enqueue("GREETING"))
    assert failed.errors[0].exception_class is AttributeError


def test_an_overridden_setting_is_that_of_the_tasks_whatever_thread_enqueues(finished, gate):
    # It did not reach them, once there was a task; and a thread of its own (a test's live server)
    # put a new store in place of the one that knew all tasks.
    before = finished(tasks.setting.enqueue("TIME_ZONE"))
    running = tasks.hold.enqueue(*gate.fds)
    gate.wait()
    with override_settings(GREETING="from the test"):
        results = [tasks.setting.enqueue("GREETING")]
        thread = threading.Thread(target=lambda: results.append(tasks.setting.enqueue("GREETING")))
        thread.start()
        thread.join()
        finished(*results)
    assert [result.return_value for result in results] == ["from the test"] * 2
    failed = finished(tasks.setting.enqueue("GREETING"))
    assert failed.errors[0].exception_class is AttributeError
    assert tasks.setting.get_result(before.id) == before
    running.refresh()
    assert running.status == TaskResultStatus.RUNNING
    gate.open()
    assert finished(running).return_value == "held"


def test_a_setting_that_was_assigned_is_that_of_the_tasks(finished, monkeypatch):
    # As Django's test runner assigns EMAIL_BACKEND or MAILERS: a task's mail went to the world.
    from django.conf import settings

    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["testserver"])
    monkeypatch.setattr(settings, "UNSENDABLE", lambda: None, raising=False)
    with override_settings(GREETING="a change that is told of"):
        result = finished(tasks.setting.enqueue("ALLOWED_HOSTS"))
    assert result.return_value == ["testserver"]


def test_a_setting_that_is_assigned_while_tasks_come(finished, monkeypatch):
    # Threads that had looked before it and after it took turns: with each task, whosever it was,
    # all interpreters were replaced.
    from django.conf import settings

    def enqueue():
        return tasks.where.using(backend="single").enqueue()

    def by_another_thread():
        thread = threading.Thread(target=lambda: results.append(enqueue()))
        thread.start()
        thread.join()

    results = [enqueue()]
    monkeypatch.setattr(settings, "ASSIGNED", "by a library", raising=False)
    by_another_thread()
    results.append(enqueue())
    assert len({result.return_value[1] for result in finished(*results)}) == 1


def test_overriding_tasks_waits_no_longer_than_the_end_of_the_program(pipe, tmp_path):
    # It waited for all that was due: a task that hangs held up the tests for ever.
    out = tmp_path / "out"
    backend = "subpool.integrations.django.InterpreterBackend"
    options = {"max_interpreters": 1, "shutdown_timeout": 0}
    known = interpreters()
    of_the_test = {"default": {"BACKEND": backend, "QUEUES": [], "OPTIONS": options}}
    of_the_test["single"] = of_the_test["default"]
    with override_settings(TASKS=of_the_test):
        tasks.endless.enqueue(str(out), pipe[1])
        os.read(pipe[0], 1)
    assert out.read_text() == "cleaned up\n"
    eventually(lambda: interpreters() <= known, "the interpreter's end")


def test_a_setting_that_cannot_be_sent_is_named():
    from django.core.exceptions import ImproperlyConfigured

    backend = "subpool.integrations.django.InterpreterBackend"
    with (
        override_settings(UNSENDABLE=lambda: None, TASKS={"default": {"BACKEND": backend}}),
        pytest.raises(ImproperlyConfigured, match="the setting UNSENDABLE"),
    ):
        tasks.echo.enqueue()


def test_close_ends_the_pool_and_the_next_task_starts_another(finished):
    one = tasks.where.using(backend="single")
    first = finished(one.enqueue())
    task_backends["single"].close()
    assert task_backends["single"].get_result(first.id) == first
    second = finished(one.enqueue())
    assert second.return_value[1] != first.return_value[1]


def test_an_interpreter_of_another_pool_enqueues(finished):
    with InterpreterPoolExecutor(1) as pool:
        number = pool.submit(dj_outside.enqueue).result()
    theirs = finished(task_backends["single"].get_result(number))
    own = finished(tasks.where.using(backend="single").enqueue())
    assert theirs.return_value == own.return_value


def test_interpreters_are_ready_before_the_first_task(finished):
    # As `subpool_serve` asks for; setting up Django takes half a second.
    one = tasks.where.using(backend="single")
    finished(one.enqueue())
    task_backends["single"].close()
    known = interpreters()
    dispatcher = registry.find("single")
    dispatcher.keep_warm()
    eventually(lambda: interpreters() - known, "an interpreter")
    (first,) = interpreters() - known
    assert finished(one.enqueue()).return_value[1] == first
    # New code shall not be waited for, either.
    dispatcher.renew()
    eventually(lambda: interpreters() - known - {first}, "a new one")
    (second,) = interpreters() - known - {first}
    assert finished(one.enqueue()).return_value[1] == second
    eventually(lambda: first not in interpreters(), "the old one's end")


def test_renewed_interpreters_leave_running_tasks_alone(finished, gate):
    # As at a reload: what runs goes on in the old code, what comes next gets the new one.
    first = finished(tasks.where.using(backend="default").enqueue())
    running = tasks.hold.enqueue(*gate.fds)
    gate.wait()
    registry.find("default").renew()
    second = finished(tasks.where.enqueue())
    assert second.return_value[1] > first.return_value[1]
    running.refresh()
    assert running.status == TaskResultStatus.RUNNING
    gate.open()
    assert finished(running).return_value == "held"
