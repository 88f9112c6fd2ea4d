"""`map`: calls travel in batches, and nobody can tell but by the clock."""

import gc
import itertools
import threading
import weakref
from concurrent.futures import CancelledError

import pytest

import tasks
from subpool import InterpreterPoolExecutor, NotTransferableError, interpreter
from support import eventually, join_workers


def test_more_calls_than_a_message_holds(pool2):
    """Batches, their order, and the last short one."""
    many = 1000
    assert list(pool2.map(tasks.add, range(many), range(many))) == [2 * n for n in range(many)]
    assert list(pool2.map(tasks.add, list(range(many)), itertools.repeat(1))) == [
        n + 1 for n in range(many)
    ]
    assert list(pool2.map(tasks.nothing)) == []
    assert list(pool2.map(tasks.identity, [])) == []


def test_a_slow_call_does_not_hold_up_its_batch(pool2, gate):
    """Both calls of one message: the second must run on the other worker while the first blocks."""
    results = pool2.map(tasks.block_if, [gate.fds, gate.fds, None, None])
    gate.wait(2)
    gate.open(2)
    assert list(results) == ["released", "released", None, None]


def test_a_batch_is_open_to_every_worker(closing, gate):
    """A batch went to as many workers as there were when it was sent."""
    pool = closing(InterpreterPoolExecutor(4))
    results = pool.map(tasks.block, [gate.fds[0]] * 4, [gate.fds[1]] * 4)
    gate.wait(4)  # all four at the same time
    gate.open(4)
    assert list(results) == ["released"] * 4


def test_what_a_generator_gave_is_not_held_back(pool, gate):
    """A message waited to be full: the generator here waits for its first call."""

    def source():
        yield gate.fds
        gate.wait()
        gate.open()
        yield None

    assert list(pool.map(tasks.block_if, source())) == ["released", None]


def test_chunks_stay_on_one_worker(pool2, gate):
    """`chunksize` was taken as advice only."""
    chunks = [gate.fds, None, None, gate.fds, None, None]
    results = pool2.map(tasks.block_if_and_tell, chunks, chunksize=3)
    gate.wait(2)
    gate.open(2)
    where = list(results)
    assert len(set(where[:3])) == len(set(where[3:])) == 1
    assert set(where[:3]) != set(where[3:])


def test_an_exception_comes_in_its_place(pool):
    """What was done before it is delivered, what comes after is cancelled."""
    results = pool.map(tasks.fail_if, [None, None, LookupError("third"), None], chunksize=4)
    assert [next(results), next(results)] == [None, None]
    with pytest.raises(LookupError, match="third"):
        next(results)
    assert list(results) == []


def test_an_argument_that_cannot_travel_comes_in_its_place(pool):
    """The error of one call must not hide the results before it."""
    results = pool.map(tasks.identity, [1, 2, threading.Lock(), 4])
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(NotTransferableError, match=r"args\[0\] of tasks.identity"):
        next(results)
    assert list(results) == []


def test_a_function_that_cannot_travel(pool):
    """Raised when the results are asked for, as an error of the first call."""
    lock = threading.Lock()
    results = pool.map(lambda _: lock, [1, 2])
    with pytest.raises(NotTransferableError, match="function"):
        next(results)


def test_a_function_by_value(pool2):
    """It travels once, not with each call."""
    counter = itertools.count()

    class Counted:
        def __reduce__(self):
            next(counter)
            return int, (7,)

    counted = Counted()
    assert list(pool2.map(lambda n: n * counted, range(200))) == [n * 7 for n in range(200)]
    assert next(counter) <= 2  # once by pickle, which refuses the lambda, and once by value


def test_many_maps_by_value_leave_nothing_behind(pool):
    """A worker kept the function of every map that it ever ran."""
    for _ in range(40):
        assert list(pool.map(lambda n: n, [1])) == [1]
    name = "test_many_maps_by_value_leave_nothing_behind.<locals>.<lambda>"
    assert 0 < pool.submit(tasks.functions_called, name).result() <= 20


def test_arguments_of_main_by_value(check):
    """Instances of a class of the script: pickle names a class that no worker has."""
    out = check(
        "from subpool import InterpreterPoolExecutor\n"
        "class C:\n"
        "    def __init__(self, n): self.n = n\n"
        "def double(c): return C(2 * c.n)\n"
        "with InterpreterPoolExecutor(2) as ex:\n"
        "    print([type(c) is C and c.n for c in ex.map(double, map(C, range(3)))])\n"
    )
    assert out == "[0, 2, 4]\n"


def test_a_cancelled_rest_raises(pool, gate):
    """`shutdown(cancel_futures=True)` reaches into a batch."""
    results = pool.map(tasks.block_if, [gate.fds, ("put", "ran"), ("put", "ran")])
    gate.wait()
    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()
    assert next(results) == "released"
    with pytest.raises(CancelledError):
        next(results)


def test_a_dropped_iterator_cancels(pool, gate):
    """`next(iter(map))` and away: the rest ran for nobody."""
    results = pool.map(tasks.block_if, [gate.fds, *[("put", "ran")] * 3])
    gate.wait()
    del results
    gate.open()
    assert pool.submit(tasks.get, "ran").result() is None
    eventually(lambda: pool._pool.outstanding == 0, "the end of what was cancelled")


def test_an_iterable_that_raises(pool):
    """Its exception is the caller's, and what was submitted is cancelled."""

    def source():
        yield 1
        raise LookupError("source")

    with pytest.raises(LookupError, match="source"):
        pool.map(tasks.identity, source())
    results = pool.map(tasks.identity, source(), buffersize=1)
    with pytest.raises(LookupError, match="source"):
        next(results)
    assert list(results) == []


def test_a_dropped_executor_ends_the_map(gate):
    """The iterator must not keep the executor open, and what was submitted is delivered."""
    pool = InterpreterPoolExecutor(1)
    threads, watch = pool._pool.threads, weakref.ref(pool)
    results = pool.map(tasks.identity, itertools.count(), buffersize=3)
    assert next(results) == 0
    threads = threads()
    del pool
    gc.collect()
    assert watch() is None
    assert list(results) == [1, 2, 3]
    join_workers(threads)


def test_a_subclass_with_a_submit_of_its_own(closing):
    """`map` went past it: the standard one calls `self.submit`."""
    seen = []

    class Mine(InterpreterPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            seen.append(args)
            return super().submit(fn, *args, **kwargs)

    assert list(closing(Mine(1)).map(tasks.add, [1, 2], [3, 4])) == [4, 6]
    assert seen == [(1, 3), (2, 4)]


def test_the_iterator_of_a_map_in_its_own_source(pool):
    """The source asks the map for its next result: an error, not a deadlock."""
    box = []

    def source():
        yield 1
        yield 2
        yield next(box[0])

    box.append(pool.map(tasks.identity, source(), buffersize=1))
    assert next(box[0]) == 1
    with pytest.raises(ValueError, match="already executing"):
        list(box[0])


def test_wrong_arguments(pool):
    """The standard texts."""
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        pool.map(tasks.identity, [1], chunksize=0)
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        pool.map(tasks.identity, [1], buffersize=0)
    with pytest.raises(TypeError, match="buffersize must be an integer or None"):
        pool.map(tasks.identity, [1], buffersize="1")
    with pytest.raises(TypeError):
        pool.map(tasks.identity, 1)


def test_map_after_shutdown(pool):
    """As `submit`; a map of nothing submits nothing."""
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(tasks.identity, [1])
    assert list(pool.map(tasks.identity, [])) == []


def test_map_on_the_routing_executor(executor):
    """Tagged in interpreters, plain on threads, both with a bound on what is submitted."""
    where = set(executor.map(interpreter(tasks.interpreter_id_of), range(50)))
    assert where and 0 not in where
    assert set(executor.map(tasks.interpreter_id_of, range(50), buffersize=3)) == {0}


def test_map_cancels_the_rest_when_it_is_dropped(pool, gate):
    """A half-used iterator's remaining calls ran for nobody."""
    results = pool.map(tasks.block_if, [None, gate.fds, *[("put", "ran")] * 3])
    assert next(results) is None
    gate.wait()
    results.close()
    gate.open()
    assert pool.submit(tasks.get, "ran").result() is None


def test_map_keeps_at_most_so_many_submitted(pool):
    """`buffersize` bounds how far the input is read ahead, on each Python version."""
    taken = []

    def source():
        for number in range(10):
            taken.append(number)
            yield number

    results = pool.map(tasks.identity, source(), buffersize=2)
    assert taken == [0, 1]
    assert next(results) == 0
    assert taken == [0, 1, 2]
    assert list(results) == list(range(1, 10))


def test_map_with_a_timeout(pool, gate):
    """The deadline is for the whole of it."""
    results = pool.map(tasks.block, [gate.fds[0]], [gate.fds[1]], timeout=0.001)
    with pytest.raises(TimeoutError):
        list(results)
    gate.open()
