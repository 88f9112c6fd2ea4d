"""The worker's side, in Python: what the native loop calls outside its fast path.

Imported in every worker while it starts, so it imports next to nothing itself.
"""

from __future__ import annotations

import _pickle
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PROTOCOL = 5

# Put there by the native loop (src/worker_api.rs) before this module is imported.
_native: Any = sys.modules.get("_subpool_worker")


class WorkerInfo(NamedTuple):
    """Where a task runs.

    Attributes:
        id: The worker's number in its pool, from 0.
        interpreter_id: The interpreter's number, as `concurrent.interpreters` shows it.

    """

    id: int
    interpreter_id: int


_info = None if _native is None else WorkerInfo(_native.id, _native.interpreter_id)


def worker() -> WorkerInfo | None:
    """Tell in which worker the caller runs; ``None`` outside of workers.

    Example::

        def task():
            print("running in worker", subpool.worker().id)
    """
    return _info


class Pickler(_pickle.Pickler):
    """Writes to a native sink, which lifts out what need not be in the pickle (sink.rs)."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink, _PROTOCOL, buffer_callback=sink.buffer)
        self.reducer_override = sink.reduce  # type: ignore[method-assign]


def given(value: object) -> object:
    """Stand, in a pickle, before something that travelled beside it."""
    return value


def resolve(module: str, qualname: str) -> Callable[..., Any]:
    """Find a function by name, importing its module; a tag gives way to what it wraps."""
    from importlib import import_module  # noqa: PLC0415 - once per function

    found: Any = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    from subpool.routing import Tagged  # noqa: PLC0415 - a cycle otherwise

    while isinstance(found, Tagged):
        found = found.__wrapped__
    return found  # type: ignore[no-any-return]


def run_chunk(fn: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Run several calls in one task, for ``map`` with a ``chunksize``."""
    return [fn(*args) for args in calls]


def encode_error(
    label: str, error: BaseException, _value: object, _sink: object
) -> tuple[str, bytes, str] | tuple[str, str, str, str]:
    """Encode what a task raised, with its traceback as text."""
    text = _format(_without_own_frames(error))
    try:
        return "raised", _dumps(error), text
    except Exception as refusal:  # noqa: BLE001 - a user's __reduce__ may raise anything
        what = f"{type(error).__name__}: {text_of(error)}"
        return (
            "untransferable",
            (
                f"{label} raised an exception that cannot be sent back. It was {what}. "
                f"Pickling it failed with {type(refusal).__name__}: {text_of(refusal)}"
            ),
            "exception",
            text,
        )


def encode_result(
    label: str, error: BaseException, value: object, sink: Any
) -> tuple[str] | tuple[str, str, str, str]:
    """Encode a result that plain pickle refused with `error`, into `sink`."""
    if "cloudpickle" in sys.modules:  # then the task itself came by value
        from subpool._by_value import dump  # noqa: PLC0415 - imports cloudpickle

        try:
            dump(value, sink)
        except Exception as second:  # noqa: BLE001 - a user's __reduce__ may raise anything
            error = second
        else:
            return ("value",)
    from subpool._paths import find_culprit  # noqa: PLC0415 - only when something failed

    def rehearse(part: object) -> None:
        try:
            Pickler(sink.rehearsal()).dump(part)
        except Exception:
            if "cloudpickle" not in sys.modules:
                raise
            from subpool._by_value import dump  # noqa: PLC0415 - as above

            dump(part, sink.rehearsal())

    path, cause = find_culprit("result", value, rehearse, error)
    return (
        "untransferable",
        f"cannot send back {path} of {label}: {type(cause).__name__}: {text_of(cause)}",
        path,
        _format(cause),
    )


def refuse_call(
    label: str, error: BaseException, what: object, _sink: object
) -> tuple[str, str, str, str]:
    """Say that a call's function or its arguments could not be had in this interpreter."""
    if what == "function":
        message = f"cannot import {label} in an interpreter"
    else:
        message = f"cannot receive the arguments of {label}: they could not be unpickled there"
    message += f": {type(error).__name__}: {text_of(error)}"
    return "untransferable", message, str(what), _format(error)


def _dumps(value: object) -> bytes:
    import _pickle  # noqa: PLC0415 - the native loop has imported it

    try:
        return _pickle.dumps(value, _PROTOCOL)
    except Exception:
        if "cloudpickle" in sys.modules:
            return _by_value(value)
        raise


def _by_value(value: object) -> bytes:
    from subpool._by_value import dumps  # noqa: PLC0415 - imports cloudpickle

    return dumps(value)


def _without_own_frames(error: BaseException) -> BaseException:
    """Drop the frames of `run_chunk` from the start of the traceback."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code is run_chunk.__code__:
        traceback = traceback.tb_next
    # Not by assignment: the exception may refuse that (a frozen dataclass does).
    return error if traceback is None else BaseException.with_traceback(error, traceback)


def _format(error: BaseException) -> str:
    from traceback import format_exception  # noqa: PLC0415 - slow to import, rarely needed

    try:
        return "".join(format_exception(error))
    except Exception as failed:  # noqa: BLE001 - a user's __eq__ or __getattr__ may raise anything
        return (
            f"{type(error).__name__}: {text_of(error)}\n"
            f"(formatting its traceback failed with {type(failed).__name__}: {text_of(failed)})"
        )


def text_of(error: BaseException) -> str:
    """Give an exception's message, whatever its ``__str__`` does."""
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<its str() failed with {type(failed).__name__}>"
