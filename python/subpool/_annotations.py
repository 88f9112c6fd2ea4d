"""Annotations that travel by value: as text where the worker might not have what they name.

They are computed late, may name what is there for type checkers only, and may name a library
that a worker cannot import, while next to no task reads them.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from subpool._registry import covers

if TYPE_CHECKING:
    from typing import TypeAliasType

_LATE = sys.version_info >= (3, 14)


def of_function(func: FunctionType) -> dict[str, Any]:
    """Give a function's: builtins as they are, and everything else as text."""
    if _LATE and func.__annotate__ is None and not func.__annotations__:
        return {}
    return {name: _plain(value) for name, value in _computed(func).items()}


def of_class(cls: type) -> dict[str, Any]:
    """Give those of a class: what the worker can have as it is, and everything else as text."""
    if not _LATE and "__annotations__" not in cls.__dict__:
        return {}
    return {name: portable(value) for name, value in _computed(cls).items()}


def portable(value: Any) -> Any:
    """Give an annotation as it is, if no import of others' code is needed for it, else as text."""
    return value if _is_portable(value) else _text(value)


def portable_default(value: object) -> Any:
    """Give a default that is not used, if no import of others' code is needed for it, else text."""
    owner = value if isinstance(value, (type, FunctionType)) else type(value)
    return value if _is_at_hand(owner) else _text(value)


def is_at_hand(value: object) -> bool:
    """Whether no import of others' code is needed for what an annotation names."""
    if isinstance(value, ModuleType):
        return covers(value.__name__) or _is_standard(value.__name__)
    return _is_portable(value)


def value_of(alias: TypeAliasType) -> Any:
    """Give the value of a ``type`` statement."""
    try:
        return portable(alias.__value__)
    except Exception:  # noqa: BLE001 - it is code, which may raise anything
        return alias.__name__


def _computed(owner: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = owner.__annotations__
    except Exception:  # noqa: BLE001 - they are code, which may raise anything
        if not _LATE:
            return {}
    else:
        return found
    # The usual case: names that are imported for type checkers only.
    from annotationlib import Format, get_annotations  # noqa: PLC0415 - rarely needed

    try:
        return get_annotations(owner, format=Format.STRING)
    except Exception:  # noqa: BLE001 - as above
        return {}


def _plain(value: object) -> object:
    if value is None or type(value) is str:
        return value
    is_builtin = type(value) is type and value.__module__ == "builtins"
    return value if is_builtin else _text(value)


def _is_portable(value: Any) -> bool:
    if value is None or type(value) in (str, int, bool, bytes) or value in (..., Any):
        return True
    if isinstance(value, type):
        metaclass: type = type(value)
        classes = [*value.__mro__, *metaclass.__mro__]
        return all(map(_is_at_hand, classes))
    if isinstance(value, (list, tuple)):
        return all(_is_portable(item) for item in value)
    if not _is_standard(type(value).__module__):
        return False
    origin = getattr(value, "__origin__", None)
    arguments: tuple[Any, ...] = getattr(value, "__args__", ())
    return all(_is_portable(part) for part in (origin, *arguments))


def _is_at_hand(owner: type | FunctionType) -> bool:
    module = getattr(owner, "__module__", None)
    return covers(module) or _is_standard(module)


def _is_standard(module: object) -> bool:
    return type(module) is str and module.partition(".")[0] in sys.stdlib_module_names


def _text(value: Any) -> str:
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return object.__repr__(value)
