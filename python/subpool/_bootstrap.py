"""The worker's side, in Python: what the native loop calls outside its fast path.

Imported in workers, by the modules that define tasks or when a task failed, so it imports next to
nothing itself: a new interpreter has none of main's modules, and `typing` alone costs it
milliseconds and half a megabyte.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from typing import Any, Self

# Put there by the native loop (src/worker_api.rs) before this module is imported.
_native: Any = sys.modules.get("_subpool_worker")


# No `NamedTuple`: it would be the reason to import typing and more.
class WorkerInfo(tuple[int, int]):
    """Where a task runs: a tuple of two numbers.

    Attributes:
        id: The worker's number in its pool, from 0.
        interpreter_id: The interpreter's number, as `concurrent.interpreters` shows it.

    """

    __slots__ = ()
    __match_args__ = ("id", "interpreter_id")

    def __new__(cls, id: int, interpreter_id: int) -> Self:  # noqa: A002 - the attribute's name
        return super().__new__(cls, (id, interpreter_id))

    def __getnewargs__(self) -> tuple[int, int]:
        return self[0], self[1]

    def __repr__(self) -> str:
        return f"WorkerInfo(id={self[0]}, interpreter_id={self[1]})"

    @property
    def id(self) -> int:
        return self[0]

    @property
    def interpreter_id(self) -> int:
        return self[1]


if TYPE_CHECKING or _native is None:

    class TaskInterrupted(BaseException):
        """The task was interrupted: raised in the task, and by its future.

        A task can catch it to clean up; it should then raise it again. What a task returns or
        raises in its place is what its future gives. Not an `Exception`, so that ``except
        Exception`` lets it pass.

        Example::

            try:
                crunch()
            finally:
                os.unlink(scratch_file)

        """

        __module__ = "subpool"  # where pickle looks for it

else:
    # The worker's own, which the native loop raises.
    TaskInterrupted = _native.TaskInterrupted

_info = None if _native is None else WorkerInfo(_native.id, _native.interpreter_id)


def worker() -> WorkerInfo | None:
    """Tell in which worker the caller runs; ``None`` outside of workers.

    Example::

        def task():
            print("running in worker", subpool.worker().id)
    """
    return _info


def encode_error(
    label: str, error: BaseException, _value: object, _sink: object
) -> tuple[str | bytes, ...]:
    """Encode what a task raised, with its traceback and all that hangs on it."""
    refused = _refused(error, "begun")
    if refused is not None:
        return refused
    from subpool._exceptions import encode  # noqa: PLC0415 - only when something failed

    try:
        return "raised", encode(error)
    except Exception as refusal:  # noqa: BLE001 - no memory, no stack, a hostile metaclass
        what = f"{type(error).__name__}: {text_of(error)}"
        return (
            "untransferable",
            (
                f"{label} raised an exception that cannot be sent back. It was {what}. "
                f"Taking it apart failed with {type(refusal).__name__}: {text_of(refusal)}"
            ),
            "exception",
            format_error(error),
        )


def tell_error(_label: str, error: BaseException, _value: object, _sink: object) -> tuple[str, ...]:
    """Tell what an initializer raised, as text."""
    return _refused(error, "begun") or ("untransferable", "", "", format_error(error))


def encode_result(label: str, error: BaseException, value: object, sink: Any) -> tuple[str, ...]:
    """Encode a result that plain pickle refused with `error`, into `sink`."""
    refused = encode_part("result", error, value, sink)
    if refused is None:
        return ("value",)
    path, why, cause = refused
    return (
        "untransferable",
        f"cannot send back the result of {label}, because of {path}: {why}" + _way_out(value),
        path,
        format_error(cause),
    )


def encode_part(
    name: str, error: BaseException, value: object, sink: Any
) -> tuple[str, str, BaseException] | None:
    """Encode what plain pickle refused with `error`, into `sink`.

    Returns:
        What part of it is refused, why, and with which exception; ``None``: it is done.

    """
    if "cloudpickle" in sys.modules:  # then the task itself came by value
        from subpool._by_value import dump  # noqa: PLC0415 - imports cloudpickle

        try:
            dump(value, sink)
        except Exception as second:  # noqa: BLE001 - a user's __reduce__ may raise anything
            error = second
        else:
            return None
    from subpool._paths import find_culprit  # noqa: PLC0415 - only when something failed
    from subpool._pickler import Pickler  # noqa: PLC0415 - the native side has imported it

    def rehearse(part: object) -> None:
        try:
            Pickler(sink.rehearsal()).dump(part)
        except Exception:
            if "cloudpickle" not in sys.modules:
                raise
            from subpool._by_value import dump  # noqa: PLC0415 - as above

            dump(part, sink.rehearsal())

    path, kind, cause = find_culprit(name, value, rehearse, error)
    return path, f"{kind} ({type(cause).__name__}: {text_of(cause)})", cause


def _way_out(value: Any) -> str:
    """Say what to do about a function whose call has only prepared its work."""
    kind = type(value).__name__
    if kind == "coroutine":
        value.close()  # or Python says that it was never awaited
        return (
            ". An async function needs an event loop around it: submit a function that says "
            "asyncio.run(...)"
        )
    if kind in ("generator", "async_generator"):
        return ". Submit a function that runs it to its end, and gives a list of what it yields"
    return ""


def refuse_call(label: str, error: BaseException, what: object, _sink: object) -> tuple[str, ...]:
    """Say that a call's function, arguments or context could not be had in this interpreter."""
    refused = _refused(error, "before")
    if refused is not None:
        return refused
    if what == "function":
        message = f"cannot import {label} in an interpreter"
    elif what != "args":
        message = f"cannot set {what} for {label} in an interpreter"
    else:
        message = f"cannot receive the arguments of {label}: they could not be unpickled there"
    message += f": {type(error).__name__}: {text_of(error)}"
    return "untransferable", message, str(what), format_error(error)


def look_ahead(module: str) -> None:
    """Import what a function will import when it runs.

    Raises what that raises only if an extension module refuses to load here: all else the function
    will meet by itself.
    """
    try:
        __import__(module)
    except Exception as error:
        if _refused(error, "before") is not None:
            raise


def is_refusal(error: BaseException) -> bool:
    """Tell whether an error comes from an extension module that refuses to load here."""
    return _refused(error, "begun") is not None


def _refused(error: BaseException, when: str) -> tuple[str, ...] | None:
    """Tell which extension module refused to load here, if that is what `error` comes from."""
    # A process of ours (_child.py) is the main interpreter, where nothing is refused.
    if not isinstance(error, Exception) or _info is None or not _info.interpreter_id:
        return None
    from subpool._incompatible import refusal  # noqa: PLC0415 - only when something failed

    found = refusal(error)
    if found is None:
        return None
    from subpool._blocked import block  # noqa: PLC0415 - as above

    block(found)
    modules = " ".join(found.modules)
    return (
        "incompatible",
        when,
        found.name,
        found.path or "",
        found.text,
        modules,
        format_error(error),
    )


def format_error(error: BaseException) -> str:
    """Give an exception's traceback as text, whatever its methods do."""
    try:
        # Here, for it is slow to import and rarely needed, and a task may have emptied `sys.path`.
        from traceback import format_exception  # noqa: PLC0415

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
