"""`threading` in a worker: names, daemon threads, and how they end (src/farewell.rs).

Imported in workers only, right after `threading` was (_on_import.py).

CPython forbids daemon threads in an interpreter with its own GIL, because it would end that under
them, and crash. Here they are allowed, and the worker ends them before it ends the interpreter.
Until then they are what they are in a process. There they just stop at its end; here `SystemExit`
is raised in each, when it next runs Python code, and those that wait for a `threading.Condition`
(so a `queue.Queue`, an `Event` and the like) or a `queue.SimpleQueue` are woken for it.
"""

# ruff: noqa: SLF001 - what is adapted is CPython's private side
from __future__ import annotations

import _thread
import atexit
import sys
from time import monotonic

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType
    from typing import Any

_native: Any = sys.modules.get("_subpool_worker")

# Seconds after which a thread that has not ended is told again: it may have caught what was
# raised, or have lost it in a `__del__`. Not sooner, because it may be cleaning up.
_AGAIN = 1.0

_BOUND_IN_C: Any = type([].append)

# Handles of threads that were started past `threading`.
_raw: set[Any] = set()
_start_new_thread: Any = _thread.start_new_thread


def adopt(threading: Any) -> None:
    """Name the worker's own thread, and let threads be daemons."""
    threading._daemon_threads_allowed = _allow
    # What `current_thread` would make, with a name. It is no daemon, or each thread that a task
    # starts would be one. `main_thread()` stays the process's: only that one handles signals.
    own = threading._DummyThread.__new__(threading._DummyThread)
    threading.Thread.__init__(own, name=_native.thread_name, daemon=False)
    own._ident = _native.thread_ident
    own._native_id = _native.thread_native_id
    handle = threading._make_thread_handle(own._ident)
    setattr(own, "_os_thread_handle" if sys.version_info >= (3, 14) else "_handle", handle)
    own._started.set()
    threading._active[own._ident] = own

    # These would be detached threads, whose last steps nobody can wait for.
    for name in ("start_new_thread", "start_new"):
        if hasattr(_thread, name):
            setattr(_thread, name, _start_raw)


def _allow() -> bool:
    return True


def _start_raw(function: Any, args: Any, kwargs: Any = None, /) -> Any:
    if not callable(function) or type(args) is not tuple or not isinstance(kwargs, dict | None):
        given = (args,) if kwargs is None else (args, kwargs)
        return _start_new_thread(function, *given)  # it says what is wrong
    for handle in [handle for handle in _raw if handle.is_done()]:
        _raw.discard(handle)
    handle = _thread._ThreadHandle()
    _thread.start_joinable_thread(
        lambda: function(*args, **(kwargs or {})), handle=handle, daemon=True
    )
    _raw.add(handle)
    return handle.ident


def settle(note: Callable[[str, bool], None]) -> None:
    """Do what comes before the end of daemon threads at the end of a process.

    That is, in this order: the hooks of `threading`, a wait for all threads that are no daemons,
    the functions of `atexit`. If a hook raises, call this again to go on behind it.

    Args:
        note: Takes down what is done next, and whether it may take as long as it takes.

    """
    threading: Any = sys.modules["threading"]
    threading._SHUTTING_DOWN = True
    hooks = threading._threading_atexits
    while hooks:
        hook = hooks.pop()
        note(f"{_name(hook)}(), a hook of `threading`", False)
        hook()
    others = {threading.current_thread(), threading._main_thread}
    ordinary = [
        str(thread.name)
        for thread in threading._active.copy().values()
        if thread not in others and not thread._daemonic
    ]
    note(f"threads that are no daemons: {', '.join(ordinary)}", True)
    try:
        threading._shutdown()
    finally:  # whatever a task has made of that
        if atexit._ncallbacks():
            note("the functions of `atexit`", False)
            with _Announced(lambda code: note(f"{code.co_qualname}(), by `atexit`", False)):
                atexit._run_exitfuncs()


def _name(hook: Any) -> str:
    try:
        # `threading._register_atexit` has put it into a function of its own.
        cells = dict(zip(hook.__code__.co_freevars, hook.__closure__ or (), strict=False))
        function = cells["func"].cell_contents if "func" in cells else hook
        return str(getattr(function, "__qualname__", type(function).__qualname__))
    except Exception:  # noqa: BLE001 - the user's objects may do anything
        return "something"


class _Announced:
    """Tell of each Python function that is called from the frame that enters this."""

    def __init__(self, tell: Callable[[CodeType], None]) -> None:
        self._tell = tell
        self._tool: int | None = None

    def __enter__(self) -> None:
        try:
            self._start(sys._getframe(1))
        except Exception:  # noqa: BLE001 - a task's audit hook: then nothing is told
            self._tool = None

    def _start(self, frame: FrameType) -> None:
        monitoring = sys.monitoring
        self._frame: FrameType | None = frame
        for tool in (3, 4):  # those that nobody is meant to have
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, "subpool")
                monitoring.register_callback(tool, monitoring.events.PY_START, self._started)
                monitoring.set_events(tool, monitoring.events.PY_START)
                self._tool = tool
                break

    def _started(self, code: CodeType, _offset: int) -> Any:
        if sys._getframe(1).f_back is self._frame:
            self._tell(code)
        return sys.monitoring.DISABLE  # once for each function, so that it costs nothing

    def __exit__(self, *_: object) -> None:
        if self._tool is not None:
            sys.monitoring.set_events(self._tool, 0)
            sys.monitoring.free_tool_id(self._tool)
        self._frame = None


def has_hooks() -> bool:
    """Whether some of the hooks of `threading` have not been called: one before them raised."""
    return bool(sys.modules["threading"]._threading_atexits)


def is_unsettled() -> bool:
    """Whether `settle` has something to do. A thread may have registered it as it ended."""
    return has_hooks() or atexit._ncallbacks() > 0


def dismiss(
    end: Callable[[int], None], frames: Callable[[], list[FrameType]], seconds: float | None
) -> list[str]:
    """End the daemon threads, and name those that have not ended after `seconds`.

    Args:
        end: Raises `SystemExit` in the thread of that number.
        frames: Gives the innermost frame of each other thread of this interpreter.
        seconds: How long to wait; ``None``: until all have ended.

    """
    limit = monotonic() + seconds if seconds is not None else None
    told: dict[Any, float] = {}  # when each thread was told last
    while left := _living():
        now = monotonic()
        if limit is not None and now >= limit:
            return [thread.name for thread in left.values()]
        due = {
            handle: thread.ident
            for handle, thread in left.items()
            if handle not in told or now >= told[handle] + _AGAIN
        }
        for handle, ident in due.items():
            end(ident)
            told[handle] = now
        if due:
            _wake(frames(), set(due.values()))
        until = min(told[handle] for handle in left) + _AGAIN
        until = until if limit is None else min(until, limit)
        next(iter(left)).join(max(until - now, 0))
    return []


class _Raw:
    """A thread that was started past `threading`."""

    name = "a thread of _thread.start_new_thread"

    def __init__(self, ident: int) -> None:
        self.ident = ident


def _living() -> dict[Any, Any]:
    """Give the threads that only their daemon flag keeps from being waited for, by handle."""
    threading: Any = sys.modules["threading"]
    # Not by `enumerate`: it wants a lock, and a thread may have ended with that.
    threads = list(threading._active.values())
    living = {
        thread._os_thread_handle if sys.version_info >= (3, 14) else thread._handle: thread
        for thread in threads
        if thread._daemonic and not isinstance(thread, threading._DummyThread)
    }
    living.update((handle, _Raw(handle.ident)) for handle in list(_raw))
    return {handle: thread for handle, thread in living.items() if not handle.is_done()}


def _wake(frames: Iterable[FrameType], due: set[int]) -> None:
    """Wake those threads, if they wait for something of which we know how."""
    threading: Any = sys.modules["threading"]
    for frame in frames:
        callers = [frame]
        while (caller := callers[-1].f_back) is not None:
            callers.append(caller)
        thread = callers[-1].f_locals.get("self")  # of `Thread._bootstrap`
        if isinstance(thread, threading.Thread) and thread.ident not in due:
            continue
        try:
            _wake_one(callers, threading.Condition.wait.__code__)
        except Exception:  # noqa: BLE001, S112 - the user's objects may do anything
            continue


def _wake_one(callers: list[FrameType], waiting: object) -> None:
    frame = callers[0]
    if frame.f_code is waiting:
        waiter = frame.f_locals.get("waiter")
        if waiter is not None and waiter.locked():  # it may be about to wait, or have waited
            waiter.release()
        return
    for queue in _queues(frame):
        queue.put(None)
    events: Any = sys.modules.get("asyncio.base_events")
    for caller in callers:
        if events is not None and caller.f_code is events.BaseEventLoop._run_once.__code__:
            caller.f_locals["self"].call_soon_threadsafe(_nothing)


def _nothing() -> None: ...


def _queues(frame: FrameType) -> list[Any]:
    """Find simple queues that a function may wait for: it waits in C, which does not say where."""
    if "_queue" not in sys.modules:
        return []
    from _queue import SimpleQueue  # noqa: PLC0415 - only where there are any

    found = list(frame.f_locals.values())
    found += getattr(frame.f_locals.get("self"), "__dict__", {}).values()
    # `queue.get` itself may be a thread's function.
    found += [value.__self__ for value in found if issubclass(type(value), _BOUND_IN_C)]
    # Not `isinstance`, which asks an object what it says it is.
    return [value for value in found if issubclass(type(value), SimpleQueue)]
