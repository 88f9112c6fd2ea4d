"""How a worker ends, and whether its exit code is true: with calls that end as the test says."""

import os
import signal

import pytest
from dj_fakes import CONFIG, FakePools, LeasedStore, record, runs, with_fakes

from subpool import BrokenInterpreterPool
from subpool.integrations.django import dispatcher as module
from subpool.integrations.django import registry, worker
from subpool.integrations.django.stores import StoreUnavailable
from subpool.integrations.django.stores.memory import MemoryStore
from subpool.integrations.django.worker import WorkerDispatcher


class Script(FakePools):
    """Interpreters in which calls end as they are told to, at once."""

    def __init__(self, config, width, *ends):
        super().__init__(config, width)
        self._pause = 0.0  # after which it is tried again
        self.ends = list(ends)

    def submit(self, claimant, record_id, record):
        call = super().submit(claimant, record_id, record)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            call.set_exception(end)
        else:
            call.set_result(end)
        return call


@pytest.fixture
def code(monkeypatch):
    """Have a worker run three tasks, whose calls end so; give its exit code."""
    monkeypatch.setattr(module, "_LONGEST_STORE_PAUSE", 0.001)
    monkeypatch.setattr(registry, "_dispatchers", {})

    def code(*ends, store=None, pause=0.0, **more):
        store = LeasedStore() if store is None else store
        for name in "abc":
            store.add(record(name))
        monkeypatch.setattr(module, "_make_store", lambda _: store)
        one = WorkerDispatcher(CONFIG, **more)
        one._pools = Script(CONFIG, 1, *ends)
        one._pools._pause = pause
        code = worker.run(one, print)
        assert not one._pools.ends
        return code

    return code


def test_a_batch_that_could_not_run(code):
    """It said that all was well, with all tasks waiting: to a cron job, for ever."""
    assert code(BrokenInterpreterPool("no"), batch=True, pause=1000.0) == worker.FAILED
    assert code(StoreUnavailable("no"), batch=True, pause=1000.0) == worker.FAILED
    assert code(True, True, True, batch=True) == 0
    assert code(True, True, batch=True, max_tasks=2, pause=1000.0) == 0


def test_a_batch_that_could_not_claim(code, caplog):
    store = LeasedStore()
    errors = [OverflowError("no such lease")]

    def claim(*args):
        if errors:
            raise errors.pop()
        return MemoryStore.claim(store, *args)

    store.claim = claim
    assert code(store=store, batch=True) == worker.FAILED
    assert "no such lease" in caplog.text
    # One that was away, and is back, is no trouble.
    errors.append(StoreUnavailable("away"))
    assert code(True, True, True, True, True, True, store=store, batch=True) == 0


def test_max_tasks_counts_what_was_run(code):
    """Interpreters that could not start, and lost claims, ended the worker with nothing run."""
    ends = [BrokenInterpreterPool("no"), StoreUnavailable("no"), False, True]
    assert code(*ends, max_tasks=1) == 0


def test_serving_that_could_not_run_tasks(monkeypatch):
    """As a worker's batch; of what it looks for no server tells."""
    serve = pytest.importorskip("subpool.integrations.django.management.commands.subpool_serve")
    monkeypatch.setattr(module, "_make_store", lambda _: LeasedStore())
    one = with_fakes(serve.ServingDispatcher(CONFIG))
    one.wake()
    one.close()
    assert not one.failed
    one = with_fakes(serve.ServingDispatcher(CONFIG))
    one._pools.not_before = float("inf")
    one.wake()
    one.close()
    assert one.failed


def test_a_signal_holds_when_the_worker_says_so(monkeypatch):
    """Between its word and the deed a task could still begin."""
    store = LeasedStore()
    monkeypatch.setattr(module, "_make_store", lambda _: store)
    monkeypatch.setattr(registry, "_dispatchers", {})
    one = with_fakes(WorkerDispatcher(CONFIG))
    said = []

    def say(text):
        said.append((text.partition(":")[0], one._claims, one._is_late()))
        if len(said) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    store.add(record("a"))
    wake = one.wake

    def woken():
        wake()
        runs(one, "a")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(one, "wake", woken)
    one._pools.take_all = lambda: one._pools.calls["a"].set_result(True) or []
    assert worker.run(one, say) == worker.CUT_OFF
    assert said == [("SIGTERM", False, False), ("SIGTERM again", False, True)]
