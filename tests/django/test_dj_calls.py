"""What is claimed in advance, and given back: without a pool, at a time that the tests set."""

import threading

import pytest
from dj_fakes import CONFIG, Call, FakePools, LeasedStore, record

from subpool.integrations.django import calls as module
from subpool.integrations.django.calls import Calls


class PatientPools(FakePools):
    """Interpreters that begin what the test says."""

    def submit(self, claimant, record_id, record):
        self.calls[record_id] = Call()
        return self.calls[record_id]

    def begin(self, *names):
        for name in names:
            self.calls[name].set_running_or_notify_cancel()

    def end(self, name):
        self.calls[name].set_result(True)


@pytest.fixture
def now(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def store():
    return LeasedStore()


@pytest.fixture
def pools():
    return PatientPools(CONFIG, 1)


@pytest.fixture
def calls(now):
    calls = Calls("me", threading.Condition(), lambda: False)
    calls.renewed = now[0]
    return calls


@pytest.fixture
def claim(calls, store, pools):
    def claim(names):
        for name in names:
            store.add(record(name))
        for one in store.claim(None, len(names), "me"):
            calls.submit(one, store, pools)

    return claim


def test_what_was_claimed_in_advance_is_given_back_though_tasks_end(
    calls, store, pools, claim, now
):
    """Tasks of a little less than a second kept all that came after them, for a minute.

    Meanwhile what was more urgent waited, and other workers had nothing to do.
    """
    claim("abcde")
    pools.begin("a")
    now[0] += 0.8
    pools.end("a")
    pools.begin("b")
    calls.settle(store, pools)
    calls.give_back(1, at_once=False)
    assert not any(call.cancelled() for call in pools.calls.values())
    assert min(calls.next_times(1, store)) == 1001.0
    now[0] = 1001.0
    calls.give_back(1, at_once=False)
    calls.settle(store, pools)
    assert sorted(store.released) == ["c", "d", "e"]
    assert store.writes == 1
    assert len(calls) == 1


def test_what_has_room_is_not_given_back(calls, store, pools, claim, now):
    """Interpreters may take long to start."""
    claim("ab")
    now[0] += 10.0
    calls.give_back(2, at_once=False)
    calls.settle(store, pools)
    assert store.released == []
    # But when this process is told to end.
    pools.begin("a")
    calls.give_back(2, at_once=True)
    calls.settle(store, pools)
    assert store.released == ["b"]


def test_what_runs_is_no_claim_in_advance(calls, store, pools, claim, now):
    """After a reload with fewer interpreters the dispatcher's thread spun until they had ended."""
    claim("abc")
    pools.begin("a", "b", "c")
    now[0] += 10.0
    calls.give_back(1, at_once=False)
    assert calls.next_times(1, store) == [1020.0]  # the leases'
    assert len(calls) == 3


def test_its_own_running_task_is_not_begun_beside_itself(calls, store, pools, claim, caplog):
    """Another process had freed the claim, and this one took it again: two runs at a time."""
    claim("a")
    pools.begin("a")
    first = pools.calls["a"]
    store.release(["a"], "me")  # as another's `rescue`
    store.released.clear()
    (again,) = store.claim(None, 1, "me")
    calls.submit(again, store, pools)
    assert pools.calls["a"] is first
    assert len(calls) == 1
    assert not first.interrupted
    assert "task a was freed by another process" in caplog.text
    pools.end("a")
    calls.settle(store, pools)
    assert not calls
    # Had that run ended before the claim was this one's again, nobody would run the task now.
    assert store.released == ["a"]
