"""By value: what pickle cannot name travels as code, with cloudpickle.

How it becomes functions and modules again is told in `_namespaces.py`; classes are told of in
`_classes.py`, and what pickle knows by name alone in `_named.py`. What differs from
cloudpickle's own way:

- functions of a by-value module share its globals, here and in the worker;
- closures that share a variable share it there, too;
- annotations travel as text unless they are builtins, and so do defaults that the call has no
  use for and that would need an import (`_annotations.py`);
- of a by-value module that a function uses, only those attributes go along that its code names.
"""

from __future__ import annotations

import io
import marshal
import sys
from contextvars import ContextVar
from types import CellType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle
from cloudpickle import cloudpickle as _internals

from subpool import _annotations, _context
from subpool._classes import make_class, reduce_class, set_class_state
from subpool._code_names import globals_in, names_in
from subpool._named import REDUCERS, make_cached, set_attributes
from subpool._namespaces import (
    fill_cell,
    home_of,
    home_of_module,
    make_cell,
    make_function,
    set_function_state,
    set_module_state,
)
from subpool._registry import covers, module_of
from subpool.routing import Tagged

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    type Call = tuple[object, int, Container[str]]

_PROTOCOL = 5

# What an importer puts into a module: each interpreter's own affair.
_OF_THE_IMPORTER = frozenset(
    {"__builtins__", "__loader__", "__spec__", "__cached__", "__warningregistry__"}
)


class _Part:
    """Stands for a by-value module of which only some attributes are wanted."""

    __slots__ = ("module", "wanted")

    def __init__(self, module: ModuleType, wanted: frozenset[str]) -> None:
        self.module = module
        self.wanted = wanted


class _Cell:
    """Stands for a closure's variable without its value, which may lead back to the closure."""

    __slots__ = ("cell",)

    def __init__(self, cell: CellType) -> None:
        self.cell = cell  # kept alive: it is found by its address


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    # A sink's, which lifts out what need not be in the pickle.
    reduce: Callable[[object], Any] | None = None
    # The function that is called, how many positional arguments it gets, and which keywords.
    call: Call | None = None

    def __init__(self, file: Any, **options: Any) -> None:
        super().__init__(file, protocol=_PROTOCOL, **options)
        self._cells: dict[int, _Cell] = {}
        self._parts: dict[tuple[int, frozenset[str]], _Part] = {}

    def reducer_override(self, obj: Any) -> Any:
        if self.reduce is not None and (lifted := self.reduce(obj)) is not NotImplemented:
            return lifted
        kind = type(obj)
        if kind is FunctionType and obj in _OURS:
            return NotImplemented
        if issubclass(kind, type):
            return self._reduce_class(obj)
        special = _SPECIAL.get(kind)
        if special is not None:
            return special(self, obj)
        if isinstance(obj, Tagged) and covers(getattr(obj, "__module__", None)):
            return obj._rebuild()  # noqa: SLF001 - ours
        return super().reducer_override(obj)

    def _reduce_class(self, cls: type) -> Any:
        # A class that C code has made may have none.
        if not covers(getattr(cls, "__module__", None)):
            reduced = super().reducer_override(cls)
            by_value = _internals._class_setstate  # noqa: SLF001 - no public name
            if type(reduced) is not tuple or reduced[-1] is not by_value:
                return reduced
        return reduce_class(cls)

    def _function_reduce(self, func: FunctionType) -> Any:
        if covers(func.__module__):
            return self._dynamic_function_reduce(func)
        return super()._function_reduce(func)

    def _dynamic_function_reduce(self, func: FunctionType) -> tuple[Any, ...]:
        home = home_of(func.__globals__)
        code, base, *_ = self._function_getnewargs(func)
        closure = func.__closure__
        cells = [self._cell(cell) for cell in closure] if closure else []
        sent = _globals_of(func)
        contents = [(cell, cell.cell.cell_contents) for cell in cells if _is_set(cell.cell)]
        used = [*sent.values(), *(value for _, value in contents)]
        modules = [value for value in used if isinstance(value, ModuleType)]
        submodules: list[object] = []
        if modules:
            names = names_in(code)
            submodules = [self._part(module, names) for module in _submodules(modules, names)]
            sent = {name: self._part(value, names) for name, value in sent.items()}
            contents = [(cell, self._part(value, names)) for cell, value in contents]
        slots = {
            "__name__": func.__name__,
            "__qualname__": func.__qualname__,
            "__module__": func.__module__,
            "__doc__": func.__doc__,
            **self._defaults(func),
            "__annotations__": _annotations.of_function(func),
        }
        state = (home, func.__dict__.copy(), slots, sent, submodules, contents)
        made_of = (code, home, base, tuple(cells) if closure else None)
        return make_function, made_of, state, None, None, set_function_state

    def _defaults(self, func: FunctionType) -> dict[str, Any]:
        positional, keyword = func.__defaults__, func.__kwdefaults__
        if self.call is not None and self.call[0] is func:
            # FastAPI's `Depends()` and the like: the call has values for them.
            _, count, given = self.call
            code = func.__code__
            if positional:
                names = code.co_varnames[: code.co_argcount]
                first = len(names) - len(positional)
                positional = tuple(
                    _annotations.portable_default(value)
                    if first + index < count or names[first + index] in given
                    else value
                    for index, value in enumerate(positional)
                )
            if keyword:
                keyword = {
                    name: _annotations.portable_default(value) if name in given else value
                    for name, value in keyword.items()
                }
        return {"__defaults__": positional, "__kwdefaults__": keyword}

    def _cell(self, cell: CellType) -> _Cell:
        return self._cells.setdefault(id(cell), _Cell(cell))

    def _part(self, value: object, names: frozenset[str]) -> object:
        if not isinstance(value, ModuleType) or home_of_module(value) is None:
            return value
        wanted = names.intersection(value.__dict__)
        return self._parts.setdefault((id(value), wanted), _Part(value, wanted))

    def _reduce_part(self, part: _Part) -> tuple[Any, ...]:
        found = part.module.__dict__
        state = {name: self._part(found[name], part.wanted) for name in sorted(part.wanted)}
        return module_of, (part.module.__name__,), state, None, None, set_module_state

    def _reduce_module(self, module: ModuleType) -> Any:
        if home_of_module(module) is None:
            return super().reducer_override(module)
        # Nobody knows what of it will be used: all that can travel.
        whole = {
            name: value
            for name, value in module.__dict__.items()
            if name not in _OF_THE_IMPORTER and _can_travel(value)
        }
        return module_of, (module.__name__,), whole, None, None, set_module_state

    def _reduce_cell(self, cell: CellType) -> tuple[Any, ...]:
        if not _is_set(cell):
            return make_cell, ()
        return make_cell, (), cell.cell_contents, None, None, fill_cell

    def _reduce_stand_in(self, _cell: _Cell) -> tuple[Any, ...]:
        return make_cell, ()

    def _reduce_variable(self, variable: ContextVar[Any]) -> Any:
        return _context.reduce(variable) or NotImplemented


def _without_pickler(reduce: Callable[[Any], Any]) -> Callable[[_Pickler, Any], Any]:
    return lambda _pickler, obj: reduce(obj)


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    """Tell how to pickle code: at once, since main and workers run the same Python.

    In version 2 of the format equal code gives equal bytes, which tells what has changed.
    """
    try:
        return marshal.loads, (marshal.dumps(code, 2),)
    except ValueError:  # a constant that is newer than the format, or none
        reduced: tuple[Any, ...] = _internals._code_reduce(code)  # noqa: SLF001 - as above
        return reduced


_SPECIAL: dict[type, Callable[[_Pickler, Any], Any]] = {
    _Cell: _Pickler._reduce_stand_in,  # noqa: SLF001 - this file's own
    _Part: _Pickler._reduce_part,  # noqa: SLF001
    CellType: _Pickler._reduce_cell,  # noqa: SLF001
    CodeType: lambda _pickler, code: _reduce_code(code),
    ContextVar: _Pickler._reduce_variable,  # noqa: SLF001
    FunctionType: _Pickler._function_reduce,  # noqa: SLF001
    ModuleType: _Pickler._reduce_module,  # noqa: SLF001
    **{kind: _without_pickler(reduce) for kind, reduce in REDUCERS.items()},
}


# What a pickle of this kind names: found at once.
_OURS = frozenset(
    {
        fill_cell,
        make_cached,
        make_cell,
        make_class,
        make_function,
        module_of,
        set_attributes,
        set_class_state,
        set_function_state,
        set_module_state,
        _internals._make_skeleton_class,  # noqa: SLF001 - as above
        _internals._make_skeleton_enum,  # noqa: SLF001 - as above
    }
)


def dump(value: object, sink: Any, call: Call | None = None) -> None:
    """Pickle `value` into a native sink, by value where it has no importable name.

    Of the function of `call` go only those defaults along, as what they are, that it will need.
    """
    pickler = _Pickler(sink, buffer_callback=sink.buffer)
    pickler.reduce = sink.reduce
    pickler.call = call
    pickler.dump(value)


def dumps(value: object) -> bytes:
    """Pickle `value` like `dump`, with everything in the pickle."""
    with io.BytesIO() as file:
        _Pickler(file).dump(value)
        return file.getvalue()


def _can_travel(value: object) -> bool:
    if isinstance(value, (FunctionType, type)):
        return True
    try:
        dumps(value)
    except Exception:  # noqa: BLE001 - a user's __reduce__ may raise anything
        return False
    return True


def _is_set(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - it raises if there is nothing
    except ValueError:
        return False
    return True


def _globals_of(func: FunctionType) -> dict[str, Any]:
    """Give those that its code names."""
    found = func.__globals__
    named = globals_in(func.__code__)
    sent = {name: found[name] for name in named.needed if name in found}
    for name in named.by_annotations:
        # As with a function's own: next to no task reads them.
        if name in found and _annotations.is_at_hand(found[name]):
            sent[name] = found[name]
    return sent


def _submodules(used: Iterable[ModuleType], names: frozenset[str]) -> list[ModuleType]:
    """Find the modules that the code reaches as attributes of their packages, which imports them.

    A function that says ``concurrent.futures.wait`` has a global ``concurrent`` alone.
    """
    packages = tuple(f"{value.__name__}." for value in used if hasattr(value, "__path__"))
    if not packages:
        return []
    found = []
    for name, module in list(sys.modules.items()):
        package = next((package for package in packages if name.startswith(package)), None)
        if package is None or not isinstance(module, ModuleType):
            continue
        if names.issuperset(name[len(package) :].split(".")):
            found.append(module)
    return found
