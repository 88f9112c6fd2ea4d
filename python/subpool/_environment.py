"""What main tells workers of its environment, where that needs Python (src/environ.rs)."""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING, Any

from subpool import _filters, _health

if TYPE_CHECKING:
    from collections.abc import Iterable


def describe_filters(filters: Iterable[Any]) -> bytes | None:
    """Put ``warnings.filters`` in plain words; ``None``: they are as CPython starts.

    What does not look like a filter is left out.
    """
    described = []
    for item in filters:
        try:
            action, message, category, module, line = item
            named = category.__module__, category.__qualname__
            plain = str(action), _plain(message), named, _plain(module), int(line)
            marshal.dumps(plain)
        except Exception:  # noqa: BLE001, S112 - a program may put anything there
            continue
        described.append(plain)
    return None if described == _filters.DEFAULT else marshal.dumps(described)


def _plain(pattern: Any) -> _filters.Text:
    if pattern is None or isinstance(pattern, str):
        return pattern
    return pattern.pattern, pattern.flags


def filters_code() -> bytes:
    """Give the code of `subpool._filters`, for workers to run without an import."""
    return _code(_filters)


def health_code() -> bytes:
    """Give the code of `subpool._health`, for workers that may be past importing anything."""
    return _code(_health)


def _code(module: Any) -> bytes:
    spec = module.__spec__
    return marshal.dumps(spec.loader.get_code(spec.name))
