"""The main side of a call, in Python: what the native fast path does not decide itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from subpool._bootstrap import text_of
from subpool._paths import find_culprit
from subpool._registry import covers
from subpool.errors import NotTransferableError
from subpool.routing import Tagged

if TYPE_CHECKING:
    from collections.abc import Callable

    from subpool._by_value import Call


def reference(fn: object) -> tuple[str, str, object] | None:
    """Tell by which module and name a worker can import `fn`, and what that name means here.

    The name may mean `fn` itself, or the tag that decorates it. ``None``: there is no such name.
    """
    module = getattr(fn, "__module__", None)
    qualname = getattr(fn, "__qualname__", None)
    if type(module) is not str or type(qualname) is not str or covers(module):
        return None
    found: object = sys.modules.get(module)
    for name in qualname.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:  # a local function, or one whose name is gone
            return None
    if found is fn or (isinstance(found, Tagged) and found.__wrapped__ is fn):
        return module, qualname, found
    return None


def label(fn: object) -> str:
    """Name a callable for error messages."""
    qualname = getattr(fn, "__qualname__", None)
    if type(qualname) is str:
        module = getattr(fn, "__module__", None)
        return f"{module}.{qualname}" if type(module) is str else qualname
    inner = getattr(fn, "func", None)
    if inner is not None:
        return f"{type(fn).__name__}({label(inner)})"
    return f"an instance of {type(fn).__qualname__}"


def by_value(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], sink: Any
) -> None:
    """Pickle a call by value into `sink`, for what pickle cannot name.

    Raises:
        NotTransferableError: Something in it cannot be pickled this way either.

    """
    call = fn, len(args), kwargs
    _dump((fn, args, kwargs), sink, label(fn), call, function=fn, args=args, kwargs=kwargs)


def function_by_value(fn: Callable[..., Any], sink: Any) -> None:
    """Pickle a function on its own, for many calls. Raises like `by_value`."""
    _dump(fn, sink, label(fn), None, function=fn)


def arguments_by_value(name: str, args: tuple[Any, ...], sink: Any) -> None:
    """Pickle the arguments of a call of `name`. Raises like `by_value`."""
    _dump(args, sink, name, None, args=args)


def variable_by_value(name: str, value: object, sink: Any) -> None:
    """Pickle a context variable's value, or a variable. Raises like `by_value`."""
    _dump(value, sink, "", None, **{name: value})


def _dump(value: object, sink: Any, name: str, call: Call | None, **parts: object) -> None:
    # Imported late: cloudpickle costs every program, and only some need it.
    from subpool._by_value import dump  # noqa: PLC0415

    try:
        dump(value, sink, call)
    except Exception as error:  # noqa: BLE001 - a user's __reduce__ may raise anything
        explained = explain(name, parts, lambda part: dump(part, sink.rehearsal(), call), error)
        raise explained from explained.__cause__


def explain(
    name: str,
    parts: dict[str, object],
    dumps: Callable[[object], object],
    error: BaseException,
    where: str = "an interpreter",
) -> NotTransferableError:
    """Make the error for a call that cannot be pickled: `dumps` refuses one of its `parts`."""
    for place, part in parts.items():
        try:
            dumps(part)
        except Exception as refusal:  # noqa: BLE001 - this is what is being looked for
            path, kind, cause = find_culprit(place, part, dumps, refusal)
            break
    else:
        path, kind, cause = ", ".join(parts), "", error
    if not name:
        what = path  # a context variable: it belongs to no function
    elif path.startswith("function"):
        what = f"the function {name}{path.removeprefix('function')}"
    else:
        what = f"{path} of {name}"
    why = f"{type(cause).__name__}: {text_of(cause)}"
    if kind not in why:
        why += f" (it is a value of type {kind})"
    explained = NotTransferableError(f"cannot send {what} to {where}: {why}")
    explained.path = path
    explained.__cause__ = cause
    return explained


def rebuild_exception(name: str, encoded: bytes) -> BaseException:
    """Put together what a task raised."""
    from subpool._rebuilding import rebuild  # noqa: PLC0415 - only when something failed

    try:
        return rebuild(encoded)
    except Exception as failure:  # noqa: BLE001 - no memory, no stack
        error = NotTransferableError(
            f"{name} raised an exception that cannot be rebuilt here: "
            f"{type(failure).__name__}: {text_of(failure)}"
        )
        error.path = "exception"
        error.__cause__ = failure
        return error
