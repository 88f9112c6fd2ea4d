"""What came by value becomes functions and modules again, each where it belongs.

Functions of one by-value module share one namespace in each worker: those of ``__main__`` the
worker's own ``__main__``, those of another a module object that only they see; whoever imports
that module by its name gets the real one. An initializer that sets a global sets it for the
tasks, as it does in a process pool. Each shipment brings the globals its function uses; one that
main has not changed since the last shipment is left as the worker's own code has made it. What
comes back never changes a module of main. Classes have a file of their own (`_classes.py`).
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from hashlib import blake2b
from threading import local
from types import CellType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from subpool import _pickler
from subpool._bootstrap import worker
from subpool._named import CachedFunction
from subpool._registry import MAIN, SPAWNED_MAIN, covers, module_of, private_module

if TYPE_CHECKING:
    from types import CodeType

# What main sent last for each global of a module, as a token that compares.
_last_sent: dict[str, dict[str, object]] = {}


def home_of(namespace: dict[str, Any]) -> str | None:
    """Tell which by-value module has this namespace. ``None``: it is one of a function's own."""
    if namespace is sys.modules[MAIN].__dict__:
        return MAIN
    name = namespace.get("__name__")
    if type(name) is not str:
        return None
    module = private_module(name)
    if module is None and covers(name):
        module = sys.modules.get(name)
    return name if getattr(module, "__dict__", None) is namespace else None


def home_of_module(module: ModuleType) -> str | None:
    """Tell the name of a module that goes by value; ``None``: it goes by name."""
    name = module.__name__
    return None if name == MAIN else home_of(module.__dict__)


def make_function(
    code: CodeType, home: str | dict[str, Any], base: dict[str, Any], closure: Any
) -> FunctionType:
    """Make a function that `set_function_state` completes."""
    if type(home) is str:
        namespace = module_of(home).__dict__
        if home != MAIN:
            for name, value in base.items():
                namespace.setdefault(name, value)
        elif base.get("__package__") and worker() is not None:
            namespace["__package__"] = base["__package__"]  # `python -m`: for relative imports
    else:
        namespace = base
    namespace.setdefault("__builtins__", __builtins__)
    return FunctionType(code, namespace, None, None, closure)


def set_function_state(function: FunctionType, state: tuple[Any, ...]) -> None:
    """Set what a function got after it was made, for it may lead to itself."""
    home, attributes, slots, sent, _submodules, cells = state
    if home is None:
        function.__globals__.update(sent)
    else:
        _merge(home, function.__globals__, sent)
    for cell, value in cells:
        cell.cell_contents = value
    for name, value in slots.items():
        setattr(function, name, value)
    function.__dict__.update(attributes)
    may_return(function)


def make_cell() -> CellType:
    """Make a closure's variable, not yet set."""
    return CellType()


def fill_cell(cell: CellType, value: object) -> None:
    """Set it."""
    cell.cell_contents = value


def set_module_state(module: ModuleType, sent: dict[str, Any]) -> None:
    """Set those of a module's globals that came with it."""
    _merge(module.__name__, module.__dict__, sent)


def may_return(obj: type | FunctionType) -> None:
    """See to it that plain pickling leaves this, and its like, to us at once."""
    # Only now: it makes each pickle a little slower.
    if worker() is not None and _leads_nowhere(obj):
        _pickler.leave_to_by_value(_leads_nowhere)


def _leads_nowhere(obj: object) -> bool:
    """Whether pickle would, in vain, import a module for its name."""
    if not isinstance(obj, (type, FunctionType)):
        return False
    module = getattr(obj, "__module__", None)
    if type(module) is not str or module in sys.modules:
        return False
    return private_module(module) is not None or module == SPAWNED_MAIN


def _merge(home: str, namespace: dict[str, Any], sent: dict[str, Any]) -> None:
    if worker() is None:
        # Back in main: its own globals are the true ones.
        for name, value in sent.items():
            namespace.setdefault(name, value)
        return
    last = _last_sent.setdefault(home, {})
    for name in [name for name in last if name not in namespace]:
        del last[name]  # the worker's own code deleted it
    namespace.update(changed(sent, last))


def changed(sent: dict[str, Any], last: dict[str, object]) -> dict[str, Any]:
    """Pick what was not sent like this before, and remember it."""
    changed = {}
    for name, value in sent.items():
        token = _token(value)
        if name not in last or last[name] != token:
            changed[name] = value
            last[name] = token
    return changed


# Compared as what they are, not by content: new ones in each shipment.
_AS_OBJECTS = (
    FunctionType, type, ModuleType, classmethod, staticmethod, property, ContextVar,
    CachedFunction, local,
)  # fmt: skip


def _token(value: object) -> object:
    """Give something that is equal for equal shipments, and does not change with the value."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return type(value), value
    if isinstance(value, _AS_OBJECTS):
        return id(value), value  # kept alive by the token, so the address stays its own
    from subpool._by_value import dumps  # noqa: PLC0415 - it imports this module

    try:
        return blake2b(dumps(value)).digest()
    except Exception:  # noqa: BLE001 - it came by pickle, but need not go back: take it as new
        return object()
