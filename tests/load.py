"""A mix of everything that programs do to a pool: threads and event loops, drawn from a seed.

Each call knows what may come of it. `run_mix` fails if anything else does, if a call's end is told
twice or not at all, if callbacks come in another order than they were added, or if the pool's
counts differ from what was submitted.

What endless calls there are end without help of an event loop: by their own time limit, or because
the thread that submitted them does nothing else before it has interrupted them. A loop may be held
up by a ``submit`` at a full pool, and must not be needed for a place to become free.
"""

import asyncio
import contextlib
import random
import threading
from concurrent import futures
from dataclasses import dataclass, field
from functools import partial

import tasks
import tasks_load
from subpool import NotTransferableError, TaskInterrupted, TaskTimeout, interpreter

try:
    import uvloop
except ImportError:  # has no wheel for this Python
    uvloop = None
try:
    import trio
except ImportError:
    trio = None

# A hang shows as a failure, with the seed, before pytest's own limit.
PATIENCE = 100
WINDOW = 40
CANCELLED = "cancelled"


class CallbackError(Exception):
    """Raised by callbacks; `concurrent.futures` logs it."""


def outcome(future):
    """What came of a future that is done, as something to compare."""
    if future.cancelled():
        return CANCELLED
    error = future.exception(0)
    return future.result(0) if error is None else what(error)


def what(error):
    return type(error), getattr(error, "code", None)


@dataclass(eq=False)
class Call:
    """A call, what may come of it, and what its callbacks were told."""

    future: futures.Future
    may_be: list
    expected: list = field(default_factory=list)
    told: list = field(default_factory=list)
    all_told: threading.Event = field(default_factory=threading.Event)

    def listen(self, number, then=None):
        """Add a callback; the last one added must be told last."""
        self.expected.append(number)

        def callback(future):
            assert future is self.future
            self.told.append((number, outcome(future)))
            if then is not None:
                then()

        self.future.add_done_callback(callback)

    def check(self):
        if self.expected:
            assert self.all_told.wait(PATIENCE), f"a callback was not called: {self}"
        futures.wait([self.future], PATIENCE)
        assert self.future.done(), f"it has not ended: {self}"
        end = outcome(self.future)
        assert end in self.may_be, f"it ended with {end!r}: {self}"
        assert self.told == [(number, end) for number in self.expected], f"callbacks: {self}"


class Client:
    """What threads and loops have in common."""

    def __init__(self, executor, seed, name, calls):
        self.executor, self.name, self.left = executor, name, calls
        self.random = random.Random(f"{seed}/{name}")  # noqa: S311
        self.accepted = 0
        self.ends = {}
        self.lock = threading.Lock()

    def count(self, calls=1):
        with self.lock:  # callbacks submit, too
            self.accepted += calls

    def note(self, end):
        kind = end[0].__name__ if type(end) is tuple else "value"
        kind = CANCELLED if end == CANCELLED else kind
        self.ends[kind] = self.ends.get(kind, 0) + 1


class ThreadClient(Client):
    """A thread that submits, bothers what it has submitted, and looks at what came of it."""

    def run(self):
        while self.left > 0:
            self.calls = []
            for number in range(min(WINDOW, self.left)):
                self.draw()(number)
            self.left -= WINDOW
            # Callbacks add calls while this goes on.
            for call in self.calls:
                call.check()
                self.note(outcome(call.future))
            assert not self.late(), "a callback was called after the last one"

    def late(self):
        return [call for call in self.calls if len(call.told) != len(call.expected)]

    def draw(self):
        kinds = [self.value, self.failure, self.large, self.by_value, self.refused, self.exit]
        kinds += [self.batch, self.endless, self.limited]
        return self.random.choices(kinds, [600, 120, 20, 20, 20, 10, 5, 4, 2])[0]

    def submit(self, fn, *args, may_be):
        """Submit, and do something to the future."""
        call = Call(self.executor.submit(fn, *args), list(may_be))
        if (NotTransferableError, None) not in may_be:
            self.count()
        self.calls.append(call)
        self.bother(call)
        return call

    def value(self, number):
        self.submit(interpreter(tasks.add), number, 1, may_be=[number + 1])

    def failure(self, number):
        error = tasks.CustomError(number, "expected")
        self.submit(interpreter(tasks.fail), error, may_be=[(tasks.CustomError, number)])

    def large(self, number):
        data = bytes([number]) * self.random.choice([10, 70_000, 200_000])
        view = memoryview(data) if self.random.random() < 0.5 else data
        self.submit(interpreter(len), view, may_be=[len(data)])

    def by_value(self, number):
        self.submit(interpreter(lambda: number * 2), may_be=[number * 2])

    def refused(self, _):
        lock = threading.Lock()
        self.submit(interpreter(tasks.identity), lock, may_be=[(NotTransferableError, None)])

    def exit(self, number):
        self.submit(interpreter(tasks_load.leave), number, may_be=[(SystemExit, number)])

    def batch(self, number):
        """A map, to its end or not."""
        calls = self.random.randrange(1, 150)
        chunk = self.random.choice([1, 1, 10])
        results = self.executor.map(
            interpreter(tasks.add), range(calls), [1] * calls, chunksize=chunk
        )
        self.count(calls)
        wanted = self.random.choice([0, number, calls])
        for i, result in zip(range(wanted), results, strict=False):
            assert result == i + 1
        results.close()

    def endless(self, number):
        """One that ends because this thread interrupts it."""
        fn, end = self.random.choice(
            [
                (interpreter(tasks_load.spin), (TaskInterrupted, None)),
                (interpreter(partial(tasks_load.tidy_up, number)), number),
            ]
        )
        future = self.executor.submit(fn)
        self.count()
        # The exception comes before the first line of the body, or after its last, now and then.
        call = Call(future, [end, (TaskInterrupted, None), CANCELLED])
        self.calls.append(call)
        while not future.done():
            if self.random.random() < 0.01:
                future.cancel()
            future.interrupt()
            with contextlib.suppress(TimeoutError, futures.CancelledError):
                future.exception(0.001)

    def limited(self, _):
        fn = interpreter(timeout=self.random.choice([0.001, 0.01]))(tasks_load.spin)
        self.submit(fn, may_be=[(TaskTimeout, None)])

    def bother(self, call):
        future = call.future
        match self.random.randrange(12):
            case 0:
                call.may_be.append(CANCELLED)
                future.cancel()
            case 1:
                call.may_be.append((TaskInterrupted, None))
                future.interrupt()
            case 2 | 3 | 4:
                self.listen(call)
            case 5:
                with contextlib.suppress(TimeoutError):
                    future.exception(timeout=self.random.choice([0, 0.0001, 0.01]))
            case 6:
                futures.wait([future, self.random.choice(self.calls).future], timeout=0.001)
            case 7:
                call.may_be.append(CANCELLED)
                self.listen(call)
                future.cancel()

    def listen(self, call):
        """Add callbacks: some raise, one may submit."""
        actions = [None, self.fail, partial(self.again, call)]
        for number in range(self.random.randrange(1, 5)):
            call.listen(number, self.random.choice(actions))
        call.listen("last", call.all_told.set)

    def fail(self):
        raise CallbackError

    def again(self, call):
        """Submit from a callback, on whatever thread calls that."""
        if len(self.calls) > 4 * WINDOW:
            return
        number = len(call.told)
        again = Call(self.executor.submit(interpreter(tasks.add), number, 1), [number + 1])
        self.count()
        # Before the last callback of the first call, so the client finds it.
        self.calls.append(again)


class LoopClient(Client):
    """An event loop, of asyncio's kind."""

    new_loop = asyncio.SelectorEventLoop

    def run(self):
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            # Not `set_default_executor`: the loop would shut it down at its end.
            runner.run(self.main())

    async def main(self):
        while self.left > 0:
            numbers = range(min(WINDOW, self.left))
            self.left -= WINDOW
            async with asyncio.timeout(PATIENCE):
                ends = await asyncio.gather(*map(self.one, numbers))
            for end in ends:
                self.note(end)

    async def one(self, number):
        """One call, and what came of it, which must be something that may."""
        call, may_be = self.draw(number)
        self.count()
        bother = self.random.choice(["", "", "", "", "cancel", "time out"])
        try:
            match bother:
                case "":
                    end = await call
                case "cancel":
                    # Started, so submitted, before it is cancelled.
                    asked = asyncio.ensure_future(call)
                    for _ in range(self.random.choice([1, 2, 5])):
                        await asyncio.sleep(0)
                    asked.cancel()
                    may_be = [*may_be, CANCELLED]
                    end = await asked
                case "time out":
                    may_be = [*may_be, (TimeoutError, None)]
                    async with asyncio.timeout(self.random.choice([0.0001, 0.001, 0.01])):
                        end = await call
        except asyncio.CancelledError:
            end = CANCELLED
        except Exception as error:
            end = what(error)
        assert end in may_be, (
            f"call {number} of {self.name} ended with {end!r}, bothered: {bother!r}"
        )
        return end

    def draw(self, number):
        way = self.random.choices([self.by_run, self.by_submit, self.in_executor], [6, 2, 1])[0]
        kind = self.random.choices(["value", "failure", "endless"], [200, 50, 1])[0]
        if kind == "value":
            return way(interpreter(tasks.add), number, 1), [number + 1]
        if kind == "failure":
            error = tasks.CustomError(number, "expected")
            return way(interpreter(tasks.fail), error), [(tasks.CustomError, number)]
        fn = interpreter(timeout=0.02)(tasks_load.spin)
        return way(fn), [(TaskTimeout, None)]

    def by_run(self, fn, *args):
        return self.executor.run(fn, *args)

    async def by_submit(self, fn, *args):
        return await self.executor.submit(fn, *args)

    async def in_executor(self, fn, *args):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, fn, *args)


class UvloopClient(LoopClient):
    if uvloop is not None:
        new_loop = staticmethod(uvloop.new_event_loop)


class TrioClient(LoopClient):
    """The same in trio."""

    def run(self):
        trio.run(self.main)

    async def main(self):
        while self.left > 0:
            numbers = range(min(WINDOW, self.left))
            self.left -= WINDOW
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for number in numbers:
                        nursery.start_soon(self.one, number)

    async def one(self, number):
        call, may_be = self.draw(number)
        self.count()
        seconds = self.random.choice([float("inf")] * 3 + [0.0001, 0.001, 0.01])
        end = CANCELLED
        with trio.move_on_after(seconds):
            try:
                end = await call
            except Exception as error:
                end = what(error)
        if seconds < 1:
            may_be = [*may_be, CANCELLED]
        assert end in may_be, f"call {number} of {self.name} ended with {end!r} in {seconds} s"
        self.note(end)

    async def in_executor(self, fn, *args):
        return await self.executor.submit(fn, *args)


def loop_clients():
    """Four kinds, or as many as there are for this Python."""
    kinds = [LoopClient, LoopClient]
    kinds.append(UvloopClient if uvloop else LoopClient)
    kinds.append(TrioClient if trio else LoopClient)
    return kinds


def run_mix(executor, seed, calls, threads=8, loops=4):
    """Make about so many calls from threads and loops; give how many ended how.

    The executor must be new, and nobody else may use it.
    """
    each = -(-calls // (threads + loops))
    kinds = [ThreadClient] * threads + loop_clients()[:loops]
    clients = [kind(executor, seed, number, each) for number, kind in enumerate(kinds)]
    with futures.ThreadPoolExecutor(len(clients), thread_name_prefix="subpool-load") as pool:
        running = [pool.submit(client.run) for client in clients]
        for one in running:
            one.result()
    # What a cancelled await has left to its worker has ended, but its count may come later.
    executor.shutdown()
    stats = executor.stats()
    accepted = sum(client.accepted for client in clients)
    assert (stats.submitted, stats.outstanding) == (accepted, 0), (
        f"{accepted} were submitted: {stats}"
    )
    ends = {}
    for client in clients:
        for kind, count in client.ends.items():
            ends[kind] = ends.get(kind, 0) + count
    return ends
