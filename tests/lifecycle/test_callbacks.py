"""Done-callbacks: in order, once each, whatever they do."""

import gc
import logging
import sys
import threading
from concurrent import futures

import pytest

import tasks
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter


def test_callbacks_run_once_in_the_order_they_were_added(pool, gate):
    """Delivered by the completer, from a list."""
    seen, done = [], threading.Event()
    future = pool.submit(tasks.block, *gate.fds)
    for number in range(5):
        future.add_done_callback(lambda got, number=number: seen.append((number, got is future)))
    future.add_done_callback(lambda _: done.set())
    gate.open()
    done.wait()
    assert seen == [(number, True) for number in range(5)]


def test_a_callback_sees_the_result(pool, gate):
    """The state was published after the callbacks, so they saw a running future."""
    seen, done = [], threading.Event()

    def callback(future):
        seen.append((future.done(), future.running(), future.result(timeout=0), future._state))
        done.set()

    future = pool.submit(tasks.block, *gate.fds)
    future.add_done_callback(callback)
    gate.open()
    done.wait()
    assert seen == [(True, False, "released", "FINISHED")]


def test_a_callback_added_after_the_end_runs_at_once(pool):
    """On the calling thread, as the standard class does."""
    future = pool.submit(tasks.nothing)
    future.result()
    seen = []
    future.add_done_callback(lambda _: seen.append(threading.get_ident()))
    assert seen == [threading.get_ident()]


def test_callbacks_of_many_futures(pool2):
    """The hand-over to the completer lost one in a burst."""
    left, done = set(range(500)), threading.Event()

    def callback(future):
        left.discard(future.result())
        if not left:
            done.set()

    for number in range(500):
        pool2.submit(tasks.identity, number).add_done_callback(callback)
    done.wait()


def test_a_callback_that_raises_is_logged(pool, gate, caplog):
    """It must stop neither the other callbacks nor the completer."""
    done = threading.Event()

    def raises(_):
        raise LookupError("in the callback")

    future = pool.submit(tasks.block, *gate.fds)
    future.add_done_callback(raises)
    future.add_done_callback(lambda _: done.set())
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        gate.open()
        done.wait()
    assert "exception calling callback" in caplog.text
    assert "LookupError: in the callback" in caplog.text


def test_a_callback_that_exits(pool, gate, monkeypatch):
    """SystemExit in a callback ended the completer's thread: no callback ran any more."""
    reported, done = [], threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_type))
    future = pool.submit(tasks.block, *gate.fds)
    future.add_done_callback(lambda _: sys.exit(3))
    gate.open()
    future.result()
    following = pool.submit(tasks.block, *gate.fds)
    following.add_done_callback(lambda _: done.set())
    gate.open()
    done.wait()
    assert reported == [SystemExit]


def test_a_callback_that_submits(pool):
    """A chain of tasks, each submitted by the one before."""
    seen, done = [], threading.Event()

    def callback(future):
        seen.append(future.result())
        if len(seen) == 20:
            done.set()
        else:
            pool.submit(tasks.add, seen[-1], 1).add_done_callback(callback)

    pool.submit(tasks.add, 0, 1).add_done_callback(callback)
    done.wait()
    assert seen == list(range(1, 21))


@pytest.mark.parametrize("kind", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor])
@pytest.mark.parametrize("wait", [True, False])
def test_a_callback_that_shuts_the_executor_down(kind, wait, gate):
    """The thread that runs the callback must not wait for itself."""
    executor = kind(2)
    done = threading.Event()

    def callback(_):
        executor.shutdown(wait=wait)
        done.set()

    future = executor.submit(interpreter(tasks.block), *gate.fds)
    future.add_done_callback(callback)
    gate.open()
    done.wait()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(interpreter(tasks.nothing))
    executor.shutdown()


def test_a_callback_that_waits_for_another_listened_future(pool2, gate):
    """The completer waited for a delivery that only the completer could make."""
    got, done = [], threading.Event()
    first = pool2.submit(tasks.block, *gate.fds)
    second = pool2.submit(tasks.block, *gate.fds)
    second.add_done_callback(lambda _: None)  # so that its end is delivered, not just there

    def callback(_):
        got.append(second.result())
        got.append(second.done())
        done.set()

    first.add_done_callback(callback)
    gate.wait(2)
    gate.open(2)
    done.wait()
    assert got == ["released", True]


@pytest.mark.parametrize("waiting", ["wait", "as_completed", "callback"])
def test_a_callback_that_waits_for_the_delivery_of_another_future(pool2, gate, waiting):
    """As above, but nothing short of the delivery itself ends the wait."""
    done, delivered = threading.Event(), threading.Event()
    first = pool2.submit(tasks.block, *gate.fds)
    second = pool2.submit(tasks.block, *gate.fds)
    second.add_done_callback(lambda _: delivered.set())

    def callback(_):
        match waiting:
            case "wait":
                futures.wait([second])
            case "as_completed":
                list(futures.as_completed([second]))
            case "callback":
                delivered.wait()
        done.set()

    first.add_done_callback(callback)
    gate.wait(2)
    gate.open(2)
    done.wait()


def test_a_callback_on_a_future_that_nobody_else_holds(pool, gate):
    """The future was freed before its end, and the callback with it."""
    done = threading.Event()
    pool.submit(tasks.block, *gate.fds).add_done_callback(lambda _: done.set())
    gc.collect()
    gate.open()
    done.wait()


def test_callbacks_of_a_cancelled_future(pool, gate):
    """`cancel` itself delivers, on the cancelling thread."""
    blocker = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    pending, seen = pool.submit(tasks.nothing), []
    pending.add_done_callback(lambda future: seen.append(future.cancelled()))
    pending.cancel()
    assert seen == [True]
    gate.open()
    blocker.result()
    assert seen == [True]


def test_a_callback_that_cancels_others(pool, gate):
    """The first result makes the rest needless: a common pattern."""
    first = pool.submit(tasks.block, *gate.fds)
    rest = [pool.submit(tasks.block, *gate.fds) for _ in range(10)]
    done = threading.Event()

    def callback(_):
        for future in rest:
            future.cancel()
        done.set()

    first.add_done_callback(callback)
    gate.open()
    done.wait()
    gate.open(10)  # what a worker took before it was cancelled
    assert all(future.cancelled() or future.result() == "released" for future in rest)
