"""By value: what pickle cannot name travels as code, with cloudpickle.

Functions of ``__main__`` share one namespace in each worker, the worker's own ``__main__``: an
initializer that sets a global sets it for the tasks, as it does in a process pool. Each shipment
brings the globals its function uses; one that main has not changed since the last shipment is
left as the worker's own code has made it.
"""

from __future__ import annotations

import io
import sys
from hashlib import blake2b
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _internals

from subpool._bootstrap import worker

_PROTOCOL = 5

# What main sent last for each global of `__main__`, as a token that compares.
_last_sent: dict[str, object] = {}


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
        reduced: tuple[Any, ...] = super()._dynamic_function_reduce(func)
        if func.__globals__ is not sys.modules["__main__"].__dict__:
            return reduced
        code, _globals, *rest = reduced[1]
        return (_make_function, (code, *rest), reduced[2], None, None, _set_function_state)


def dumps(value: object) -> bytes:
    """Pickle `value`, by value where it has no importable name."""
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


def _merge(namespace: dict[str, Any], sent: dict[str, Any]) -> None:
    if worker() is None:
        # Back in main: its own globals are the true ones.
        for name, value in sent.items():
            namespace.setdefault(name, value)
        return
    for name, value in sent.items():
        token = _token(value)
        if name not in namespace or _last_sent.get(name) != token:
            namespace[name] = value
            _last_sent[name] = token


def _token(value: object) -> object:
    """Give something that is equal for equal shipments, and does not change with the value."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return type(value), value
    if isinstance(value, FunctionType | type | ModuleType):
        return id(value), value  # kept alive by the token, so the address stays its own
    try:
        return blake2b(dumps(value)).digest()
    except Exception:  # noqa: BLE001 - it came by pickle, but need not go back: take it as new
        return object()
