"""What a pool sends to a worker by name: main would have to import all of the server for it."""

from __future__ import annotations

import gc

TYPE_CHECKING = False  # workers import this (routing.py)
if TYPE_CHECKING:
    from typing import Any

    from subpool import Event


def load() -> None:
    """Import the server, while the supervisor makes ready."""
    gc.disable()  # a tenth of the time goes into looks at what all stays
    try:
        from subpool.integrations.hypercorn import _worker  # noqa: F401, PLC0415 - see above
    finally:
        gc.enable()


def serve(settings: dict[str, Any], number: int, descriptor: int, events: dict[str, Event]) -> None:
    """Call `_worker.serve`."""
    load()
    from subpool.integrations.hypercorn import _worker  # noqa: PLC0415 - see above

    _worker.serve(settings, number, descriptor, events)
