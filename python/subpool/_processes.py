"""Calls in processes, for what no interpreter can load: main's side and the child's.

Each lane (`_fallback.Lanes`) has a process of its own, started with the first call and never by
fork, and talks to it through a socket pair. The child is a Python that knows the caller's
``sys.path`` and ``sys.argv``; the program's script is not run again there: its functions and
classes go by value.
"""

from __future__ import annotations

import atexit
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from contextvars import ContextVar
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from subpool import _by_value, _context, _registry
from subpool._encode import explain, rebuild_exception
from subpool._errand import Run, variables_of
from subpool._registry import MAIN, SPAWNED_MAIN
from subpool._serving import NUMBER
from subpool.errors import PoolError, interrupted, untransferable

if TYPE_CHECKING:
    from collections.abc import Callable

    from subpool._subpool import Errand

_CHILD = Path(__file__).with_name("_child.py")
# What runs before anything else there: the text of `_child.py`, which comes before the package. It
# leaves no name in the child's `__main__`, which is that of functions that come by value.
_PROGRAM = """\
import sys; sys.path[:] = {path!r}; sys.argv[:] = {argv!r}; del sys
exec(compile({source!r}, {child!r}, "exec"), {given!r})
"""
# Seconds that an idle process has to end by itself.
_PATIENCE = 1.0


class ProcessRun(Run):
    """A call in a process."""

    kind = "process"

    def __init__(
        self,
        errand: Errand,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(errand)
        # Now, as for an interpreter: what the caller changes later is not sent.
        initializer = errand.initializer()
        self._message = pickle.dumps(
            (
                errand.label,
                sys.path,
                errand.pool,
                None if initializer is None else _pack(errand.label, *initializer),
                _pack(errand.label, fn, args, kwargs, variables_of(errand)),
            )
        )
        self._child: _Child | None = None
        self._killed = False

    def _perform(self, place: dict[str, Any]) -> None:
        child = place.get("child")
        if child is None or not child.is_alive:
            place["child"] = child = _Child()
        with self._lock:
            self._child = child
            # From here on an interrupt finds the call, however far the process is.
            child.calls += 1
            child.connection.send_bytes(self._message)
            if self._asked is not None:
                child.interrupt()
        self._message = b""
        try:
            reply = child.connection.recv_bytes()
        except (EOFError, OSError):
            reply = None
        finally:
            with self._lock:
                self._child = None
        if reply is not None:
            self._read(pickle.loads(reply))
            return
        del place["child"]
        status = child.close()
        if not self._killed:  # if so, the call's end was told before
            raise PoolError(
                f"the process in which {self.errand.label} ran has ended: {_told(status)}. The "
                f"call was not run again; the next one gets a new process"
            )

    def _read(self, reply: tuple[Any, ...]) -> None:
        kind, *rest = reply
        if kind == "value":
            self.errand.succeed(pickle.loads(rest[0]))
        elif kind == "raised":
            self.errand.fail(rebuild_exception(self.errand.label, *rest))
        elif kind == "interrupted" and self._asked is not None:
            self._end_interrupted(rest[0])
        else:
            self.errand.fail(untransferable(*rest))

    def _reach(self) -> None:
        if self._child is not None:
            self._child.interrupt()

    def _give_up(self) -> None:
        with self._lock:
            if self._over or self._child is None:
                return
            self._killed = True
            self._end_killed()
            self._child.process.kill()

    def _end_killed(self) -> None:
        timeout = None if self._asked is None else self._asked[1]
        error = interrupted(self.errand.label, timeout, "", None)
        error.args = (f"{error}; it did not react, so its process was ended",)
        self.errand.fail(error)


def _pack(
    label: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    variables: object = (),
) -> bytes:
    try:
        return _dumps((fn, args, kwargs, variables))
    except Exception as error:  # noqa: BLE001 - a user's __reduce__ may raise anything
        parts = {"function": fn, "args": args, "kwargs": kwargs, "context variables": variables}
        explained = explain(label, parts, _dumps, error, "a process")
        raise explained from explained.__cause__


class _ByName(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        return _reduce(obj)


class _ByValue(_by_value._Pickler):  # noqa: SLF001 - ours
    def reducer_override(self, obj: Any) -> Any:
        reduced = _reduce(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


def _reduce(obj: Any) -> Any:
    if type(obj) is memoryview:  # no memory is shared with a process
        return _view, (obj.tobytes(), obj.format, obj.shape, obj.readonly)
    if type(obj) is ContextVar:
        names = _context.names_of(obj)
        if names and names[0][0] != MAIN:
            return _context.import_variable, (names,)
    if type(obj) is FunctionType and _registry.is_automatic(obj.__module__):
        # It came back from its way to an interpreter, which cannot import its module.
        with suppress(AttributeError, KeyError):
            found = by_name(obj.__module__, obj.__qualname__)
            if getattr(found, "__code__", None) == obj.__code__:
                return by_name, (obj.__module__, obj.__qualname__)
    return NotImplemented


def by_name(module: str, qualname: str) -> Any:
    """Give what a module, which is imported if need be, has by that name."""
    __import__(module)
    return attrgetter(qualname)(sys.modules[module])


def _view(content: bytes, layout: str, shape: tuple[int, ...], readonly: bool) -> memoryview:
    """Make a view like the caller's, of memory that is this process's own."""
    view = memoryview(content if readonly else bytearray(content))
    return view.cast(layout, shape) if (layout, len(shape)) != ("B", 1) else view  # type: ignore[call-overload]


def _dumps(value: object) -> bytes:
    """Pickle by name what a process can import, which is more than an interpreter can."""
    with io.BytesIO() as file:
        try:
            _ByName(file, 5).dump(value)
        except Exception:  # noqa: BLE001 - by value is the other way, and tells what is wrong
            pickled = None
        else:
            pickled = file.getvalue()
    wanted = (MAIN, SPAWNED_MAIN, *_registry.asked_for())
    if pickled is not None and not any(name.encode() in pickled for name in wanted):
        return pickled
    with io.BytesIO() as file:
        _ByValue(file).dump(value)
        return file.getvalue()


def _told(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"


# Those that live, for the program's end.
_children: set[_Child] = set()


class _Child:
    """A process that runs calls, one after the other."""

    _number = 0

    def __init__(self) -> None:
        if not sys.executable:
            raise PoolError("there is no sys.executable to start a process with")
        own, other = socket.socketpair()
        # For interrupts; and the child's end of it is at its end when main is gone.
        watch, self._control = os.pipe()
        self.calls = 0
        with own, other, open(watch, "rb", buffering=0):  # noqa: PTH123 - a descriptor
            fd = other.fileno()
            number, _Child._number = _Child._number, _Child._number + 1
            program = _PROGRAM.format(
                path=sys.path,
                argv=sys.argv,
                source=_CHILD.read_text(encoding="utf-8"),
                child=str(_CHILD),
                given={"FD": fd, "WATCH": watch, "NUMBER": number},
            )
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
            self.process = subprocess.Popen(  # noqa: S603 - this very Python
                [sys.executable, *flags, "-c", program],
                stdin=subprocess.DEVNULL,
                pass_fds=[fd, watch],
                # Ctrl-C is main's: it decides what becomes of the calls.
                process_group=0,
            )
            self.connection = Connection(own.detach())
        _children.add(self)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def interrupt(self) -> None:
        """Interrupt the call that was sent last, if it has not ended."""
        os.write(self._control, self.calls.to_bytes(NUMBER, "little"))

    def leave_to_parent(self) -> None:
        """Let go of it, in the child of a fork."""
        self.connection.close()
        os.close(self._control)
        self.process.returncode = 0  # else it is waited for, and warned of

    def close(self) -> int:
        """Have it end, and give its exit status."""
        _children.discard(self)
        self.connection.close()
        os.close(self._control)
        try:
            return self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _close_all() -> None:
    """End the processes that wait for calls. At the program's end no others are left."""
    for child in list(_children):
        child.connection.close()
    for child in list(_children):
        child.close()


def _forget_after_fork() -> None:
    """Leave the processes to the parent, also their way of noticing that it is gone."""
    while _children:
        _children.pop().leave_to_parent()


def kill_all() -> None:
    """End the processes, whatever they do: the program ends at once."""
    for child in list(_children):
        child.process.kill()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
