"""Workers that are not there, and a clock that is set, for the supervisor of `subpool serve`."""

import heapq
import itertools


class Worker:
    """A worker that does what the test says."""

    def __init__(self, loop, settings, number, heard, ended):
        if made.fails is not None:
            raise made.fails
        self.number = number
        self.orders, self.forces, self.sockets = [], [], None
        self.closes = True
        self.gone = None
        self._heard, self._ended = heard, ended
        made.append(self)

    def says(self, *message):
        self._heard(self, list(message))
        return self

    def is_ready(self):
        return self.says("loaded").says("ready")

    def ends(self, error=None):
        self._ended(self, error)

    def give(self, sockets):
        self.sockets = sockets

    def order(self, word):
        self.orders.append(word)

    def force(self, *, hard):
        self.forces.append(hard)

    def when_gone(self, gone):
        if self.closes:
            gone()
        else:
            self.gone = gone


class Made(list):
    fails = None


made = Made()


class Clock:
    """Timers that go off when the test says."""

    def __init__(self, loop):
        self.now = 0.0
        self._timers = []
        self._count = itertools.count()
        loop.call_later, loop.time = self.call_later, lambda: self.now

    def call_later(self, seconds, call, *args):
        timer = type("Timer", (), {"is_cancelled": False})()
        timer.cancel = lambda: setattr(timer, "is_cancelled", True)
        heapq.heappush(
            self._timers, (self.now + seconds, next(self._count), timer, lambda: call(*args))
        )
        return timer

    def go(self, seconds):
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, timer, call = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                call()
        self.now = until


def start(supervisor):
    """Have all workers ready."""
    for place in supervisor._places:
        supervisor._start(place)
    for worker in list(made):
        worker.is_ready()
    assert supervisor._was_up
    return supervisor


def run_on(supervisor, signals):
    """Run what has started; the wait at the end is over at once."""
    supervisor._places = []
    wait = supervisor._leaving.wait

    def wait_and_go(seconds):
        supervisor._loop.call_soon(supervisor.clock.go, seconds)
        return wait(seconds)

    supervisor._leaving.wait = wait_and_go
    return supervisor.run(signals)
