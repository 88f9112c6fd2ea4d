"""The standard interpreter pool, for programs that tag functions (tests/table)."""

from __future__ import annotations

from concurrent.futures import InterpreterPoolExecutor as Pool
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pool", "tag"]


def tag[F: Callable[..., object]](function: F) -> F:
    """Nothing to mark: every call runs in an interpreter."""
    return function
