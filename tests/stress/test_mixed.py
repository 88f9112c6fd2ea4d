"""Everything at once, by chance but from a seed: each future ends once, and rightly."""

import contextlib
import random
import threading
from concurrent import futures

import pytest

import tasks
from subpool import (
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    NotTransferableError,
    interpreter,
)
from support import eventually

CLIENTS = 4
ROUNDS = 2500


class Client:
    """One thread's share: what it submitted, and what must come of each."""

    def __init__(self, executor, seed):
        self.executor = executor
        self.random = random.Random(seed)  # noqa: S311
        self.expected = {}
        self.cancelled = set()
        self.listened = set()
        self.called = {}
        self.lock = threading.Lock()

    def run(self):
        for number in range(ROUNDS):
            kind = self.random.choice(
                [self.value, self.value, self.big, self.error, self.by_value, self.refused]
            )
            future, expected = kind(number)
            self.expected[future] = expected
            self.bother(future)

    def value(self, number):
        return self.executor.submit(interpreter(tasks.add), number, 1), number + 1

    def big(self, number):
        data = bytes([number % 256]) * self.random.randrange(1, 200_000)
        return self.executor.submit(interpreter(tasks.identity), data), data

    def error(self, number):
        error = tasks.CustomError(number, "expected")
        return self.executor.submit(interpreter(tasks.fail), error), (tasks.CustomError, number)

    def by_value(self, number):
        return self.executor.submit(interpreter(lambda: number * 2)), number * 2

    def refused(self, number):
        lock = threading.Lock()
        return self.executor.submit(interpreter(tasks.identity), lock), (NotTransferableError, None)

    def bother(self, future):
        """Do what clients do to a future."""
        match self.random.randrange(6):
            case 0:
                if future.cancel():
                    self.cancelled.add(future)
            case 1 | 2:
                self.listened.add(future)
                future.add_done_callback(self.count)
            case 3:
                with contextlib.suppress(TimeoutError):
                    future.exception(timeout=self.random.choice([0, 0.0001, None]))
            case 4:
                futures.wait([future, self.random.choice(list(self.expected))])

    def count(self, future):
        assert future.done()
        with self.lock:
            self.called[future] = self.called.get(future, 0) + 1

    def was_told(self):
        return len(self.called) == len(self.listened)

    def check(self):
        for future, expected in self.expected.items():
            assert future.done()
            assert future.cancelled() == (future in self.cancelled)
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                assert future.result() == expected
            else:
                kind, code = expected
                assert type(error) is kind
                assert getattr(error, "code", None) == code
        assert self.called == dict.fromkeys(self.listened, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "make", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor], ids=lambda make: make.__name__
)
def test_many_clients(make, seed):
    """Lost wake-ups, double deliveries, mixed-up answers: whatever only shows under load."""
    with make(2) as executor:
        clients = [Client(executor, seed * 100 + number) for number in range(CLIENTS)]
        with futures.ThreadPoolExecutor(CLIENTS) as threads:
            for running in [threads.submit(client.run) for client in clients]:
                running.result()
        everything = [future for client in clients for future in client.expected]
        assert not futures.wait(everything).not_done
    for client in clients:
        # `wait` may end before the last callbacks have run.
        eventually(client.was_told, "the callbacks")
        client.check()


@pytest.mark.slow
def test_pools_that_come_and_go():
    """Creation and end of interpreters race with each other, in several threads."""

    def live(seed):
        source = random.Random(seed)  # noqa: S311
        for _ in range(8):
            with InterpreterPoolExecutor(source.randrange(1, 3)) as pool:
                got = list(pool.map(tasks.add, range(20), range(20)))
            assert got == [2 * number for number in range(20)]

    with futures.ThreadPoolExecutor(3) as threads:
        for running in [threads.submit(live, seed) for seed in range(3)]:
            running.result()
