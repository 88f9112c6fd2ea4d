"""Tasks that are enqueued in transactions: of requests, nested, of other databases, by hand."""

import pytest
from dj_app import apps, tasks
from django.core.handlers.base import BaseHandler
from django.db import connection, connections, transaction
from django.tasks import TaskResultStatus, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued

from subpool.integrations.django import backend
from subpool.integrations.django.models import StoredTask
from support import eventually, interpreters


@pytest.fixture(scope="module", autouse=True)
def _closed():
    yield
    for alias in ("elsewhere", "two each", "idle"):
        task_backends[alias].close(0)
    connections.close_all()


@pytest.fixture
def bad_receiver():
    def fail(**_):
        raise RuntimeError("a receiver that fails")

    task_enqueued.connect(fail)
    yield
    task_enqueued.disconnect(fail)


def exists(result, alias="default"):
    try:
        task_backends[alias].get_result(result.id)
    except TaskResultDoesNotExist:
        return False
    return True


@pytest.mark.usefixtures("bad_receiver")
def test_a_receiver_that_fails_changes_nothing(finished):
    # It left `atomic()`, though that was committed, and the second task was dropped.
    with transaction.atomic():
        results = [tasks.echo.enqueue(number) for number in range(2)]
    results.append(tasks.echo.enqueue(2))
    results.append(tasks.echo.using(backend="stored").enqueue(3))
    finished(*results)
    assert [result.return_value for result in results] == [[[n], {}] for n in range(4)]


def test_a_task_that_cannot_be_added_after_the_commit_takes_no_other_with_it(
    finished, monkeypatch, caplog
):
    # As at the end of the program: main does not answer.
    store_for, lost = backend.store_for, []

    def once(config):
        if not lost:
            lost.append(config)
            raise RuntimeError("main does not answer")
        return store_for(config)

    with transaction.atomic():
        first, second = tasks.echo.enqueue(1), tasks.echo.enqueue(2)
        monkeypatch.setattr(backend, "store_for", once)
    assert not exists(first)
    assert finished(second).return_value == [[2], {}]
    (said,) = [one for one in caplog.records if one.name == "subpool.integrations.django"]
    assert f"task id={first.id} path=dj_app.tasks.echo is lost" in said.getMessage()


@pytest.mark.parametrize("alias", ["default", "stored"])
def test_a_savepoint_that_is_rolled_back(finished, alias):
    one = tasks.echo.using(backend=alias)
    with transaction.atomic():
        outer = one.enqueue("outer")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            inner = one.enqueue("inner")
            raise ZeroDivisionError
        with transaction.atomic():
            kept = one.enqueue("kept")
    assert [result.return_value[0] for result in finished(outer, kept)] == [["outer"], ["kept"]]
    assert not exists(inner, alias)


def test_nobody_hears_of_a_stored_task_that_never_was(finished):
    # The row is the transaction's; the signal was sent at once, and for what was rolled back, too.
    one = tasks.echo.using(backend="stored")

    def heard(result):
        return [entry[0] for entry in apps.signals if entry[2] == result.id]

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        gone = one.enqueue("gone")
        raise ZeroDivisionError
    with transaction.atomic():
        kept = one.enqueue("kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            inner = one.enqueue("inner")
            raise ZeroDivisionError
        assert heard(kept) == []
        # But it is there, for who is in the transaction.
        assert kept.enqueued_at is not None
        assert exists(kept, "stored")
    assert [heard(result) for result in (gone, inner, kept)] == [[], [], ["task_enqueued"]]
    assert finished(kept).return_value == [["kept"], {}]


def test_a_request_is_a_transaction(finished, monkeypatch):
    # ATOMIC_REQUESTS: nothing runs before the view has returned, nor if it fails.
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    results = []

    def view(fails):
        results.append(tasks.echo.enqueue(fails))
        assert results[-1].enqueued_at is None
        if fails:
            raise ZeroDivisionError

    atomic = BaseHandler().make_view_atomic(view)
    assert atomic is not view
    atomic(False)
    with pytest.raises(ZeroDivisionError):
        atomic(True)
    assert finished(results[0]).return_value == [[False], {}]
    assert not exists(results[1])


def test_the_queue_s_own_database_waits_for_the_transaction_of_the_data(finished):
    # The row was committed there at once, and ran although the data was rolled back.
    one = tasks.echo.using(backend="elsewhere")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        gone = one.enqueue("gone")
        raise ZeroDivisionError
    with transaction.atomic():
        kept = one.enqueue("kept")
        assert kept.enqueued_at is None
        assert not StoredTask.objects.using("queue").filter(pk=kept.id).exists()
    assert finished(kept).return_value == [["kept"], {}]
    assert StoredTask.objects.using("queue").get().pk == kept.id
    assert not StoredTask.objects.filter(pk=kept.id).exists()
    assert not exists(gone, "elsewhere")
    # And in a transaction of its own it is a row of that.
    with transaction.atomic(using="queue"):
        assert one.enqueue("third").enqueued_at is not None
        transaction.set_rollback(True, using="queue")
    assert StoredTask.objects.using("queue").count() == 1


def test_the_commit_of_a_named_database_is_awaited(finished):
    # And an interpreter is replaced when it has run two tasks.
    one = tasks.where.using(backend="two each")
    with transaction.atomic(using="queue"):
        results = [one.enqueue() for _ in range(3)]
        assert not exists(results[0], "two each")
    first, second, third = (result.return_value[1] for result in finished(*results))
    assert first == second != third
    with transaction.atomic():
        assert one.enqueue().enqueued_at is not None


def test_an_idle_interpreter_is_closed(finished):
    one = tasks.where.using(backend="idle")
    interpreter = finished(one.enqueue()).return_value[1]
    eventually(lambda: interpreter not in interpreters(), "its end")
    assert finished(one.enqueue()).return_value[1] != interpreter


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_manual_transactions(finished, ends):
    # The row was there, and `enqueue` raised that nobody waits for such a transaction.
    transaction.set_autocommit(False)
    try:
        result = tasks.echo.using(backend="stored").enqueue(1)
        getattr(transaction, ends)()
    finally:
        transaction.set_autocommit(True)
    assert exists(result, "stored") == (ends == "commit")
    # Nobody has told the dispatcher of the commit; the next task does.
    assert finished(tasks.echo.using(backend="stored").enqueue(2)).status == "SUCCESSFUL"
    if ends == "commit":
        assert finished(result).status == TaskResultStatus.SUCCESSFUL
    connection.close()
