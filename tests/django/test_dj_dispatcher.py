"""The dispatcher when things go wrong around it: with a pool of the tests' own, without sleeps."""

import logging
import os
import signal
import threading
from dataclasses import replace

import pytest
from dj_app import tasks
from dj_fakes import CONFIG, FakePools, LeasedStore, record, runs, with_fakes
from django.db import InternalError
from django.tasks import TaskResultStatus, task_backends

from subpool import TaskInterrupted
from subpool.integrations.django import dispatcher as module
from subpool.integrations.django import failures, registry, worker
from subpool.integrations.django import pools as pools_module
from subpool.integrations.django.config import Options
from subpool.integrations.django.dispatcher import Dispatcher
from subpool.integrations.django.pools import Pools
from subpool.integrations.django.stores import Outcome, Record, StoreUnavailable
from subpool.integrations.django.stores.memory import MemoryStore
from subpool.integrations.django.worker import WorkerDispatcher
from support import eventually


@pytest.fixture
def make():
    """Make a dispatcher; it is ended with the test."""
    made = []

    def make(store=None, kind=Dispatcher, config=CONFIG):
        made.append(with_fakes(kind(config, store)))
        return made[-1]

    yield make
    for one in made:
        for call in one._pools.calls.values():
            if not call.done():
                call.set_result(True)
        one.close(0)


def test_a_queue_that_a_reload_has_added(make, monkeypatch):
    """New web workers enqueue to it, and main knows the old settings: it waited for ever."""
    one = make()
    monkeypatch.setattr(registry, "_dispatchers", {"own": one})
    new = replace(CONFIG, queues=frozenset({"default", "mail"}), since=CONFIG.since + 1)
    registry.add_from_interpreter(new, record("a", queue="mail"))
    assert registry.find("own") is one
    runs(one, "a")


def test_settings_of_a_reload(make, monkeypatch):
    """New web workers' hold, and what the old ones still enqueue does not bring the old back."""
    one = make()
    monkeypatch.setattr(registry, "_dispatchers", {"own": one})
    options = Options(max_interpreters=3, shutdown_timeout=5.0, max_results=7)
    new = replace(CONFIG, options=options, since=CONFIG.since + 1)
    registry.add_from_interpreter(new, record("a"))
    registry.add_from_interpreter(CONFIG, record("b"))
    assert (one.width, one.config.options) == (3, options)
    assert (one.store._max_results, one._pools._width) == (7, 3)
    assert one._pools._is_old, "they would go on in a pool of one"
    runs(one, "a")
    runs(one, "b")
    assert registry.dispatcher_for(CONFIG) is one


def test_queues_of_a_shared_store_follow(make, monkeypatch):
    """Those of a worker that was told its queues stay."""
    one = make(LeasedStore())
    monkeypatch.setattr(registry, "_dispatchers", {"own": one})
    new = replace(CONFIG, queues=frozenset({"mail"}), since=CONFIG.since + 1)
    registry.wake_from_interpreter(new)
    assert one.queues == {"mail"}
    monkeypatch.setattr(module, "_make_store", lambda _: LeasedStore())
    told = WorkerDispatcher(CONFIG, queues={"default"})
    assert told.follow(new)
    assert told.queues == {"default"}
    assert told.config is new


def test_a_dispatcher_goes_on_after_any_error(make, monkeypatch, caplog):
    """A server that has become a standby raises InternalError: nobody ran tasks after that."""
    store = LeasedStore()
    monkeypatch.setattr(module, "_LONGEST_STORE_PAUSE", 0.001)
    errors = [InternalError("read-only transaction"), ZeroDivisionError(), StoreUnavailable("no")]

    def claim(*args):
        if errors:
            raise errors.pop()
        return MemoryStore.claim(store, *args)

    store.add(record("a"))
    store.claim = lambda *args: MemoryStore.claim(store, *args)
    one = make(store)
    one.wake()
    running = runs(one, "a")
    one.width = 2
    store.claim = claim
    for name in "bcd":
        one.add(record(name))
    runs(one, "b")
    assert not errors
    assert not running.interrupted
    assert not one._pools.ended
    eventually(lambda: "go on" in caplog.text, "the word that all is well")


def test_an_end_that_cannot_be_noted_is_one_task_s(make, monkeypatch, caplog):
    """The thread ended by it, and its neighbours with it."""
    one = make()
    one.add(record("a"))
    call = runs(one, "a")
    monkeypatch.setattr(one.store, "finish", lambda *_: 1 / 0)
    call.set_exception(ValueError("why"))
    one.add(record("b"))
    runs(one, "b")
    assert "the end of task a cannot be noted" in caplog.text


def test_no_thread_is_to_be_had(make, monkeypatch, caplog):
    """It was never tried again, and `close` raised "cannot join thread before it is started"."""
    one = make()
    start = threading.Thread.start

    def no_start(thread):
        if thread.name == "subpool-tasks-own":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_start)
    one.add(record("a"))
    one.add(record("b"))
    assert caplog.text.count("can't start new thread") == 1
    one.close(0)
    one.join()
    monkeypatch.undo()
    assert one.get("a").status == "READY"  # who looks for it starts it
    runs(one, "a")


def test_a_task_that_raises_taskinterrupted_itself(make):
    """It came back into its queue at once, again and again."""
    store = LeasedStore()
    one = make(store)
    one.add(record("a"))
    one.add(record("b"))
    runs(one, "a").set_exception(TaskInterrupted("of a pool of its own"))
    call = runs(one, "b")
    assert store.get("a").status == "FAILED"
    assert store.get("a").errors[0].exception_class_path.endswith("TaskInterrupted")
    # But what was interrupted from here is for others to run.
    store.renew = lambda *_: set()
    one._calls.renewed = 0.0
    one.wake()
    eventually(lambda: call.interrupted, "the interrupt")
    call.set_exception(TaskInterrupted("from here"))
    eventually(lambda: store.released == ["b"], "its release")
    assert not store.get("b").is_finished


def test_an_interpreter_that_does_not_reach_the_store(make, caplog):
    """Too many connections, say: its tasks are not claimed and given back as fast as it goes."""
    store = LeasedStore()
    one = make(store)
    one._pools._pause = 1000.0
    one.add(record("a"))
    runs(one, "a").set_exception(StoreUnavailable("task a cannot begin"))
    eventually(lambda: store.released == ["a"], "its release")
    assert not store.get("a").is_finished
    assert one._room() == 0
    assert "tasks 'own' wait: in an interpreter, task a cannot begin" in caplog.text
    one._pools.not_before = 0.0
    one._pools.calls.clear()
    one.wake()
    runs(one, "a")


def test_an_announcement_that_fails(make, monkeypatch):
    """Main may not be able to import the task; the next one runs all the same."""
    one = make()
    monkeypatch.setattr("subpool.integrations.django.results.known_result_of", lambda _: 1 / 0)
    one.add(record("a"))
    runs(one, "a").set_exception(ValueError("why"))
    one.add(record("b"))
    runs(one, "b")
    assert one.get("a").status == "FAILED"


def test_a_receiver_that_takes_long_or_closes_the_pool(make, monkeypatch):
    """It stopped all tasks of its alias; and "cannot join current thread", said `close`."""
    heard, go_on = threading.Event(), threading.Event()

    def hear(record, error):
        heard.set()
        assert go_on.wait(60)
        one.close()
        told.append(record.id)

    told = []
    monkeypatch.setattr(failures, "_tell", hear)
    one = make()
    one.add(record("a"))
    one.add(record("b"))
    runs(one, "a").set_exception(ValueError("why"))
    assert heard.wait(60)
    runs(one, "b").set_exception(ValueError("that, too"))
    go_on.set()
    one.close()
    assert told == ["a", "b"]


def test_a_program_that_ends_lets_go_what_runs_finish(make, monkeypatch, caplog):
    """When nothing more can be submitted what ran was interrupted, "after the timeout"."""
    one = make(config=replace(CONFIG, options=Options(max_interpreters=2)))
    one.add(record("a"))
    call = runs(one, "a")

    def submit(*_):
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(one._pools, "submit", submit)
    one.close(60, wait=False)
    one.add(record("b"))
    eventually(lambda: "cannot start interpreters" in caplog.text, "the refusal")
    one.store.begin("a", one.claimant, "w")
    one.store.finish("a", one.claimant, Outcome("done"))
    call.set_result(True)
    one.join()
    assert "shutdown_timeout" not in caplog.text
    assert one.get("a").status == "SUCCESSFUL"


def test_max_tasks_asks_for_no_more_than_it_runs(monkeypatch):
    """It asked 100 times a second when the next one is due, which it would not run."""
    store = LeasedStore()
    monkeypatch.setattr(module, "_make_store", lambda _: store)
    config = replace(CONFIG, options=Options(max_interpreters=2))
    one = with_fakes(WorkerDispatcher(config, max_tasks=1))
    for name in "ab":
        store.add(record(name))
    one._awake = True
    (claimed,) = store.claim(None, 1, one.claimant)
    one._submit(claimed)
    assert one._room() == 0
    assert one._next_look() is not None
    assert store.looks == 0


def test_a_fork_that_did_not_wait(make, monkeypatch):
    """The thread saw that it shall rest, and then that it shall not: it ended all that ran."""
    one = make()
    one.add(record("a"))
    call = runs(one, "a")
    turn = one._turn
    seen = threading.Event()

    def slow_turn():
        was_told = one._resting
        goes_on = turn()
        if was_told:
            one.go_on()
            seen.set()
        return goes_on

    monkeypatch.setattr(one, "_turn", slow_turn)
    monkeypatch.setattr(one, "_leaves", lambda: False, raising=False)  # it is in its turn
    with one._changed:
        one._resting = True
        one._changed.notify_all()
    assert seen.wait(60)
    monkeypatch.undo()
    call.set_result(True)
    one.add(record("b"))
    runs(one, "b")
    assert not one._pools.ended


def test_a_fork_waits_for_a_thread_that_leaves(make):
    """It leaves what runs as it is, and another thread goes on with it."""
    one = make()
    one.add(record("a"))
    call = runs(one, "a")
    first = one._thread
    one.rest()
    assert not first.is_alive()
    one.go_on()
    call.set_result(True)
    one.add(record("b"))
    runs(one, "b")
    assert one._thread is not first


def test_a_pool_that_cannot_be_made(monkeypatch, caplog):
    """It was tried thousands of times a second, and each time logged."""
    tried = []

    def refuse(*_, **__):
        tried.append(1)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pools_module, "InterpreterPoolExecutor", refuse)
    now = [1000.0]
    monkeypatch.setattr(pools_module.time, "monotonic", lambda: now[0])
    pools = Pools(CONFIG, 1)
    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            pools.submit("me", "a", None)
        pools.have_failed(caught.value)
        assert pools.not_before > now[0]
        pools.have_failed(caught.value)
        now[0] = pools.not_before
    assert len(tried) == 2
    assert caplog.text.count("can't start new thread") == 2
    assert pools.not_before == 1003.0  # later and later: after one second, then two


def test_other_signals_do_not_end_a_worker(monkeypatch):
    """Each signal with a handler, of whoever, writes its number where SIGTERM does."""
    monkeypatch.setattr(module, "_make_store", lambda _: LeasedStore())
    one = with_fakes(WorkerDispatcher(CONFIG))
    monkeypatch.setattr(registry, "_dispatchers", {})
    said, heard = [], []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    wake = one.wake

    def woken():
        wake()
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(one, "wake", woken)
    try:
        assert worker.run(one, said.append) == 0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [1]
    assert len(said) == 1
    assert said[0].startswith("SIGTERM: finishing")


def test_a_result_whose_task_is_gone(caplog):
    """Renamed, or its module removed: it has failed, and that can be read."""
    caplog.set_level(logging.CRITICAL)
    backend = task_backends["single"]
    store = registry.dispatcher_for(backend.config).store
    one = Record(id="gone", task="gone.away", backend="single", args=[1])
    store.add(one)
    (claimed,) = store.claim(None, 1, "me")
    store.begin(claimed.id, "me", "w")
    store.finish("gone", "me", Outcome("kept"))
    result = backend.get_result("gone")
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "kept")
    assert (result.task.module_path, result.args) == ("gone.away", [1])
    result.refresh()
    with pytest.raises(ImportError):
        result.task.call(1)
    assert result.task != tasks.echo


def test_a_worker_without_a_thread_says_so(monkeypatch, caplog):
    """It waited for the end of a thread that had never begun."""
    monkeypatch.setattr(module, "_make_store", lambda _: LeasedStore())
    monkeypatch.setattr(registry, "_dispatchers", {})
    start = threading.Thread.start

    def no_start(thread):
        if thread.name == "subpool-tasks-own":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", no_start)
    assert worker.run(with_fakes(WorkerDispatcher(CONFIG)), print) == worker.FAILED
    assert "can't start new thread" in caplog.text


def test_an_end_that_is_told_in_the_middle_of_a_turn(make, monkeypatch):
    """The thread had looked for that already, and then waited for it: for ever, as did `close`."""
    one = make()
    next_look = one._next_look

    def look():
        pause = next_look()
        one.close(wait=False)
        return pause

    monkeypatch.setattr(one, "_next_look", look)
    one.wake()
    eventually(lambda: one._pools.ended, "the end")


def test_a_store_that_is_slow_to_make(monkeypatch):
    """It was made on the thread on which all of the process's calls end, and under the lock.

    Where main has not set up Django that is half a second, and an app that enqueued a task when it
    was ready waited for the lock for ever.
    """
    made = threading.Event()
    store = LeasedStore()

    def make_store(config):
        assert threading.current_thread().name == "subpool-tasks-own"
        assert made.wait(60)
        assert registry._lock.acquire(timeout=60)
        registry._lock.release()
        return store

    monkeypatch.setattr(registry, "_dispatchers", {})
    monkeypatch.setattr(module, "_make_store", make_store)
    monkeypatch.setattr(module, "Pools", FakePools)
    options = Options(store="database", embedded=True, max_interpreters=1, max_results=5)
    config = replace(CONFIG, options=options)
    registry.wake_from_interpreter(config)
    one = registry.find("own")
    # Meanwhile other settings come.
    new = replace(config, options=replace(options, max_results=7), since=config.since + 1)
    registry.wake_from_interpreter(new)
    made.set()
    store.add(record("a"))
    one.wake()
    try:
        runs(one, "a").set_result(True)
        assert store._max_results == 7
        assert one.lost() == 0
    finally:
        one.close(0)


def test_a_store_that_cannot_be_made(monkeypatch, caplog):
    """The thread says so and goes on, but nobody waits for it at the end."""
    monkeypatch.setattr(module, "_make_store", lambda _: 1 / 0)
    one = with_fakes(Dispatcher(replace(CONFIG, options=Options(store="database"))))
    one.wake()
    eventually(lambda: "ZeroDivisionError" in caplog.text, "the word")
    one.close()
    assert one._pools.ended
