"""What the native side needs in Python to pickle; imported with the first pickle."""

from __future__ import annotations

import _pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROTOCOL = 5


class Pickler(_pickle.Pickler):
    """Writes to a native sink, which lifts out what need not be in the pickle (sink.rs)."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink, _PROTOCOL, buffer_callback=sink.buffer)
        self.reducer_override = sink.reduce  # type: ignore[method-assign]


def given(value: object) -> object:
    """Stand, in a pickle, before something that travelled beside it."""
    return value
