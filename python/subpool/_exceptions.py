"""An exception on its way out of a worker: taken apart, so that nothing can get in the way.

Imported in workers when a task has failed, so it imports next to nothing. `_rebuilding` puts the
parts together in main.

Guarantees: each exception that can be reached from the one that was raised (cause, context, the
members of a group, what stands in arguments and attributes) travels once, and keeps its place. A
part that cannot be pickled is replaced by a `LeftBehind`, and takes nothing else with it. The
user's ``__init__`` is not called again; a ``__reduce__`` of a user's class is.
"""

from __future__ import annotations

import _pickle
import builtins
import sys
from _io import BytesIO

from subpool._bootstrap import TaskInterrupted, text_of
from subpool._frames import Frames, names_near

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import (
        BuiltinFunctionType,
        FunctionType,
        GetSetDescriptorType,
        MemberDescriptorType,
        ModuleType,
        TracebackType,
    )
else:  # without an import: a task that fails may have emptied `sys.path`
    BuiltinFunctionType, FunctionType, ModuleType = type(len), type(text_of), type(sys)
    GetSetDescriptorType, MemberDescriptorType = (
        type(FunctionType.__code__), type(FunctionType.__globals__)
    )  # fmt: skip
    try:
        int("")
    except ValueError as _error:
        TracebackType = type(_error.__traceback__)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from subpool._frames import Frame

    # Class and bases; pickle, if the class has a way of its own; state; text; a group's message
    # and members; cause and context; whether the context is suppressed; frames; names like the
    # one that was not found.
    type Node = tuple[
        tuple[Name, ...], bytes | None, bytes, str | None, tuple[str, tuple[int, ...]] | None,
        int, int, bool, tuple[Frame, ...], tuple[str, ...],
    ]  # fmt: skip
    # A class: its full name and a pickle of it, which is empty for a builtin one.
    type Name = tuple[str, bytes | None]

PROTOCOL = 5
NONE = -1
BUILTIN = b""
_DEEPEST = 20
"""Levels of containers to look into for the part that cannot be pickled."""
_LONGEST = 500
"""Characters of a repr."""
_MOST, _INMOST = 20_000, 50
"""Exceptions, and how deep in each other's arguments: ``__reduce__`` may make new ones for ever."""

_get = {
    name: vars(BaseException)[name].__get__
    for name in (
        "args", "__dict__", "__cause__", "__context__", "__suppress_context__", "__traceback__",
    )
}  # fmt: skip
_message, _members = (vars(BaseExceptionGroup)[n].__get__ for n in ("message", "exceptions"))

# Their attributes are sent in other ways, or are not the exception's own.
_COMMON = frozenset({BaseException, Exception, BaseExceptionGroup, ExceptionGroup, object})
_NO_ATTRIBUTES = frozenset({"__dict__", "__weakref__"})
# What `AttributeError.obj` may be and still travel. An instance of a user's class may be anything:
# half the program's data, a connection.
_SMALL = frozenset({type(None), bool, int, float, type, ModuleType})


_UNSET = object()


class LeftBehind:
    """Stands where something could not be brought along. Shows itself as that did."""

    def __init__(self, text: str, kind: str, reason: str, known: tuple[str, ...] = ()) -> None:
        self.text, self.kind, self.reason, self._known = text, kind, reason, known

    def __repr__(self) -> str:
        return self.text

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._known]

    def __reduce__(self) -> tuple[Any, ...]:
        return LeftBehind, (self.text, self.kind, self.reason, self._known)


def left_behind(value: object, reason: BaseException) -> LeftBehind:
    """Make the stand-in for a value that cannot be pickled, because of `reason`."""
    kind = full_name(type(value))
    text = _shown(repr, value)
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 3] + "..."
    return LeftBehind(text, kind, f"{type(reason).__name__}: {text_of(reason)}")


def _shown(how: Callable[[Any], str], value: object) -> str:
    """Give what ``str`` or ``repr`` gives, whatever the class does."""
    try:
        return how(value)
    except TaskInterrupted:
        raise
    except BaseException as failed:  # noqa: BLE001 - a user's method may raise anything
        return f"<its {how.__name__}() failed with {type(failed).__name__}>"


def full_name(cls: type) -> str:
    """Name a class with its module, as a traceback does."""
    module, name = cls.__module__, cls.__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def native_new(cls: type) -> Any:
    """Find the ``__new__`` that CPython takes for safe for this class, past those in Python."""
    base: type | None = cls
    while base is not None:
        made = vars(base).get("__new__")
        if type(made) is BuiltinFunctionType:
            return made
        base = base.__base__
    return BaseException.__new__


def encode(error: BaseException) -> bytes:
    """Take an exception apart, and all that hangs on it."""
    return _Encoder().encode(error)


# Named in pickles; main has functions of its own for them (_rebuilding.py).
def _node(number: int) -> Any: ...
def _class(module: str, qualname: str) -> Any: ...
def _module(name: str) -> Any: ...
def _traceback(frames: tuple[Frame, ...]) -> Any: ...
def _view(data: bytes, form: str, shape: tuple[int, ...]) -> Any: ...


class _Sink(BytesIO):
    """What `_by_value.dump` wants to write to."""

    buffer = None
    reduce: Any = None


class _Pickler(_pickle.Pickler):
    reducer_override: Any = None


class _Encoder:
    def __init__(self) -> None:
        self.found: list[BaseException] = []
        self.numbers: dict[int, int] = {}
        # How deep each is in others' arguments and attributes.
        self.levels: list[int] = []
        self.level = 0
        self.frames = Frames()
        # The exception whose own pickle is being made.
        self.current: BaseException | None = None

    def encode(self, error: BaseException) -> bytes:
        self.number(error)
        # The list grows meanwhile.
        nodes = tuple([self.node(*found) for found in zip(self.found, self.levels, strict=True)])
        return _pickle.dumps(nodes, PROTOCOL)

    def number(self, error: BaseException | None, deeper: int = 0) -> int:
        if error is None:
            return NONE
        number = self.numbers.get(id(error))
        if number is None:
            level = self.level + deeper
            if len(self.found) == _MOST or level > _INMOST:
                return NONE
            number = self.numbers[id(error)] = len(self.found)
            self.levels.append(level)
            self.found.append(error)
        return number

    def node(self, error: BaseException, level: int) -> Node:
        cls, self.level = type(error), level
        names = tuple(self.names(cls))
        custom = has_own_pickling(cls)
        text = None if len(names) == 1 else _shown(str, error)
        group = None
        if issubclass(cls, BaseExceptionGroup):
            members = [self.number(part) for part in _members(error)]
            group = _message(error), tuple([member for member in members if member != NONE])
        traceback = _get["__traceback__"](error)
        near = names_near(error, traceback)
        return (
            names,
            self.pickled(error) if custom else None,
            self.state(error, near),
            text,
            group,
            self.number(_get["__cause__"](error)),
            self.number(_get["__context__"](error)),
            _get["__suppress_context__"](error),
            self.frames.of(traceback),
            near,
        )

    def names(self, cls: type) -> Iterator[Name]:
        """Give the class and its bases, up to the first that main has for certain."""
        for base in cls.__mro__:
            if _is_builtin(base):
                yield base.__name__, BUILTIN
                return
            if issubclass(base, BaseException):
                try:
                    pickled = self.pack(base, by_value=base is cls)
                except Exception:  # noqa: BLE001 - a user's metaclass may raise anything
                    pickled = None
                yield full_name(base), pickled

    def pickled(self, error: BaseException) -> bytes | None:
        self.current = error
        try:
            return self.pack(error)
        except TaskInterrupted:
            raise
        except BaseException:  # noqa: BLE001 - a user's __reduce__ may raise anything
            return None
        finally:
            self.current = None

    def state(self, error: BaseException, near: tuple[str, ...]) -> bytes:
        state = (
            _get["args"](error),
            _get["__dict__"](error) or None,
            dict(_attributes(error, near)) or None,
        )
        try:
            return self.pack(state)
        except TaskInterrupted:
            raise
        except BaseException:  # noqa: BLE001 - a user's __reduce__ may raise anything
            return self.pack(self.salvage(state, 0))

    def salvage(self, value: Any, depth: int) -> Any:
        """Give `value`, or a copy of it with stand-ins for what cannot be pickled."""
        try:
            self.pack(value)
        except TaskInterrupted:
            raise
        except BaseException as refusal:  # noqa: BLE001 - as above
            kind = type(value)
            if depth < _DEEPEST and kind in (tuple, list, set, frozenset):
                return kind([self.salvage(item, depth + 1) for item in list(value)])
            if depth < _DEEPEST and kind is dict:
                return {
                    self.salvage(key, _DEEPEST): self.salvage(item, depth + 1)
                    for key, item in list(value.items())
                }
            return left_behind(value, refusal)
        return value

    def pack(self, value: object, *, by_value: bool = True) -> bytes:
        sink = _Sink()
        pickler = _Pickler(sink, PROTOCOL)
        pickler.reducer_override = self.reduce_plain
        try:
            pickler.dump(value)
        except Exception:
            if not by_value or "cloudpickle" not in sys.modules:
                raise
            from subpool._by_value import dump  # noqa: PLC0415 - imports cloudpickle

            sink = _Sink()
            sink.reduce = self.reduce
            dump(value, sink)
        return sink.getvalue()

    def reduce(self, value: Any) -> Any:
        """Say how to pickle what pickle itself would lose, or not take at all."""
        kind = type(value)
        if issubclass(kind, BaseException):  # a user's `__class__` may lie
            if value is not self.current:
                if (number := self.number(value, 1)) == NONE:
                    raise RecursionError("too many exceptions inside one another")
                return _node, (number,)
        elif kind is memoryview:
            data = value.tobytes() if value.readonly else bytearray(value.tobytes())
            return _view, (data, value.format, value.shape)
        elif kind is TracebackType:
            return _traceback, (self.frames.of(value),)
        return NotImplemented

    def reduce_plain(self, value: Any) -> Any:
        """Do the same where cloudpickle does not say what becomes of modules, and of their own."""
        kind = type(value)
        if kind is ModuleType:
            return _module, (value.__name__,)
        if issubclass(kind, type) or kind is FunctionType:
            home, name = _private_home(value), value.__qualname__
            if home is not None:
                if kind is FunctionType or _found(home, name) is not value:
                    raise TypeError("it travels as code")
                return _class, (value.__module__, name)
        return self.reduce(value)


def _private_home(value: Any) -> ModuleType | None:
    """Give the module of what came by value and whose module must not be imported here."""
    private = getattr(sys.modules.get("subpool._registry"), "private_module", None)
    home: ModuleType | None = None if private is None else private(value.__module__)
    return home


def _found(home: Any, qualname: str) -> object:
    for name in qualname.split("."):
        home = getattr(home, name, None)
    return home


def _is_builtin(cls: type) -> bool:
    return vars(builtins).get(cls.__name__) is cls


def has_own_pickling(cls: type) -> bool:
    """Tell whether somebody has said how to pickle instances of this class."""
    for base in cls.__mro__:
        if _is_builtin(base):
            break
        if "__reduce__" in vars(base) or "__reduce_ex__" in vars(base):
            return True
    copyreg = sys.modules.get("copyreg")
    return copyreg is not None and cls in copyreg.dispatch_table


def _attributes(error: BaseException, near: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Give what an exception holds outside of its ``__dict__``: slots, attributes made in C."""
    seen = set()
    for cls in type(error).__mro__:
        if cls in _COMMON:
            continue
        for name, descriptor in vars(cls).items():
            kind = type(descriptor)
            if kind is not MemberDescriptorType and kind is not GetSetDescriptorType:
                continue
            if name in _NO_ATTRIBUTES or name in seen:
                continue
            value = _value(descriptor, error, cls)
            if value is _UNSET:
                continue
            if cls is AttributeError and name == "obj" and type(value) not in _SMALL:
                what = full_name(type(value))
                value = LeftBehind(f"<{what} object left in the worker>", what, "", near)
            seen.add(name)
            yield name, value


def _value(descriptor: Any, error: BaseException, cls: type) -> object:
    try:
        value = descriptor.__get__(error)
    except Exception:  # noqa: BLE001 - an attribute made in C may raise anything
        return _UNSET
    # `None` is C's way of saying that it is not set.
    return _UNSET if value is None and _is_builtin(cls) else value
