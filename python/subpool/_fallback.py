"""Calls that no interpreter can run: on threads of the main interpreter, or in processes.

Guarantees: a function's fate is found out once; whatever becomes of the thread or process, its
call ends; a call whose body has begun is never run again. Interrupts and time limits hold as they
do in interpreters, but that a process which does not react can be ended, and is.

Imported when a pool or a tag has a fallback, or when the first extension module was refused.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from subpool import _registry
from subpool._bootstrap import text_of
from subpool._encode import label
from subpool._errand import Run, ThreadRun
from subpool._fork import lost
from subpool._incompatible import _is_users as is_users
from subpool._subpool import FallbackPlan
from subpool.errors import incompatible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

    from subpool._subpool import Errand
    from subpool.errors import IncompatibleModuleError

# Seconds after which a thread or a process with nothing to do ends.
_IDLE = 10.0
_MOST_PLANS = 4096
_MOST_FUNCTIONS = 100

_plans: dict[object, FallbackPlan] = {}


def plan(fn: Callable[..., Any], kind: str) -> FallbackPlan:
    """Give what is known of a function whose calls go to `kind` if no interpreter can run them."""
    function = _innermost(fn)
    code = getattr(function, "__code__", None)
    name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    key = (kind, name, code if code is not None else type(function))
    known = _plans.get(key)
    if known is None:
        if len(_plans) >= _MOST_PLANS:
            _plans.clear()  # then they are found out anew
        known = _plans[key] = FallbackPlan(kind, sorted(set(_imports_of(function))))
    return known


def _innermost(fn: Any) -> Any:
    """Peel partials and bound methods; a callable object stands for its class's ``__call__``."""
    while True:
        if hasattr(fn, "func") and hasattr(fn, "keywords"):
            fn = fn.func
        elif hasattr(fn, "__func__"):
            fn = fn.__func__
        elif hasattr(fn, "__code__") or isinstance(fn, type):
            return fn
        else:
            call = vars(type(fn)).get("__call__")
            return call if hasattr(call, "__code__") else fn


def _imports_of(function: Any) -> Iterator[str]:
    """Give the modules that a function's code imports when it runs, and that of its helpers.

    Helpers are the functions of the same module that it names.
    """
    functions: list[Any] = [function]
    seen: set[CodeType] = set()
    while functions and len(seen) < _MOST_FUNCTIONS:
        function = functions.pop()
        function = getattr(function, "__wrapped__", function)
        code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
        if code is None or code in seen:
            continue
        seen.add(code)
        package = names.get("__package__") or ""
        for part in _parts(code):
            yield from _imports_in(part, package)
            helpers = (names.get(name) for name in part.co_names)
            functions += (
                helper for helper in helpers if getattr(helper, "__globals__", None) is names
            )


def _parts(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield from _parts(constant)


def _imports_in(code: CodeType, package: str) -> Iterator[str]:
    import dis  # noqa: PLC0415 - once for each function that has a fallback

    level = 0
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            # `import` puts its level, then the names, before the module's name.
            if type(instruction.argval) is int:
                level = instruction.argval
        elif instruction.opname == "IMPORT_NAME":
            name = str(instruction.argval)
            if level == 0:
                yield name
            elif package:
                parent = package.rsplit(".", level - 1)[0]
                yield f"{parent}.{name}" if name else parent
            level = 0


# What was refused, for each module that goes by value for it: as `errors.incompatible` takes it.
_refusals: dict[str, tuple[Any, ...]] = {}


def send_by_value(module: str, refusal: tuple[Any, ...]) -> bool:
    """Have the user's own module go by value, since no interpreter can import it.

    False: it is a library's, or cannot go by value.
    """
    top = module.partition(".")[0]
    if top == "subpool" or module not in sys.modules or not is_users(module):
        return False
    _refusals[module] = refusal
    _registry.register(module, automatic=True)
    return True


def told(name: str, refusal: tuple[Any, ...], why_not: BaseException) -> IncompatibleModuleError:
    """Make the error for a call that no interpreter can run, nor any without its module."""
    error = incompatible(name, *refusal)
    error.add_note(f"Without that module, as code alone, it cannot be sent: {text_of(why_not)}")
    return error


def unsendable(fn: Callable[..., Any], error: BaseException) -> BaseException:
    """Give what to say of a call that could not be encoded.

    That is `error`, unless the function was tried as code alone because no interpreter can import
    its module.
    """
    refusal = _refusals.get(getattr(_innermost(fn), "__module__", None) or "")
    if refusal is None or not getattr(error, "path", "").startswith("function"):
        return error
    return told(label(fn), refusal, error)


class Lanes:
    """Threads that take calls from one queue; each has a process of its own, or none."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._most = os.process_cpu_count() or 1
        self._waiting: deque[Run] = deque()
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._idle = 0

    def put(self, run: Run) -> None:
        with self._changed:
            self._waiting.append(run)
            if self._idle >= len(self._waiting) or len(self._threads) >= self._most:
                self._changed.notify()
                return
            thread = threading.Thread(target=self._work, name=f"subpool-{self.kind}", daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            with self._changed:
                self._threads.discard(thread)
            raise

    def forget(self, thread: threading.Thread) -> None:
        """Let another thread take the place of one that does not come back."""
        with self._changed:
            self._threads.discard(thread)

    def waiting(self) -> list[Run]:
        with self._changed:
            return list(self._waiting)

    def _work(self) -> None:
        own = threading.current_thread()
        run = None
        place: dict[str, Any] = {}
        try:
            while (run := self._next(own)) is not None:
                run.perform(place)
                _done(run)
        finally:
            if run is not None:  # it ended this thread, somehow
                _done(run)
            self.forget(own)
            for held in place.values():
                held.close()

    def _next(self, own: threading.Thread) -> Run | None:
        with self._changed:
            while own in self._threads:
                if self._waiting:
                    return self._waiting.popleft()
                self._idle += 1
                try:
                    called = self._changed.wait(_IDLE)
                finally:
                    self._idle -= 1
                if not called and not self._waiting:
                    # Gone under the lock, so that whoever puts sees it.
                    self._threads.discard(own)
                    return None
            return None


_lanes = {kind: Lanes(kind) for kind in ("thread", "process")}
# The calls that are not done, by what interrupts find them by; and those that were, per pool.
_runs: dict[int, Run] = {}
_counts: dict[int, dict[str, int]] = {}
_ended = threading.Condition()


def take(
    errand: Errand, kind: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
) -> None:
    """Take over a call that no interpreter can run."""
    if kind == "thread":
        run: Run = ThreadRun(errand, fn, args, kwargs or {})
    else:
        from subpool._processes import ProcessRun  # noqa: PLC0415 - brings multiprocessing's parts

        run = ProcessRun(errand, fn, args, kwargs or {})
    with _ended:
        counts = _counts.setdefault(errand.pool, dict.fromkeys(_lanes, 0))
        counts[kind] += 1
        _runs[errand.key] = run
    try:
        _lanes[kind].put(run)
    except BaseException:
        _done(run)
        raise


def _done(run: Run) -> None:
    with _ended:
        if _runs.get(run.errand.key) is run:
            del _runs[run.errand.key]
        _ended.notify_all()


def interrupt(key: int, timeout: float | None) -> bool:
    """Interrupt the call of this key, if it is here; its `timeout` (seconds) may be the reason."""
    run = _runs.get(key)
    return run is not None and run.interrupt(timeout)


def interrupt_pool(number: int) -> int:
    """Interrupt what runs for a pool, and count it."""
    return sum(run.interrupt(None) for run in _of(number) if run.has_begun)


def cancel_pool(number: int) -> None:
    """Cancel what waits for a pool."""
    for run in _of(number):
        run.errand.cancel()


def _of(number: int) -> list[Run]:
    with _ended:
        return [run for run in _runs.values() if run.errand.pool == number]


def join(number: int, seconds: float | None = None) -> bool:
    """Wait until a pool has nothing here any more. False: the time was up before."""
    with _ended:
        return _ended.wait_for(
            lambda: all(run.errand.pool != number for run in _runs.values()), seconds
        )


def counts(number: int) -> dict[str, int]:
    """Tell how many calls of a pool came here, by kind."""
    with _ended:
        return dict(_counts.get(number) or dict.fromkeys(_lanes, 0))


def give_up(run: Run) -> None:
    """Let another thread take the place of the one that `run` occupies."""
    if run.thread is not None:
        _lanes[run.kind].forget(run.thread)
    _done(run)


def _forget_after_fork() -> None:
    """Leave all that is here to the parent: the child has none of the threads."""
    global _ended  # noqa: PLW0603 - its lock may be held by one of them
    _ended = threading.Condition()
    for lanes in _lanes.values():
        # In place: if the child's own thread is one of them, it ends when its call does.
        lanes.__init__(lanes.kind)  # type: ignore[misc]
    runs = list(_runs.values())
    _runs.clear()
    for run in runs:
        run.errand.forsake(lost)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
