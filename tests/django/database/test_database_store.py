"""The database store's promises, on SQLite and on PostgreSQL."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import (
    DataError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connections,
    transaction,
)
from django.test import override_settings
from django.utils.module_loading import import_string

import postgres
from subpool.integrations.django.models import StoredTask
from subpool.integrations.django.stores import Failure, Outcome, Record, StoreUnavailable, utc_now
from subpool.integrations.django.stores import database as module

DONE = Outcome("done")

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)
HOUR = timedelta(hours=1)


def ids(records):
    return [record.id for record in records]


def in_thread(function):
    """Call it on a thread that has connections of its own, as another process has."""
    given = []

    def call():
        try:
            given.append(function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return given[0]


def test_order(store, add):
    """Priority, then what has been due for longest; and nothing that is not due."""
    now = utc_now()
    add()
    add(priority=100)
    add(run_after=now - HOUR)
    add(run_after=now + HOUR, priority=100)
    add(priority=-100)
    add()
    assert ids(store.claim(None, 2, "me")) == ["b", "c"]
    assert ids(store.claim(None, 9, "me")) == ["a", "f", "e"]
    assert abs(store.next_due(None) - (now + HOUR)) < timedelta(minutes=1)
    assert store.next_due(["other"]) is None


def test_queues_and_aliases(make_store, store, add):
    """A worker of one queue takes nothing of another, nor of another backend."""
    add(queue="mail")
    add(queue="other")
    add(backend="second")
    assert store.claim([], 9, "me") == []
    assert ids(store.claim(["mail"], 9, "me")) == ["a"]
    assert ids(store.claim(None, 9, "me")) == ["b"]
    assert make_store().get("c") is None


def test_each_record_has_one_claimant(make_store, store):
    """Two processes that ask at once, again and again: no record goes to both."""
    for number in range(120):
        store.add(Record(id=str(number), task="m.t", backend="default"))
    start = threading.Barrier(4)
    claimed = []

    def claim(name):
        mine = make_store()
        start.wait()
        while records := mine.claim(None, 3, name):
            claimed.extend(ids(records))
        connections.close_all()

    threads = [threading.Thread(target=claim, args=(f"claimant {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed, key=int) == [str(number) for number in range(120)]


def test_life_of_a_task(store, add):
    before = utc_now()
    add(args=[1], kwargs={"two": 2}, takes_context=True, priority=3)
    (claimed,) = store.claim(None, 1, "me")
    assert claimed.status == "READY"
    assert not claimed.worker_ids
    begun = store.begin("a", "me", "me.1")
    assert begun == store.get("a")
    assert begun.status == "RUNNING"
    assert before <= begun.enqueued_at <= begun.started_at == begun.last_attempted_at
    finished = store.finish("a", "me", Outcome({"x": 1}))
    assert finished == store.get("a")
    assert finished.status == "SUCCESSFUL"
    assert finished.return_value == {"x": 1}
    assert finished.finished_at >= finished.started_at
    assert finished.finished_at.tzinfo is UTC
    assert (finished.args, finished.kwargs) == ([1], {"two": 2})
    assert finished.takes_context
    assert store.claim(None, 1, "me") == []


def test_failure(store, add):
    add()
    store.claim(None, 1, "me")
    store.begin("a", "me", "w")
    failure = Failure("builtins.ValueError", "Traceback\nValueError: no\n")
    assert store.finish("a", "me", Outcome(failure=failure)) == store.get("a")
    assert store.get("a").errors == [failure]
    assert store.get("a").status == "FAILED"


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"z": 1, "a": [1.5, True, None, "\0", "\ud800", "\u20ac"]},
        2**70,
        float("inf"),
        ["x" * 100_000],
    ],
    ids=["none", "text and order", "large", "infinite", "long"],
)
def test_values_come_as_they_went(store, add, value):
    """The JSON of PostgreSQL sorts keys, and refuses NUL, lone surrogates and infinity."""
    add(args=[value], kwargs={"z": value, "a": value})
    assert repr(store.claim(None, 1, "me")[0].kwargs) == repr({"z": value, "a": value})
    store.begin("a", "me", "w")
    store.finish("a", "me", Outcome(value))
    assert repr(store.get("a").return_value) == repr(value)
    assert repr(store.get("a").args) == repr([value])


def test_without_time_zones(store, add):
    """A project with USE_TZ=False stores local times; a record has the same as ever."""
    with override_settings(USE_TZ=False, TIME_ZONE="America/New_York"):
        run_after = datetime(2030, 7, 1, 12, 0, 0, 5, tzinfo=UTC)
        add(run_after=run_after)
        add()
        before = utc_now()
        assert ids(store.claim(None, 9, "me")) == ["b"]
        begun = store.begin("b", "me", "w")
        assert before <= begun.started_at <= utc_now()
        assert store.get("b").started_at == begun.started_at
        assert store.get("a").run_after == run_after
        assert store.next_due(None) > utc_now() + timedelta(days=365)


def test_transactions(store, add, database):
    """What is enqueued in a transaction is there when that is committed, if it is."""

    def others():
        return ids(store.claim(None, 9, "other"))

    with transaction.atomic(using=database):
        add()
        assert in_thread(lambda: store.get("a")) is None
    assert in_thread(others) == ["a"]
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=database):
        add()
        raise ZeroDivisionError
    assert store.get("b") is None


def test_release(store, add):
    """What is given back keeps its place, and is nobody's."""
    add()
    add()
    assert ids(store.claim(None, 1, "me")) == ["a"]
    store.release(["a"], "another")
    assert store.begin("a", "me", "w") is not None
    store.release(["a", "b"], "me")
    assert store.finish("a", "me", DONE) is None
    assert ids(store.claim(None, 9, "other")) == ["a", "b"]


def test_prune(make_store, store, add, rows):
    """Old results go, those of failures too; what waits or runs stays, however old."""
    for number in range(5):
        add(priority=-number)
    store.claim(None, 4, "me")
    for one in "abc":
        store.begin(one, "me", "w")
    for one in "ab":
        store.finish(one, "me", Outcome(failure=Failure("x.Y", "")))
    old = utc_now() - timedelta(days=30)
    rows.update(enqueued_at=old, started_at=old)
    rows.filter(pk="a").update(finished_at=old)
    assert make_store(keep_results=None).prune() == 0
    assert make_store(keep_results=31 * 86400).prune() == 0
    assert store.prune() == 1
    assert sorted(rows.values_list("pk", flat=True)) == ["b", "c", "d", "e"]


def test_pruning_goes_with_claiming(make_store, add, rows):
    """Nobody has to call a command for it; and not every claim does it."""
    add()
    rows.update(finished_at=utc_now() - HOUR, status="FAILED")
    store = make_store(keep_results=60)
    store.claim(None, 1, "me")
    assert not rows.exists()
    add()
    rows.update(finished_at=utc_now() - HOUR, status="FAILED")
    store.claim(None, 1, "me")
    assert rows.exists()


def test_a_claim_prunes_no_more_than_a_piece(make_store, rows, monkeypatch):
    """All of them went before the first task was begun, and SIGTERM waited for it."""
    monkeypatch.setattr(module, "_PRUNED_AT_ONCE", 2)
    old = utc_now() - HOUR
    one = {"task": "m.t", "backend": "default", "status": "FAILED", "due": 1, "enqueued_at": old}
    rows.bulk_create([StoredTask(id=str(n), finished_at=old, **one) for n in range(5)])
    store, left = make_store(keep_results=60), []
    for _ in range(3):
        store.claim(None, 1, "me")
        left.append(rows.count())
    assert left == [3, 1, 0]


def test_pruning_spares_what_is_put_back_meanwhile(store, add, rows, database):
    """The admin's "Run again" came between the two statements, and its task was deleted."""
    for _ in range(2):
        add()
    rows.update(finished_at=utc_now() - timedelta(days=30), status="FAILED")

    def put_back(execute, sql, *rest):
        if sql.startswith("DELETE"):
            assert module.run_again(rows.filter(pk="a")) == 1
        return execute(sql, *rest)

    with connections[database].execute_wrapper(put_back):
        assert store.prune() == 1
    assert ids(store.claim(None, 9, "me")) == ["a"]


@on_postgres
def test_connection_that_was_lost(store, add, database):
    """A database that was restarted: the next operation has a new connection."""
    add()
    pid = connections[database].connection.info.backend_pid

    def end():
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        return True

    assert in_thread(end)
    assert ids(store.claim(None, 1, "me")) == ["a"]
    assert store.begin("a", "me", "w") is not None


def test_finish_waits_for_the_database(store, add, monkeypatch):
    """A result is not lost because the database is away for a moment."""
    add()
    store.claim(None, 1, "me")
    store.begin("a", "me", "w")
    finish, pauses, failures = store._finish, [], [OperationalError("away")] * 5

    def away(*args):
        if failures:
            raise failures.pop()
        return finish(*args)

    monkeypatch.setattr(store, "_finish", away)
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    failure = Failure("x.Y", "")
    assert store.finish("a", "me", Outcome(failure=failure)).errors == [failure]
    assert store.get("a").status == "FAILED"
    assert len(pauses) == 2


def test_finish_that_was_not_heard_of(store, add, monkeypatch):
    """The connection goes after the commit: it is no claim that was lost."""
    add()
    store.claim(None, 1, "me")
    store.begin("a", "me", "w")
    finish, calls = store._finish, []

    def deaf(*args):
        finished = finish(*args)
        calls.append(finished)
        if len(calls) == 1:
            raise OperationalError("gone")
        return finished

    monkeypatch.setattr(store, "_finish", deaf)
    assert store.finish("a", "me", DONE) == store.get("a")
    assert len(calls) == 2
    assert store.finish("a", "me", Outcome("another")) is None


@pytest.mark.parametrize("error", [InternalError, ProgrammingError])
def test_any_error_of_the_database_may_pass(store, add, monkeypatch, error):
    """A standby's, a migration's: what has ended well was noted as failed."""
    add()
    store.claim(None, 1, "me")
    store.begin("a", "me", "w")
    finish, failures = store._finish, [error("passes")] * 3

    def away(*args):
        if failures:
            raise failures.pop()
        return finish(*args)

    monkeypatch.setattr(store, "_finish", away)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    assert store.finish("a", "me", DONE).status == "SUCCESSFUL"


def test_value_that_the_database_refuses(store, add, monkeypatch):
    """That is the task's failure, and not to be waited for."""
    add()
    store.claim(None, 1, "me")
    store.begin("a", "me", "w")

    def refuse(*_):
        raise DataError("too long")

    monkeypatch.setattr(store, "_finish", refuse)
    with pytest.raises(DataError):
        store.finish("a", "me", DONE)


@on_postgres
def test_server_that_only_reads(store, add, database):
    """As after a failover, for a while."""
    add()
    with connections[database].cursor() as cursor:
        cursor.execute(f"ALTER ROLE {postgres.USER} SET default_transaction_read_only = on")
    connections[database].close()
    try:
        with pytest.raises(StoreUnavailable, match="read-only transaction"):
            store.claim(None, 1, "me")
    finally:
        with connections[database].cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f"ALTER ROLE {postgres.USER} RESET default_transaction_read_only")
        connections[database].close()
    assert ids(store.claim(None, 1, "me")) == ["a"]


@on_sqlite
def test_those_for_another_day_are_no_work(store, rows, database):
    """When the next one is due, and what is due now, is told by an index, however many wait."""
    later = {"task": "m.t", "backend": "default", "status": "READY", "enqueued_at": utc_now()}
    far = (utc_now() + HOUR).timestamp() * 1_000_000
    rows.bulk_create([StoredTask(id=str(n), due=far + n, **later) for n in range(50)])
    plans = []
    store._upkeep = lambda _: None

    def look(execute, sql, params, many, context):
        if "LIMIT" in sql:
            found = execute(f"EXPLAIN QUERY PLAN {sql}", params, many, context)
            plans.append(" ".join(row[-1] for row in context["cursor"].fetchall()) or found)
        return execute(sql, params, many, context)

    with connections[database].execute_wrapper(look):
        assert store.claim(None, 1, "me") == []
        assert store.next_due(None) is not None
        # But where much is due, that index would have all of it sorted.
        rows.update(due=1)
        assert len(store.claim(None, 1, "me")) == 1
        assert len(store.claim(None, 1, "me")) == 1
    (nothing, next_one, _, backlog) = plans
    assert "subpool_task_due (backend=?" in nothing, nothing
    assert "subpool_task_due (backend=?" in next_one, next_one
    assert "subpool_task_waiting" in backlog
    assert "ORDER BY" not in backlog, backlog


@on_postgres
def test_machine_whose_clock_is_ahead(store, add, monkeypatch):
    """What may run at once is due at once, by the database's clock, whoever enqueues it."""
    monkeypatch.setattr(module, "utc_now", lambda: utc_now() + HOUR)
    add()
    assert ids(store.claim(None, 1, "me")) == ["a"]


def test_migrations_are_complete():
    """A field that was changed without a migration would want one in each project."""
    call_command("makemigrations", "subpool", check=True, dry_run=True, verbosity=0)


def test_errors_name_a_class(store, add, rows, expire):
    """Django imports the class that a failure names."""
    add()
    store.claim(None, 1, "me")
    store.begin("a", "me", "w")
    rows.update(attempts=5)
    expire()
    store.rescue("other")
    (failure,) = store.get("a").errors
    assert import_string(failure.exception_class_path) is module.WorkerLost
