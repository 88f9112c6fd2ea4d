"""Annotations of functions that travel by value: builtins as they are, everything else as text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FunctionType


def portable(func: FunctionType) -> dict[str, Any]:
    """Give a function's annotations such that they need no import and no name to be set."""
    return {name: _portable(value) for name, value in _found(func).items()}


def _found(func: FunctionType) -> dict[str, Any]:
    if sys.version_info < (3, 14):
        return func.__annotations__
    if func.__annotate__ is None:
        return func.__annotations__
    try:
        return func.__annotations__
    except Exception:  # noqa: BLE001 - they are code, which may raise anything
        pass
    # The usual case: names that are imported for type checkers only.
    from annotationlib import Format, get_annotations  # noqa: PLC0415 - rarely needed

    try:
        return get_annotations(func, format=Format.STRING)
    except Exception:  # noqa: BLE001 - as above
        return {}


def _portable(value: object) -> object:
    if value is None or type(value) is str:
        return value
    if isinstance(value, type):
        if value.__module__ == "builtins" and type(value) is type:
            return value
        return f"{value.__module__}.{value.__qualname__}"
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return object.__repr__(value)
