"""One call on a thread of the main interpreter: how it runs, is interrupted, and ends."""

# ruff: noqa: SLF001 - `_methods` keeps the times that interrupts are given

from __future__ import annotations

import heapq
import itertools
import sys
import threading
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

from subpool import _methods
from subpool._bootstrap import TaskInterrupted
from subpool._subpool import raise_in_thread
from subpool.errors import interrupted, warn_of_slow_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar

    from subpool._subpool import Errand


class Run:
    """A call on its way through a thread or a process."""

    kind: str
    thread: threading.Thread | None = None

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        # Reentrant: an interrupt may be asked for by a finalizer that runs in here.
        self._lock = threading.RLock()
        self._asked: tuple[float, float | None] | None = None
        self._over = False
        self.has_begun = False

    def perform(self, place: dict[str, Any]) -> None:
        """Do all of it on the calling thread; `place` keeps what the thread's next call can use."""
        self.thread = threading.current_thread()
        if not self.errand.begin():
            return
        with self._lock:
            self.has_begun = True
        if self.errand.timeout is not None:
            CLOCK.call_at(time.monotonic() + self.errand.timeout, self._time_is_up)
        try:
            if self._asked is None:
                self._perform(place)
            else:
                self._end_interrupted("")
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the call's end
            self.errand.fail(error)
        finally:
            with self._lock:
                self._over = True

    def _perform(self, place: dict[str, Any]) -> None:
        raise NotImplementedError

    def _reach(self) -> None:
        """Raise the exception where the call runs. Under the lock."""
        raise NotImplementedError

    def interrupt(self, timeout: float | None) -> bool:
        """Interrupt the call, whose `timeout` may be the reason. False: it has ended."""
        with self._lock:
            if self._over:
                return False
            if self._asked is None:
                now = time.monotonic()
                self._asked = now, timeout
                CLOCK.call_at(now + _methods._WARNING, self._warn)
                CLOCK.call_at(now + _methods._GRACE, self._give_up)
            if self.has_begun:
                self._reach()
            return True

    def _time_is_up(self) -> None:
        self.interrupt(self.errand.timeout)

    def _warn(self) -> None:
        with self._lock:
            if self._over or not self.has_begun or self._asked is None:
                return
            waited = time.monotonic() - self._asked[0]
        warn_of_slow_interrupt(self.errand.label, waited, max(0.0, _methods._GRACE - waited))

    def _give_up(self) -> None:
        from subpool._fallback import give_up  # noqa: PLC0415 - it imports this module

        with self._lock:
            if self._over or not self.has_begun:
                return
            self._over = True
            self._end_interrupted("", _methods._GRACE)
        give_up(self)

    def _end_interrupted(self, traceback: str, stuck: float | None = None) -> None:
        timeout = None if self._asked is None else self._asked[1]
        self.errand.fail(interrupted(self.errand.label, timeout, traceback, stuck))


class ThreadRun(Run):
    """A call on a thread of the main interpreter, with the caller's own objects."""

    kind = "thread"

    def __init__(
        self,
        errand: Errand,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(errand)
        self._call: tuple[Any, ...] = fn, args, kwargs
        self._open = False
        self._sent = False

    def _perform(self, _place: dict[str, Any]) -> None:
        (fn, args, kwargs), self._call = self._call, ()
        initialize(self.errand)
        context = context_of(self.errand)
        self._ident = threading.get_ident()
        # Whatever interrupts it, it was the call that was interrupted.
        try:
            try:
                with self._lock:
                    self._open = True
                    if self._asked is not None:  # before there was something to interrupt
                        self._sent = True
                        raise TaskInterrupted
                value = context.run(fn, *args, **kwargs)
            finally:
                self._close()
        except TaskInterrupted as error:
            self._close()
            del fn, args, kwargs
            if not self._sent:
                self.errand.fail(error)  # its own
            else:
                self._end_interrupted(_text(error))
        except BaseException as error:  # noqa: BLE001 - it is the task's
            del fn, args, kwargs
            self.errand.fail(_without_us(error))
        else:
            del fn, args, kwargs
            self.errand.succeed(value)

    def _reach(self) -> None:
        if self._open:
            self._sent = True
            raise_in_thread(self._ident, TaskInterrupted)

    def _close(self) -> None:
        """Close the window: after that no interrupt of this call can come."""
        while True:
            try:
                with self._lock:
                    self._open = False
                    if self._sent:
                        # Maybe not raised yet; then it would hit what comes next.
                        raise_in_thread(self._ident, None)
            except TaskInterrupted:
                continue  # it came in here, and has done nothing yet
            return


def _text(error: BaseException) -> str:
    from traceback import format_exception  # noqa: PLC0415 - only for an interrupted call

    return "".join(format_exception(_without_us(error)))


def _without_us(error: BaseException) -> BaseException:
    """Take the frames of this module off the traceback."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    return error.with_traceback(traceback)


def context_of(errand: Errand) -> Context:
    """Give the context for a call: the variables that its pool carries, and no others."""
    context = Context()
    for variable, value in variables_of(errand):
        context.run(variable.set, value)
    return context


def variables_of(errand: Errand) -> list[tuple[ContextVar[Any], Any]]:
    return [(_variable(names), value) for names, value in errand.variables()]


def _variable(names: list[tuple[str, str]]) -> ContextVar[Any]:
    for module, attribute in names:
        found = getattr(sys.modules.get(module), attribute, None)
        if found is not None:
            return found  # type: ignore[no-any-return]
    raise LookupError(f"the context variable {'.'.join(names[0])} is gone")


_initialized: set[int] = set()
_initializing = threading.Lock()


def initialize(errand: Errand) -> None:
    """Call the initializer of a call's pool, once in the main interpreter."""
    if errand.pool in _initialized:
        return
    with _initializing:
        if errand.pool not in _initialized:
            call = errand.initializer()
            if call is not None:
                fn, args, kwargs = call
                fn(*args, **kwargs)
            _initialized.add(errand.pool)


class _Clock:
    """Calls functions at their times, on a thread that ends when there are none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._running = False

    def call_at(self, at: float, what: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (at, next(self._number), what))
            if self._running:
                self._changed.notify()
                return
            self._running = True
        threading.Thread(target=self._run, name="subpool-clock", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due:
                    self._running = False
                    return
                left = self._due[0][0] - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                what = heapq.heappop(self._due)[2]
            try:
                what()
            except Exception as error:  # noqa: BLE001 - a warning that is an error; others are due
                own = threading.current_thread()
                told = type(error), error, error.__traceback__, own
                threading.excepthook(threading.ExceptHookArgs(told))


CLOCK = _Clock()
