"""What is dropped is freed: futures, results, executors, and cycles of them."""

import contextlib
import gc
import sys
import threading
import weakref
from concurrent import futures

import tasks
from subpool import Future, InterpreterPoolExecutor
from support import eventually, join_workers


def test_a_future_dies_when_it_is_dropped(pool):
    """Something native kept each future for ever."""
    future = pool.submit(tasks.nothing)
    future.result()
    watch = weakref.ref(future)
    del future
    assert watch() is None


def test_a_future_dropped_while_its_task_runs_dies_at_once(pool, gate):
    """Nobody listens, so nobody needs it: the worker holds the task, not the future."""
    watch = weakref.ref(pool.submit(tasks.block, *gate.fds))
    gate.wait()
    assert watch() is None
    gate.open()


def test_a_listened_future_dies_after_its_delivery(pool):
    """The listener's reference was given away and never dropped."""
    future = pool.submit(tasks.nothing)
    assert futures.wait([future]).done
    watch = weakref.ref(future)
    del future
    # The completer's reference goes when its delivery returns.
    eventually(lambda: watch() is None, "the future's end")


def test_a_result_is_freed_with_its_future(pool):
    """The decoded value was kept in a cell that no collector sees."""
    future = pool.submit(tasks.identity, tasks.Marked())
    watch = weakref.ref(future.result())
    assert watch() is not None
    del future
    assert watch() is None


def test_an_exception_is_freed_with_its_future(pool):
    """Raising must not tie the exception to a frame that holds the future."""
    future = pool.submit(tasks.raise_custom)
    watch = weakref.ref(future.exception())
    with contextlib.suppress(tasks.CustomError):
        future.result()
    del future
    gc.collect()
    assert watch() is None


def test_a_cycle_of_a_future_and_its_callback_is_collected(pool):
    """A callback that holds its own future is the usual cycle."""
    future = pool.submit(tasks.nothing)
    future.result()
    held = tasks.Held()
    held.future = future
    future.held = held
    watch = weakref.ref(held)
    del future, held
    gc.collect()
    assert watch() is None


def test_a_cycle_through_a_result_is_collected(pool):
    """The collector has to look into the native cell: __traverse__."""
    future = pool.submit(tasks.identity, tasks.Marked())
    future.result().append(future)
    watches = weakref.ref(future), weakref.ref(future.result())
    del future
    gc.collect()
    assert [watch() for watch in watches] == [None, None]


def test_a_cycle_through_an_exception_is_collected(pool):
    """As above, for an exception."""
    future = pool.submit(tasks.raise_custom)
    future.exception().future = future
    watch = weakref.ref(future)
    del future
    gc.collect()
    assert watch() is None


def test_a_future_whose_submit_failed_is_collected(pool):
    """The traceback of what was refused keeps the frames of those who called, with the future."""

    def attempt():
        future = pool.submit(tasks.identity, threading.Lock())
        return weakref.ref(future)

    watch = attempt()
    gc.collect()
    assert watch() is None


def test_a_future_made_by_hand_in_a_cycle_is_collected():
    """Its attributes are those of the standard class."""
    future = Future()
    future.add_done_callback(lambda _, future=future: None)
    watch = weakref.ref(future)
    del future
    gc.collect()
    assert watch() is None


def test_an_executor_dies_when_it_is_dropped():
    """Its workers hold the pool, not the executor."""
    executor = InterpreterPoolExecutor(1)
    executor.warm_up()
    watch, threads = weakref.ref(executor), executor._pool.threads()
    del executor
    assert watch() is None
    join_workers(threads)


def test_arguments_are_freed_after_submit(pool, gate):
    """A call is bytes once it is submitted; the arguments may go."""
    blocker = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    value = tasks.Marked()
    watch = weakref.ref(value)
    future = pool.submit(tasks.identity, value)
    del value
    assert watch() is None
    gate.open()
    assert type(future.result()) is tasks.Marked
    blocker.result()


def test_closures_are_freed_after_submit(pool):
    """By value, too: the cache of what was sent holds functions by name, and no others."""
    held = tasks.Held()
    watch = weakref.ref(held)
    pool.submit(lambda held=held: type(held).__name__).result()
    held = None
    gc.collect()
    assert watch() is None


def test_no_reference_is_lost_or_kept_per_call(pool):
    """Counted over many calls: a leak of one reference per call shows."""
    value = tasks.Held.__name__
    argument = (1, value)

    def call():
        for _ in range(300):
            pool.submit(tasks.identity, argument).result()
            pool.submit(tasks.echo, 1, key=value).result()
            pool.submit(tasks.fail, ValueError(1)).exception()

    call()
    gc.collect()
    before = sys.getrefcount(argument), len(gc.get_objects())
    call()
    gc.collect()
    assert sys.getrefcount(argument) == before[0]
    assert abs(len(gc.get_objects()) - before[1]) < 50


def test_results_of_map_are_freed_one_by_one(pool):
    """The iterator kept the futures, and with them every result."""
    results = pool.map(tasks.Marked, [[number] for number in range(3)])
    watch = weakref.ref(next(results))
    assert watch() is None
    assert [list(result) for result in results] == [[1], [2]]


def test_a_finalizer_may_submit(pool):
    """An object freed inside `submit` whose finalizer submits itself: a lock taken twice."""
    got = []

    class Bomb:
        def __reduce__(self):
            return list, ()

        def __del__(self):
            got.append(pool.submit(tasks.add, 1, 2).result())

    for _ in range(10):
        assert pool.submit(tasks.identity, Bomb()).result() == []
    assert got == [3] * 10
