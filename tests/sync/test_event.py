"""`subpool.Event`: between main and workers, and between workers."""

import gc
import pickle
import threading

import pytest
from sync_support import count, until_waiting, waiting

import subpool
import tasks
import tasks_sync
import tasks_sync_small
from subpool import Event, InterpreterPoolExecutor, NotTransferableError
from support import DEADLINE


def test_a_worker_waits_for_main(pool):
    event = Event()
    future = pool.submit(tasks_sync.wait, event)
    until_waiting(event)
    event.set()
    assert future.result(DEADLINE) is True
    assert waiting(event) == 0


def test_main_waits_for_a_worker(pool):
    event = Event()
    pool.submit(tasks_sync.set_event, event)
    assert event.wait(DEADLINE)
    assert event.is_set()


def test_workers_wait_for_each_other(pool2):
    event = Event()
    future = pool2.submit(tasks_sync.wait, event)
    until_waiting(event)
    pool2.submit(tasks_sync.set_event, event)
    assert future.result(DEADLINE)


def test_all_who_wait_are_woken_also_if_it_is_cleared_at_once(pool2):
    """As with `threading.Event`; who was woken and looked at the flag again waited for ever."""
    event = Event()
    futures = [pool2.submit(tasks_sync.wait, event) for _ in range(2)]
    thread = threading.Thread(target=event.wait)
    thread.start()
    until_waiting(event, 3)
    event.set()
    event.clear()
    assert [future.result(DEADLINE) for future in futures] == [True, True]
    thread.join(DEADLINE)
    assert not event.is_set()


@pytest.mark.parametrize("timeout", [0, -1, 0.001, float("nan")])
def test_a_timeout(pool, timeout):
    event = Event()
    assert event.wait(timeout) is False
    assert pool.submit(tasks_sync.wait, event, timeout).result() is False
    assert waiting(event) == 0
    event.set()
    assert event.wait(timeout) is True


@pytest.mark.parametrize("timeout", [1e300, float("inf")])
def test_a_timeout_that_no_clock_has(timeout):
    event, told = Event(), []
    thread = threading.Thread(target=lambda: told.append(event.wait(timeout)))
    thread.start()
    until_waiting(event)
    event.set()
    thread.join(DEADLINE)
    assert told == [True]


def test_a_timeout_that_is_none():
    with pytest.raises(TypeError):
        Event().wait("soon")


def test_it_is_the_same_thing_everywhere(pool):
    event = Event()
    again = pool.submit(tasks_sync.set_and_give, event).result()
    assert again == event
    assert hash(again) == hash(event)
    assert again is not event
    assert event.is_set()
    assert event != Event()
    assert event != subpool.Lock()
    assert event != 1
    assert pool.submit(tasks_sync.same, event, again).result()
    assert {event: 1}[again] == 1


def test_it_is_made_in_a_worker_and_outlives_it(closing):
    first = closing(InterpreterPoolExecutor(1))
    event = first.submit(tasks_sync.make, "Event").result()
    first.shutdown()
    event.set()
    second = closing(InterpreterPoolExecutor(1))
    assert second.submit(tasks_sync.wait, event).result()


def test_deep_in_arguments_and_by_value(pool):
    event, other = Event(), Event()

    def task(given):
        other.set()  # a local function goes by value, with this
        given["deep"][0].set()
        return [given]

    result = pool.submit(task, {"deep": (event,)}).result()
    assert result[0]["deep"][0] == event
    assert event.is_set()
    assert other.is_set()


def test_as_an_argument_of_the_initializer():
    event = Event()
    options = {"initializer": tasks_sync.set_event, "initargs": (event,)}
    with InterpreterPoolExecutor(1, **options) as pool:
        assert pool.submit(tasks_sync.wait, event, 0).result()


def test_it_lives_while_it_travels(pool, gate):
    """Only the call that waits in the queue has it: the number in a pickle would lead nowhere."""
    busy = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    event = Event()
    event.set()
    future = pool.submit(tasks_sync.wait, event)
    del event
    gc.collect()
    gate.open()
    busy.result()
    assert future.result() is True


def test_one_that_nobody_has_is_freed(pool):
    """A call that was cancelled before it ran, and a result that nobody fetched."""
    before = count()
    event = Event()
    futures = [pool.submit(tasks_sync.set_and_give, event) for _ in range(50)]
    for future in futures:
        future.cancel()
    pool.submit(tasks_sync.nothing).result()
    del event, futures, future
    gc.collect()
    pool.submit(tasks_sync.nothing).result()
    assert count() == before


def test_a_pickle_of_the_users(pool):
    """It leads to the thing as long as that lives, and says so after that."""
    event = Event()
    pickled = pickle.dumps(event)
    assert pickle.loads(pickled) == event
    del event
    gc.collect()
    with pytest.raises(NotTransferableError, match=r"this subpool\.Event is gone"):
        pickle.loads(pickled)


def test_a_pickle_in_another_process(check, tmp_path):
    """Its number would mean another event there, or none."""
    file = tmp_path / "event"
    event = Event()
    file.write_bytes(pickle.dumps(event))
    code = f"""
import pathlib, pickle
from subpool import Event, NotTransferableError
kept = [Event() for _ in range(1000)]
try:
    pickle.loads(pathlib.Path({str(file)!r}).read_bytes())
except NotTransferableError as error:
    print(error)
"""
    assert check(code).startswith("this subpool.Event belongs to another process: ")


def test_a_subclass(pool):
    event = pool.submit(tasks_sync.make_named).result()
    assert type(event) is tasks_sync.Named
    assert repr(event).startswith("<subpool.Event ")


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_subclass_with_attributes(pool, protocol):
    """They were left behind, silently."""
    lock = tasks_sync.Slotted()
    for shared in (tasks_sync.Titled("event"), lock):
        shared.title = ["title"]
        title, same = pool.submit(tasks_sync.title_and_same, shared).result()
        assert (title, same, same.title) == (["title"], shared, ["title"])
        assert type(same) is type(shared)
        again = pickle.loads(pickle.dumps(shared, protocol))
        assert (again, again.title) == (shared, ["title"])
    lock.acquire()
    assert same.locked()


def test_repr():
    event = Event()
    assert repr(event).endswith(": unset>")
    event.set()
    assert repr(event).endswith(": set>")


def test_what_a_worker_imports_for_it(pool):
    """Nothing that costs milliseconds."""
    used = pool.submit(tasks_sync_small.modules_after_use, Event()).result()
    assert used == (False, ["_pickle"])
