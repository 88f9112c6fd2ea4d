"""Forks from several threads at once, beside submits, shutdowns, starts and ends."""

import os
import random
import threading
from contextlib import suppress

import pytest

import tasks
import tasks_interrupt
from forking import forked
from subpool import InterpreterPoolExecutor, TaskInterrupted, TaskTimeout, _fork, interpreter
from support import eventually, interpreters

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def run_all(*bodies):
    """Run each in a thread, and raise what one of them has raised."""
    failed = []

    def run(body):
        try:
            body()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_threads_fork_and_submit(pool2, times):
    """A fork at any moment: no task is lost, none runs twice, each child has a pool."""
    busy = threading.Event()
    sums, called = [], []

    def submit(seed):
        while not busy.is_set():
            futures = [pool2.submit(tasks.add, number, seed) for number in range(20)]
            for future in futures:
                future.add_done_callback(called.append)
            sums.append([future.result() for future in futures] == list(range(seed, seed + 20)))
            assert list(pool2.map(tasks.add, range(10))) == list(range(10))

    def fork():
        for _ in times(3, long=50):
            assert forked(lambda: pool2.submit(tasks.add, 1, 2).result()) == 3

    def fork_all():
        try:
            run_all(*[fork] * 3)
        finally:
            busy.set()

    run_all(fork_all, lambda: submit(0), lambda: submit(100))
    assert all(sums)
    assert sums
    eventually(lambda: len(called) == 20 * len(sums), "the callbacks")
    assert pool2.stats().submitted == 30 * len(sums)


def test_pools_come_and_go(times):
    """Also pools that are made while a fork waits, and those that are shut down or dropped."""
    before = interpreters()
    over = threading.Event()

    def churn(seed):
        chance = random.Random(seed)  # noqa: S311
        while not over.is_set():
            pool = InterpreterPoolExecutor(2, idle_timeout=chance.choice([None, 0.001]))
            futures = [pool.submit(tasks.add, number) for number in range(chance.randrange(6))]
            match chance.randrange(4):
                case 0:
                    pool.shutdown(wait=False)
                case 1:
                    pool.shutdown()
                case 2:
                    pool.warm_up()
                    pool.shutdown()
                case 3:
                    del pool
            assert [future.result() for future in futures] == list(range(len(futures)))

    def fork():
        try:
            for _ in times(4, long=100):
                assert forked(use) == 3
        finally:
            over.set()

    run_all(fork, lambda: churn(1), lambda: churn(2))
    eventually(lambda: interpreters() <= before, "the end of all interpreters")


def use():
    with InterpreterPoolExecutor(1) as pool:
        return pool.submit(tasks.add, 1, 2).result()


def test_beside_interrupts_and_limits(pool2, monkeypatch, times):
    """The helpers that interrupt tasks come and go with the interpreters."""
    monkeypatch.setattr(_fork, "_PATIENCE", 20)
    limited = interpreter(timeout=0.02)(tasks_interrupt.spin)
    for _ in times(3, long=50):
        futures = [pool2.submit(limited) for _ in range(2)]
        futures += [pool2.submit(tasks_interrupt.spin) for _ in range(2)]

        def interrupt(futures=futures):
            for future in futures:
                eventually(lambda: future.interrupt() or future.done(), "the interrupt")  # noqa: B023

        def fork(futures=futures):
            with suppress(TaskInterrupted):
                assert forked(lambda: [future.done() for future in futures]) == [True] * 4

        run_all(interrupt, fork)
        assert {type(future.exception()) for future in futures} <= {TaskTimeout, TaskInterrupted}


def test_at_the_programs_end(check):
    """Forks in exit hooks, before and after the pools are closed, and in a thread meanwhile."""
    code = """
import atexit, os, sys, tasks, threading, time, warnings
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter
warnings.simplefilter("ignore")
sys.stdout.reconfigure(line_buffering=True)
ex = InterpreterPoolExecutor(2)
ex.warm_up()
other = InterpreterPoolExecutor(1)
futures = [other.submit(tasks.add, n) for n in range(100)]
def fork(name):
    pid = os.fork()
    if pid == 0:
        atexit.unregister(at_exit)
        return  # the child goes on with its own end
    print(name, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
def at_exit():
    fork("atexit")
atexit.register(at_exit)
threading._register_atexit(fork, "early")
def late():
    time.sleep(0.002)
    pid = os.fork()
    if pid == 0:
        os._exit(5)
    print("thread", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
threading.Thread(target=late).start()
"""
    lines = check(code).splitlines()
    assert sorted(lines) == ["atexit 0", "early 0", "thread 5"]
