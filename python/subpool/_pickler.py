"""What the native side needs in Python to pickle; imported with the first pickle."""

from __future__ import annotations

import _pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PROTOCOL = 5


class Pickler(_pickle.Pickler):
    """Writes to a native sink, which lifts out what need not be in the pickle (sink.rs)."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink, _PROTOCOL, buffer_callback=sink.buffer)
        self.reducer_override = sink.reduce  # type: ignore[method-assign]


def dumps(value: object) -> bytes:
    """Pickle with everything in the pickle."""
    if _refuses is None:
        return _pickle.dumps(value, _PROTOCOL)
    from io import BytesIO  # noqa: PLC0415 - cloudpickle has imported it

    file = BytesIO()
    pickler = _pickle.Pickler(file, _PROTOCOL)
    pickler.reducer_override = _refusing(lambda _: NotImplemented)  # type: ignore[method-assign]
    pickler.dump(value)
    return file.getvalue()


_refuses: Callable[[object], bool] | None = None


def leave_to_by_value(refuses: Callable[[object], bool]) -> None:
    """Have plain pickling fail at once for these classes and functions.

    Pickle would look for their module, which cannot be imported here or is another one, and so
    each result would cost an import that fails.
    """
    global _refuses  # noqa: PLW0603 - so that others need not ask
    if _refuses is not None:
        return
    _refuses = refuses

    def replace(self: Pickler, value: Any) -> None:
        vars(self)["reducer_override"] = value

    # Pickle asks for the attribute with each `dump`, so the picklers that there are take part.
    Pickler.reducer_override = property(  # type: ignore[assignment]
        lambda self: _refusing(vars(self)["reducer_override"]), replace
    )


def _refusing(reduce: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def override(obj: Any) -> Any:
        if _refuses is not None and _refuses(obj):
            raise _pickle.PicklingError(f"{obj!r} is not pickled by name: it came by value")
        return reduce(obj)

    return override


def given(value: object) -> object:
    """Stand, in a pickle, before something that travelled beside it."""
    return value
