"""Leases: whose process died loses its claims, who lives keeps them."""

import pytest
from django.db import OperationalError, connections
from django.tasks.signals import task_finished

from subpool.integrations.django import failures
from subpool.integrations.django.stores import Outcome, StoreUnavailable
from subpool.integrations.django.stores import database as module

DONE = Outcome("done")


@pytest.fixture
def dead(make_store, add):
    """The store of a process that claims a record, begins it, and is no more."""
    add()
    dead = make_store()
    dead.claim(None, 1, "dead")
    dead.begin("a", "dead", "dead.1")
    return dead


def taken(store, claimant="me"):
    return [record.id for record in store.claim(None, 9, claimant)]


def test_lease_holds(dead, make_store):
    assert taken(make_store()) == []


def test_lease_runs_out(dead, make_store, expire):
    """The task is another's; the first attempt is remembered, and comes too late with its end."""
    expire()
    mine = make_store()
    (record,) = mine.claim(None, 9, "me")
    assert record.status == "READY"
    assert dead.renew(["a"], "dead") == set()
    assert dead.finish("a", "dead", Outcome("late")) is None
    assert dead.begin("a", "dead", "dead.2") is None
    begun = mine.begin("a", "me", "me.1")
    assert begun.worker_ids == ["dead.1", "me.1"]
    assert begun.started_at < begun.last_attempted_at
    assert mine.finish("a", "me", DONE).return_value == "done"
    assert mine.get("a").errors == []


def test_claim_that_was_never_begun(make_store, add, expire):
    """A process may die between its claim and the first line of the task."""
    add()
    make_store().claim(None, 1, "dead")
    expire()
    assert taken(make_store()) == ["a"]


def test_renewal(dead, make_store, expire):
    """Who was late, but before anybody else, keeps its claim."""
    expire()
    assert dead.renew(["a", "x"], "dead") == {"a"}
    assert taken(make_store()) == []
    assert dead.finish("a", "dead", DONE) is not None
    # Of its end the dispatcher may not have heard: it is not to be interrupted.
    assert dead.renew(["a"], "dead") == {"a"}


def test_lease_is_as_long_as_it_says(make_store, add, rows):
    """In the database's own time, so that the machines' clocks do not matter."""
    add()
    make_store(lease=1000.0).claim(None, 1, "me")
    now = rows.annotate(now=module.Clock()).get().now
    left = rows.get().lease - now
    assert 990 * 1_000_000 < left <= 1000 * 1_000_000


def test_own_claims(make_store, add, expire):
    """A process that stood still does not take its own tasks twice, but what it has lost."""
    add()
    add()
    mine = make_store()
    assert taken(mine) == ["a", "b"]
    mine.begin("a", "me", "me.1")
    expire()
    mine.rescue("me")
    assert taken(mine) == []
    mine._held["b"] -= 60.0  # it knows no more of that: its interpreter could not note the end
    mine.renew(["a"], "me")
    expire()
    mine.rescue("me")
    assert taken(mine) == ["b"]


def test_claims_that_have_ended_are_forgotten(make_store, add):
    """They were kept for a lease, at 1,000 tasks a second 60,000 of them."""
    for _ in range(3):
        add()
    mine = make_store()
    assert taken(mine) == ["a", "b", "c"]
    mine.renew(["b"], "me")
    assert set(mine._held) == {"b"}
    mine.renew([], "me")
    assert not mine._held


def test_many_claims_are_no_long_statement(make_store, add, expire, database):
    """Each was a parameter of a statement; SQLite takes 32,766."""
    add()
    add()
    mine = make_store()
    taken(mine)
    mine._held |= dict.fromkeys(map(str, range(1000)), mine._held["a"])
    del mine._held["b"]
    expire()
    longest = []

    def look(execute, sql, params, many, context):
        longest.append(len(params or ()))
        return execute(sql, params, many, context)

    with connections[database].execute_wrapper(look):
        mine.rescue("me")
    assert 0 < max(longest) < 50
    assert taken(mine) == ["b"]


def test_given_back_too_often(make_store, add):
    """A task that is cut off each time, by each worker's end, is not begun for ever either."""
    add()
    mine = make_store(max_attempts=2)
    for _ in range(2):
        assert taken(mine) == ["a"]
        mine.begin("a", "me", "me.1")
        mine.release(["a"], "me")
    assert taken(mine) == []
    assert mine.get("a").status == "FAILED"
    assert "was begun 2 times" in mine.get("a").errors[0].traceback


def test_rescue_takes_turns(make_store, dead, expire, rows):
    """It is no part of every claim."""
    mine = make_store()
    assert taken(mine) == []
    expire()
    assert taken(mine) == []
    mine._rescue_at = 0.0
    assert taken(mine) == ["a"]


def test_task_that_kills_its_worker(make_store, add, expire, caplog):
    """It is not tried for ever."""
    add()
    for attempt in range(3):
        one = make_store(max_attempts=3)
        assert taken(one, f"process {attempt}") == ["a"]
        one.begin("a", f"process {attempt}", f"worker {attempt}")
        expire()
    last = make_store(max_attempts=3)
    assert taken(last) == []
    record = last.get("a")
    assert record.status == "FAILED"
    assert record.finished_at is not None
    assert record.worker_ids == ["worker 0", "worker 1", "worker 2"]
    (failure,) = record.errors
    assert "m.t (a) was begun 3 times" in failure.traceback
    assert "m.t (a) was begun 3 times" in caplog.text


def test_its_failure_is_announced(make_store, add, expire):
    """To the receivers of the process that finds it: there is no other."""
    heard = []

    def hear(task_result, **_):
        heard.append((task_result.id, task_result.status, task_result.errors[0].exception_class))

    add(task="dj_app.tasks.echo")
    add(task="gone.away")
    first = make_store()
    taken(first)
    for one in "ab":
        first.begin(one, "me", "w")
    expire()
    task_finished.connect(hear)
    try:
        failed = make_store(max_attempts=1).rescue("other")
        assert failures.wait(60)
    finally:
        task_finished.disconnect(hear)
    assert len(failed) == 2
    # Also of the one whose task is gone: its result can be looked at.
    assert heard == [("a", "FAILED", module.WorkerLost), ("b", "FAILED", module.WorkerLost)]


def test_run_again(make_store, add, expire, rows):
    """As the admin does: with all its attempts before it."""
    add()
    first = make_store(max_attempts=1)
    taken(first)
    first.begin("a", "me", "w")
    expire()
    second = make_store(max_attempts=1)
    taken(second)
    assert second.get("a").status == "FAILED"
    assert module.run_again(rows) == 1
    assert taken(second) == ["a"]
    second.begin("a", "me", "w2")
    second._rescue_at = 0.0
    assert taken(second, "other") == []
    record = second.finish("a", "me", DONE)
    assert record.status == "SUCCESSFUL"
    assert len(record.errors) == 1
    assert module.run_again(rows.filter(status="READY")) == 0


def test_nobody_is_rescued_after_trouble(dead, make_store, expire, monkeypatch):
    """While the database was away nobody could renew, and all would be run twice."""
    mine = make_store()
    claim = mine._claim
    monkeypatch.setattr(mine, "_claim", lambda *_: (_ for _ in ()).throw(OperationalError("away")))
    with pytest.raises(StoreUnavailable, match="away"):
        mine.claim(None, 1, "me")
    monkeypatch.setattr(mine, "_claim", claim)
    expire()
    assert taken(mine) == []
    assert dead.renew(["a"], "dead") == {"a"}
