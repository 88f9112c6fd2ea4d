"""Which part of a value cannot be pickled. Workers import it, too, with a result that fails."""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from types import FunctionType, MemberDescriptorType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_DEEPEST = 40
"""Levels to look into: deeper paths help nobody."""

_DEEPEST_RECURSION = 3
"""The same for a value that is refused because it is too deep itself."""


def find_culprit(
    name: str, value: object, dumps: Callable[[object], object], error: BaseException
) -> tuple[str, str, BaseException]:
    """Find the smallest part of `value` that `dumps` refuses.

    Gives its path, beginning with `name`, its type, and the exception it is refused with.
    """
    seen = {id(value)}
    for depth in range(_DEEPEST):
        # Each part is as deep, and takes as long to refuse. (cloudpickle replaces the error.)
        too_deep = isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)
        if too_deep and depth >= _DEEPEST_RECURSION:
            break
        try:
            found = next(_culprits(value, seen, dumps), None)
        except Exception:  # noqa: BLE001 - a user's __getattribute__ or __class__ may raise anything
            break  # it cannot be looked into, so this is as near as one gets
        if found is None:
            break
        suffix, value, error = found
        seen.add(id(value))
        name += suffix
    return name, _kind(value), error


def _culprits(
    value: object, seen: set[int], dumps: Callable[[object], object]
) -> Iterator[tuple[str, object, BaseException]]:
    for suffix, part in _parts(value):
        if id(part) not in seen:
            refusal = _refusal(part, dumps)
            if refusal is not None:
                yield suffix, part, refusal


def _refusal(part: object, dumps: Callable[[object], object]) -> BaseException | None:
    try:
        dumps(part)
    except Exception as refusal:  # noqa: BLE001 - this is what is being looked for
        return refusal
    return None


def _items(value: Any) -> Iterator[tuple[str, object]]:
    """Give what is in a container, with how one would write it."""
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"[{_short(key)}]", item
        for key in list(value):
            yield f".keys(), key {_short(key)}", key
        if hasattr(value, "default_factory"):
            yield ".default_factory", value.default_factory
    elif isinstance(value, set | frozenset):
        for item in list(value):
            yield f", element {_short(item)}", item
    else:
        for index, item in enumerate(list(value)):
            yield f"[{index}]", item


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """Give the parts of containers and plain objects, with how one would write them."""
    if isinstance(value, dict | list | tuple | deque | set | frozenset):
        yield from _items(value)
    elif isinstance(value, partial):
        yield ".func", value.func
        yield from ((f".args{suffix}", item) for suffix, item in _items(value.args))
        yield from ((f".keywords{suffix}", item) for suffix, item in _items(value.keywords))
    elif isinstance(value, FunctionType):
        if "cloudpickle" in sys.modules:  # then its code travels, with what it needs
            yield from _captured(value)
    elif callable(value) and hasattr(value, "__self__"):
        yield ".__self__", value.__self__
    # What an instance of the user's classes holds besides, subclasses of containers included.
    if not isinstance(value, type | ModuleType | FunctionType):
        yield from _attributes(value)


def _attributes(value: Any) -> Iterator[tuple[str, object]]:
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        yield from ((f".{name}", item) for name, item in list(attributes.items()))
    for cls in type(value).__mro__:
        for name, descriptor in list(vars(cls).items()):
            if type(descriptor) is MemberDescriptorType and "__slots__" in vars(cls):
                try:
                    yield f".{name}", descriptor.__get__(value)
                except AttributeError:  # it is not set
                    continue


def _captured(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Give what goes along with a function's code."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f", variable {name}", cell.cell_contents
        except ValueError:  # nothing in it yet
            continue
    names = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    for name, item in zip(names[len(names) - len(defaults) :], defaults, strict=False):
        yield f", default of {name}", item
    for name, item in (function.__kwdefaults__ or {}).items():
        yield f", default of {name}", item
    for name in code.co_names:
        if name in function.__globals__:
            yield f", global {name}", function.__globals__[name]
    yield from ((f".{name}", item) for name, item in list(vars(function).items()))


def _kind(value: object) -> str:
    cls = type(value)
    try:
        name, module = cls.__qualname__, cls.__module__
    except Exception:  # noqa: BLE001 - a user's metaclass may raise anything
        return "object"
    return name if module == "builtins" else f"{module}.{name}"


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004 - a line's worth
