"""What gets a thread out of a wait: interrupts, time limits, the end of its pool or interpreter."""

import signal
import threading

import pytest
from sync_support import until_waiting, waiting

import tasks
import tasks_sync
from subpool import (
    Event,
    InterpreterPoolExecutor,
    Lock,
    Queue,
    TaskInterrupted,
    TaskTimeout,
    interpreter,
)
from support import DEADLINE, asleep, eventually


def full_queue():
    items = Queue(1)
    items.put(1)
    return items


def held_lock():
    lock = Lock()
    lock.acquire()
    return lock


def joined_queue():
    items = Queue()
    items.put(1)
    return items


WAITS = {
    "event": (Event, tasks_sync.wait),
    "event, timed": (Event, tasks_sync.wait_long),
    "get": (Queue, tasks_sync.get),
    "put": (full_queue, tasks_sync.put_two),
    "join": (joined_queue, tasks_sync.join),
    "lock": (held_lock, tasks_sync.acquire),
}


@pytest.mark.parametrize("name", WAITS)
def test_an_interrupt(pool, name):
    """It was raised when the wait ended by itself, and that was never."""
    make, task = WAITS[name]
    shared = make()
    future = pool.submit(task, shared)
    until_waiting(shared)
    assert future.interrupt()
    assert isinstance(future.exception(DEADLINE), TaskInterrupted)
    assert waiting(shared) == 0
    assert pool.submit(tasks.add, 1, 2).result() == 3, "the worker goes on"


def test_a_loop_that_another_thread_ran_first(pool):
    """That thread was disturbed, and the loop slept on in this one."""
    event = Event()
    future = pool.submit(tasks_sync.wait_in_a_loop_of_another_thread, event)
    until_waiting(event)
    try:
        future.interrupt()
        assert isinstance(future.exception(DEADLINE), TaskInterrupted)
    finally:
        event.set()


def test_an_interrupted_wait_takes_nothing(pool):
    """The item went to who was interrupted, or the lock did."""
    items, lock = Queue(), held_lock()
    for shared, task in ((items, tasks_sync.get), (lock, tasks_sync.acquire)):
        future = pool.submit(task, shared)
        until_waiting(shared)
        future.interrupt()
        future.exception(DEADLINE)
    items.put(1)
    assert items.get_nowait() == 1
    lock.release()
    assert not lock.locked()


def test_a_time_limit(pool):
    event = Event()
    future = pool.submit(interpreter(timeout=0.05)(tasks_sync.wait), event)
    assert isinstance(future.exception(DEADLINE), TaskTimeout)
    assert waiting(event) == 0


def test_who_catches_it_can_wait_again(pool):
    """The second wait was left at once, or never again."""
    event, caught = Event(), Event()
    future = pool.submit(tasks_sync.wait_again_and_again, event, caught)
    until_waiting(event)
    future.interrupt()
    assert caught.wait(DEADLINE)
    until_waiting(event)
    event.set()
    assert future.result(DEADLINE) is True


def test_an_interrupt_at_any_moment(pool2):
    """As the wait begins, and as it ends by a set, many times: an end, and no wait left over."""
    for turn in range(100):
        event, begins = Event(), Event()
        future = pool2.submit(tasks_sync.set_and_wait, begins, event)
        assert begins.wait(DEADLINE)
        if turn % 2:
            until_waiting(event)
        setter = pool2.submit(tasks_sync.set_event, event) if turn % 4 < 2 else None
        future.interrupt()
        if setter is not None:
            setter.exception(DEADLINE)
        ended = future.exception(DEADLINE)
        assert isinstance(ended, TaskInterrupted) or (ended is None and setter is not None)
        assert waiting(event) == 0


def test_an_interrupt_while_the_gil_is_given_up_before_a_wait(pool):
    """Python had looked for one before that, and did not look again: it was lost in the wait."""
    for _ in range(3):
        lock, begins = held_lock(), Event()
        future = pool.submit(tasks_sync.enter_after_a_long_step, lock, begins)
        assert begins.wait(DEADLINE)
        future.interrupt()
        assert isinstance(future.exception(DEADLINE), TaskInterrupted)
        assert waiting(lock) == 0


def test_a_terminated_pool(closing):
    event = Event()
    pool = closing(InterpreterPoolExecutor(2))
    futures = [pool.submit(tasks_sync.wait, event) for _ in range(2)]
    until_waiting(event, 2)
    pool.terminate_workers()
    for future in futures:
        assert isinstance(future.exception(DEADLINE), TaskInterrupted)
    assert waiting(event) == 0


def test_daemon_threads_of_a_closed_interpreter():
    """They were waited for until the time was over, and the interpreter was left."""
    event, items = Event(), Queue()
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks_sync.in_daemon, event).result()
        pool.submit(tasks_sync.in_daemon, event, 1000).result()
        pool.submit(tasks_sync.get_in_daemon, items).result()
        until_waiting(event, 2)
        until_waiting(items)
    assert (waiting(event), waiting(items)) == (0, 0)


def test_another_thread_is_left_alone(pool):
    """The disturbance is for the task's thread; what it waits for, others wait for as well."""
    event = Event()
    told = []
    thread = threading.Thread(target=lambda: told.append(event.wait()))
    thread.start()
    future = pool.submit(tasks_sync.wait, event)
    until_waiting(event, 2)
    future.interrupt()
    future.exception(DEADLINE)
    assert waiting(event) == 1
    event.set()
    thread.join(DEADLINE)
    assert told == [True]


PROGRAM = """
import signal, sys, threading, tasks_sync
from subpool import Event, Lock, Queue, InterpreterPoolExecutor
from sync_support import waiting, until_waiting
event, items, lock = Event(), Queue(), Lock()
lock.acquire()
def press(shared):
    until_waiting(shared)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
for shared, wait in [
    (event, event.wait), (event, lambda: event.wait(1000)), (items, items.get),
    (lock, lock.acquire), (lock, lock.__enter__), (lock, lambda: lock.acquire(timeout=1000)),
]:
    thread = threading.Thread(target=press, args=(shared,))
    thread.start()
    try:
        print(wait())
    except KeyboardInterrupt:
        print("KeyboardInterrupt", waiting(shared))
    thread.join()
# A handler that returns: the wait goes on, with its place in the line.
signal.signal(signal.SIGINT, lambda *_: event.set())
thread = threading.Thread(target=press, args=(event,))
thread.start()
print(event.wait())
thread.join()
# One that raises nothing and waits itself.
event.clear()
inner = Event()
def handler(*_):
    inner.set()
    print("within", inner.wait(), event.is_set())
    event.set()
signal.signal(signal.SIGINT, handler)
thread = threading.Thread(target=press, args=(event,))
thread.start()
print(event.wait())
thread.join()
# One that raises what any code may raise: it is not the item's.
class Alarm(Exception): pass
def alarm(*_): raise Alarm
signal.signal(signal.SIGINT, alarm)
thread = threading.Thread(target=press, args=(items,))
thread.start()
try:
    items.get()
except Exception as error:
    print(type(error).__name__)
thread.join()
"""


def test_signals_in_main(check):
    """Ctrl-C came when the wait was over."""
    import os.path

    here = os.path.dirname(__file__)  # noqa: PTH120
    out = check(f"import sys; sys.path.insert(0, {here!r})\n" + PROGRAM).splitlines()
    assert out == ["KeyboardInterrupt 0"] * 6 + ["True", "within True False", "True", "Alarm"]


def test_ctrl_c_at_the_end_of_a_program(child_env, tmp_path):
    """A task that waits for an event that nobody sets: the first Ctrl-C ends the program."""
    import subprocess
    import sys

    program = tmp_path / "program.py"
    program.write_text(
        "import tasks_sync\n"
        "from subpool import Event, InterpreterPoolExecutor\n"
        "told, never = Event(), Event()\n"
        "ex = InterpreterPoolExecutor(1)\n"
        "ex.submit(tasks_sync.set_and_wait, told, never)\n"
        "told.wait()\n"
        "print('waits', flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, program], env=child_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline() == b"waits\n"
    eventually(lambda: asleep(child), "the wait for the task")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=DEADLINE)
    assert b"KeyboardInterrupt" in err
    assert child.returncode == 0, err  # that of the program, as with the standard pools
