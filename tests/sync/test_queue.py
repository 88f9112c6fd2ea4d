"""`subpool.Queue`: items, order, room, ends."""

import array
import gc
import queue
import threading
import weakref

import pytest
from sync_support import count, until_waiting, waiting

import subpool
import tasks
import tasks_sync
from subpool import Event, InterpreterPoolExecutor, Lock, NotTransferableError, Queue
from support import DEADLINE

ITEMS = {
    "small": 1,
    "nested": {"a": [1, (2.5, None, True)], "b": {"c"}},
    "large bytes": b"x" * 300_000,
    "large bytearray": bytearray(b"y" * 300_000),
    "array": array.array("d", range(10_000)),
    "view": memoryview(bytearray(range(100))),
    "function by name": tasks.add,
    "exception": LookupError("no"),
}


def test_there_and_back(pool):
    questions, answers = Queue(), Queue(1)
    future = pool.submit(tasks_sync.echo, questions, answers)
    for item in ITEMS.values():
        questions.put(item)
        back = answers.get(timeout=DEADLINE)
        assert type(back) is type(item)
        assert repr(back) == repr(item) if isinstance(item, Exception) else back == item
    questions.shutdown()
    future.result(DEADLINE)
    with pytest.raises(queue.ShutDown):
        answers.get()


def test_what_goes_by_value(pool):
    """A local class and a closure, from main through a worker and back: the class is the same."""

    class Local:
        def __init__(self, value):
            self.value = value

    def relay(questions, answers):
        given = questions.get()
        answers.put((given, lambda: given.value + 1))

    questions, answers = Queue(), Queue()
    pool.submit(relay, questions, answers)
    questions.put(Local(5))
    given, closure = answers.get(timeout=DEADLINE)
    assert type(given) is Local
    assert closure() == 6


def test_a_view_of_main_goes_by_reference(pool):
    memory = bytearray(b"abc")
    items = Queue()
    items.put(memoryview(memory))
    memory[0:1] = b"x"
    assert pool.submit(tasks_sync.get, items).result() == b"xbc"


def test_queues_in_queues(pool):
    outer, inner = Queue(), Queue()
    outer.put({"reply": inner})
    pool.submit(tasks_sync.put_into_reply, outer, 7).result()
    assert inner.get_nowait() == 7


def test_the_order_is_kept(pool2):
    """Of each that puts; and each item comes once."""
    items = Queue(3)
    futures = [pool2.submit(tasks_sync.put_numbers, items, start, 200) for start in (0, 1000)]
    got = [items.get(timeout=DEADLINE) for _ in range(400)]
    for future in futures:
        future.result(DEADLINE)
    for start in (0, 1000):
        assert [item for item in got if start <= item < start + 200] == [*range(start, start + 200)]
    assert items.empty()


def test_getters_are_served_in_the_order_in_which_they_came(pool2):
    """The first to come waited for ever beside a faster one."""
    items = Queue()
    first = pool2.submit(tasks_sync.get, items)
    until_waiting(items)
    second = pool2.submit(tasks_sync.get, items)
    until_waiting(items, 2)
    third = threading.Thread(target=lambda: got.append(items.get()))
    got = []
    third.start()
    until_waiting(items, 3)
    for item in "abc":
        items.put(item)
    third.join(DEADLINE)
    assert (first.result(DEADLINE), second.result(DEADLINE), got) == ("a", "b", ["c"])


def test_room(pool):
    items = Queue(2)
    assert items.maxsize == 2
    future = pool.submit(tasks_sync.put, items, 1, 2, 3, 4)
    until_waiting(items)
    assert items.full()
    assert items.qsize() == 2
    with pytest.raises(queue.Full):
        items.put_nowait(5)
    with pytest.raises(queue.Full):
        items.put(5, timeout=0.001)
    assert waiting(items) == 1
    assert [items.get(timeout=DEADLINE) for _ in range(4)] == [1, 2, 3, 4]
    future.result(DEADLINE)
    assert not items.full()


def test_nothing_there(pool):
    items = Queue()
    with pytest.raises(queue.Empty):
        items.get_nowait()
    with pytest.raises(queue.Empty):
        items.get(timeout=0.001)
    assert waiting(items) == 0
    with pytest.raises(queue.Empty):
        pool.submit(tasks_sync.get, items, False).result()
    with pytest.raises(ValueError, match="non-negative"):
        items.get(timeout=-1)
    with pytest.raises(ValueError, match="non-negative"):
        items.put(1, timeout=-1)
    assert items.empty()


@pytest.mark.parametrize("where", ["main", "worker"])
def test_a_shutdown(pool2, where):
    """As `queue.Queue.shutdown`: what is there comes out, then the end; who waits learns of it."""
    items = Queue(1)
    items.put(1)
    putter = pool2.submit(tasks_sync.outcome, "put", items, 2)
    until_waiting(items)
    if where == "main":
        items.shutdown()
    else:
        pool2.submit(tasks_sync.shut, items).result()
    assert putter.result(DEADLINE) == "ShutDown"
    with pytest.raises(queue.ShutDown):
        items.put(3)
    assert items.get() == 1
    for block in (True, False):
        with pytest.raises(queue.ShutDown):
            items.get(block)
    assert pool2.submit(tasks_sync.outcome, "get", items).result() == "ShutDown"


def test_a_shutdown_wakes_getters(pool):
    items = Queue()
    getter = pool.submit(tasks_sync.outcome, "get", items)
    until_waiting(items)
    items.shutdown()
    assert getter.result(DEADLINE) == "ShutDown"


def test_a_shutdown_at_once_drops_what_is_there():
    items = Queue()
    items.put(1)
    items.put(2)
    items.get()
    items.shutdown(immediate=True)
    assert items.empty()
    assert items.join(0) is False, "one was got and is not done"
    items.task_done()
    assert items.join(0) is True


def test_join(pool):
    items = Queue()
    items.put(1)
    items.put(2)
    assert items.join(0) is False
    future = pool.submit(tasks_sync.join, items)
    until_waiting(items)
    items.get()
    items.task_done()
    items.get()
    assert not future.done()
    items.task_done()
    assert future.result(DEADLINE) is True
    with pytest.raises(ValueError, match="too many times"):
        items.task_done()


def test_what_cannot_travel(pool):
    items = Queue()
    with pytest.raises(NotTransferableError, match=r"cannot send the item\[1\] to an interpreter"):
        items.put([1, threading.Lock()])
    with pytest.raises(NotTransferableError) as caught:
        pool.submit(tasks_sync.put_lock, items).result()
    assert str(caught.value).startswith("cannot send item[1]['deep'] by a subpool.Queue: ")
    assert items.empty()


def test_an_item_that_is_refused_is_let_go():
    """PyO3 kept the error, and with its frames the item, until its next call."""
    items, item = Queue(), Refusing()
    seen = weakref.ref(item)
    try:
        items.put(item)
    except NotTransferableError:
        del item
    gc.collect()
    assert seen() is None
    assert items.empty()


class Refusing:
    def __reduce__(self):
        raise ValueError("not to be had")


def test_nobody_has_attributes():
    """Those of a queue were lost on its way, without a word."""
    for shared in (Event(), Lock(), Queue()):
        with pytest.raises(AttributeError):
            shared.note = 1


def test_what_cannot_be_unpickled_here(pool):
    """The error names the queue; the next item comes all the same."""
    items = Queue()
    pool.submit(tasks_sync.put_made, items, tasks_sync.Sour).result()
    items.put(1)
    with pytest.raises(NotTransferableError, match=r"cannot receive an item of a subpool\.Queue"):
        items.get()
    assert items.get() == 1


def test_what_a_closed_interpreter_has_put():
    items = Queue()
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks_sync.put, items, "a", b"x" * 100_000, memoryview(b"view")).result()
    assert items.get() == "a"
    assert items.get() == b"x" * 100_000
    assert items.get() == b"view"


def test_items_that_nobody_gets_are_freed():
    """With their memory, and the things in them."""
    before = count(), subpool._subpool._lent_buffers()
    items = Queue()
    for _ in range(10):
        items.put((subpool.Event(), memoryview(bytearray(1000))))
    assert count() > before[0]
    del items
    gc.collect()
    assert (count(), subpool._subpool._lent_buffers()) == before


def test_queues_in_queues_without_end_are_freed():
    """Each was dropped within the one before: the stack was not deep enough."""
    before = count()
    items = Queue()
    for _ in range(100_000):
        outer = Queue()
        outer.put(items)
        items = outer
    del items, outer
    assert count() == before


def test_repr_and_types():
    items = Queue[int](-1)
    assert items.maxsize == 0
    items.put(1)
    assert repr(items).endswith(": 1 items>")
    with pytest.raises(TypeError):
        Queue("three")
    with pytest.raises(OverflowError):
        Queue(10**30)
