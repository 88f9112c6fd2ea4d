"""Cancelling, and the states that a future goes through."""

import threading
from concurrent.futures import CancelledError, InvalidStateError

import pytest

import tasks
from subpool import InterpreterPoolExecutor


@pytest.fixture
def blocked(pool, gate):
    """The pool's one worker runs a task until the gate opens."""
    future = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    return future


def states(future):
    return future.running(), future.done(), future.cancelled(), future._state


def test_the_states_of_a_task(pool, blocked, gate):
    """Programs read `_state` too; it must follow."""
    pending = pool.submit(tasks.nothing)
    assert states(pending) == (False, False, False, "PENDING")
    assert states(blocked) == (True, False, False, "RUNNING")
    gate.open()
    blocked.result()
    pending.result()
    assert states(blocked) == states(pending) == (False, True, False, "FINISHED")


@pytest.mark.parametrize("listened", [False, True])
def test_cancel_a_pending_task(pool, blocked, gate, listened):
    """A cancelled task ran all the same, or its future never ended."""
    pending = pool.submit(tasks.put, "ran", True)
    seen = []
    if listened:
        pending.add_done_callback(seen.append)
    assert pending.cancel()
    assert pending.cancel()
    assert states(pending) == (False, True, True, "CANCELLED_AND_NOTIFIED")
    assert seen == [pending] * listened
    for method in (pending.result, pending.exception):
        with pytest.raises(CancelledError):
            method()
    gate.open()
    blocked.result()
    assert pool.submit(tasks.get, "ran").result() is None


def test_a_running_task_cannot_be_cancelled(pool, blocked, gate):
    """The standard contract: only what has not started."""
    assert not blocked.cancel()
    assert not blocked.cancelled()
    gate.open()
    assert blocked.result() == "released"


def test_a_finished_task_cannot_be_cancelled(pool):
    """A late cancel must not take the result away."""
    future = pool.submit(tasks.add, 1, 2)
    future.result()
    assert not future.cancel()
    assert future.result() == 3
    failed = pool.submit(tasks.fail_in_steps)
    failed.exception()
    assert not failed.cancel()


def test_a_waiter_wakes_when_its_future_is_cancelled(pool, blocked, gate):
    """A thread asleep in `result()` slept on until a worker came by."""
    import threading

    pending = pool.submit(tasks.nothing)
    caught, asleep = [], threading.Event()

    def wait():
        asleep.set()
        with pytest.raises(CancelledError) as info:
            pending.result()
        caught.append(info.value)

    thread = threading.Thread(target=wait)
    thread.start()
    asleep.wait()
    pending.cancel()
    thread.join()  # the worker is still blocked
    assert len(caught) == 1
    gate.open()


def test_the_callers_do_not_end_a_pools_future(pool, blocked, gate):
    """`set_result` from outside raced with the worker, which then aborted the process."""
    for act in (
        lambda: blocked.set_result(1),
        lambda: blocked.set_exception(ValueError()),
        blocked.set_running_or_notify_cancel,
    ):
        with pytest.raises(InvalidStateError):
            act()
    gate.open()
    assert blocked.result() == "released"


def test_cancel_many_while_workers_take_them():
    """Start and cancel race for the same word; exactly one of them must win."""
    with InterpreterPoolExecutor(2) as pool:
        futures = [pool.submit(tasks.identity, number) for number in range(2000)]
        cancelled = {number for number, future in enumerate(futures) if future.cancel()}
        for number, future in enumerate(futures):
            if number in cancelled:
                assert future.cancelled()
            else:
                assert future.result() == number


def test_result_times_out(pool, blocked, gate):
    """And the task is not harmed by it."""
    for timeout in (0, 0.001, -1, 0.0001):
        with pytest.raises(TimeoutError):
            blocked.result(timeout)
        with pytest.raises(TimeoutError):
            blocked.exception(timeout=timeout)
    gate.open()
    assert blocked.result(timeout=100) == "released"
    assert blocked.result(timeout=0) == "released"


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 10**9])
def test_a_very_long_timeout(pool, timeout):
    """Converted to nanoseconds, it overflowed."""
    assert pool.submit(tasks.add, 1, 2).result(timeout=timeout) == 3


def test_a_timeout_that_is_no_number(pool, blocked, gate):
    """As the standard class: a TypeError, and no endless wait."""
    with pytest.raises(TypeError):
        blocked.result("soon")
    gate.open()


class Condition:
    """A future's condition that does something before it is first taken."""

    def __init__(self, inner, before):
        self.inner, self.before = inner, before

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def acquire(self, *args, **kwargs):
        before, self.before = self.before, lambda: None
        before()
        return self.inner.acquire(*args, **kwargs)

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc_info):
        return self.inner.__exit__(*exc_info)


def test_an_interrupted_cancel_is_still_told(pool, blocked, gate):
    """Ctrl-C in `cancel` was swallowed, and those who waited for the future never heard of it."""

    def interrupt():
        raise KeyboardInterrupt

    pending = pool.submit(tasks.nothing)
    called = threading.Event()
    pending.add_done_callback(lambda _: called.set())
    pending._condition = Condition(pending._condition, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pending.cancel()
    assert called.wait(20)
    assert pending.cancelled()
    gate.open()


def test_cancelled_follows_cancel_in_every_thread(pool, blocked, gate):
    """`cancel()` said true while another thread's was under way, and `cancelled()` said false."""
    pending = pool.submit(tasks.nothing)
    pending.add_done_callback(lambda _: None)
    condition, cancelling = pending._condition, threading.Event()
    pending._condition = Condition(condition, cancelling.set)
    with condition:
        other = threading.Thread(target=pending.cancel)
        other.start()
        assert cancelling.wait(20)  # it has won, and waits for the condition to say so
        assert pending.cancel()
        assert pending.cancelled()
    other.join()
    gate.open()


def test_shutdown_cancels_all_whatever_a_callback_lets_pass(pool, blocked, gate):
    """The first SystemExit of a callback left the rest of the queue uncancelled."""

    def leave(_):
        raise SystemExit(3)

    pending = [pool.submit(tasks.nothing) for _ in range(3)]
    pending[0].add_done_callback(leave)
    with pytest.raises(SystemExit):
        pool.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in pending)
    gate.open()
