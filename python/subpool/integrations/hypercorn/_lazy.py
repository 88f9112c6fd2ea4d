"""Hypercorn without what most workers never need: HTTP/2, which takes 5 MB in each.

Its tables are a third of what a worker's interpreter holds, and a quarter of its start. Hypercorn
imports them at its top and uses them in functions only, so they may come when a client first
speaks HTTP/2.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import LazyLoader

TYPE_CHECKING = False  # workers import this (routing.py)
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType, TracebackType

_LATER = frozenset({"h2.connection", "h2.events", "h2.exceptions"})


class Http2Later:
    """While this is entered, the modules of HTTP/2 are imported only by name."""

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of them; all others are for those that come after this."""
        if name not in _LATER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def load() -> None:
    """Import them now, since the first client is likely to need them."""
    import h2.connection  # noqa: PLC0415 - see above

    _ = h2.connection.H2Connection  # any attribute does it
