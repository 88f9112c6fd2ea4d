"""By value: what pickle cannot name travels as code, with cloudpickle.

Functions of ``__main__`` share one namespace in each worker, the worker's own ``__main__``: an
initializer that sets a global sets it for the tasks, as it does in a process pool. Each shipment
brings the globals its function uses; one that main has not changed since the last shipment is
left as the worker's own code has made it. The same holds for a class and its attributes. What
comes back never changes a class of the interpreter that made it.
"""

from __future__ import annotations

import io
import sys
from contextvars import ContextVar
from hashlib import blake2b
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import cloudpickle
from cloudpickle import cloudpickle as _internals

from subpool import _context
from subpool._bootstrap import worker

if TYPE_CHECKING:
    from collections.abc import Callable

_PROTOCOL = 5

# What main sent last for each global of `__main__`, as a token that compares.
_last_sent: dict[str, object] = {}

# Classes that were made here and sent from here.
_own: WeakSet[type] = WeakSet()
# Classes that came from elsewhere, and what was sent last for each attribute.
_received: WeakKeyDictionary[type, dict[str, object]] = WeakKeyDictionary()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    # A sink's, which lifts out what need not be in the pickle.
    reduce: Callable[[object], Any] | None = None

    def reducer_override(self, obj: Any) -> Any:
        if self.reduce is not None and (lifted := self.reduce(obj)) is not NotImplemented:
            return lifted
        if type(obj) is ContextVar:
            return _context.reduce(obj) or NotImplemented
        reduced = super().reducer_override(obj)
        by_value = _internals._class_setstate  # noqa: SLF001 - cloudpickle has no public name for it
        if type(reduced) is not tuple or reduced[-1] is not by_value:
            return reduced
        # A class, by value: its attributes are set with our rule, not with cloudpickle's.
        if obj not in _received:
            _own.add(obj)
        return (*reduced[:-1], _set_class_state)

    def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
        reduced: tuple[Any, ...] = super()._dynamic_function_reduce(func)
        if func.__globals__ is not sys.modules["__main__"].__dict__:
            return reduced
        code, _globals, *rest = reduced[1]
        return (_make_function, (code, *rest), reduced[2], None, None, _set_function_state)


# Compared as what they are, not by content: new ones in each shipment.
_AS_OBJECTS = (
    FunctionType, type, ModuleType, classmethod, staticmethod, property, ContextVar,
)  # fmt: skip


def dump(value: object, sink: Any) -> None:
    """Pickle `value` into a native sink, by value where it has no importable name."""
    pickler = _Pickler(sink, protocol=_PROTOCOL, buffer_callback=sink.buffer)
    pickler.reduce = sink.reduce
    pickler.dump(value)


def dumps(value: object) -> bytes:
    """Pickle `value` like `dump`, with everything in the pickle."""
    with io.BytesIO() as file:
        _Pickler(file, protocol=_PROTOCOL).dump(value)
        return file.getvalue()


def _make_function(code: Any, name: str, argdefs: Any, closure: Any) -> FunctionType:
    namespace = sys.modules["__main__"].__dict__
    return FunctionType(code, namespace, name, argdefs, closure)


def _set_function_state(function: FunctionType, state: tuple[Any, dict[str, Any]]) -> None:
    attributes, slots = state
    _merge(function.__globals__, slots["__globals__"])
    _internals._function_setstate(  # noqa: SLF001 - cloudpickle has no public name for it
        function, (attributes, {**slots, "__globals__": {}})
    )


def _set_class_state(cls: type, state: tuple[dict[str, Any], Any]) -> None:
    if cls in _own:
        return
    attributes, slots = state
    changed = _changed(attributes, _received.setdefault(cls, {}))
    _internals._class_setstate(cls, (changed, slots))  # noqa: SLF001 - as above


def _merge(namespace: dict[str, Any], sent: dict[str, Any]) -> None:
    if worker() is None:
        # Back in main: its own globals are the true ones.
        for name, value in sent.items():
            namespace.setdefault(name, value)
        return
    for name in [name for name in _last_sent if name not in namespace]:
        del _last_sent[name]  # the worker's own code deleted it
    namespace.update(_changed(sent, _last_sent))


def _changed(sent: dict[str, Any], last: dict[str, object]) -> dict[str, Any]:
    """Pick what was not sent like this before, and remember it."""
    changed = {}
    for name, value in sent.items():
        token = _token(value)
        if name not in last or last[name] != token:
            changed[name] = value
            last[name] = token
    return changed


def _token(value: object) -> object:
    """Give something that is equal for equal shipments, and does not change with the value."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return type(value), value
    if isinstance(value, _AS_OBJECTS):
        return id(value), value  # kept alive by the token, so the address stays its own
    try:
        return blake2b(dumps(value)).digest()
    except Exception:  # noqa: BLE001 - it came by pickle, but need not go back: take it as new
        return object()
