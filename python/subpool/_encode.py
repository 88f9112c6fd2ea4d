"""The main side of a call, in Python: what the native fast path does not decide itself."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

from subpool._bootstrap import text_of
from subpool._paths import find_culprit
from subpool._registry import covers
from subpool.errors import NotTransferableError, remote_traceback
from subpool.routing import Tagged

if TYPE_CHECKING:
    from collections.abc import Callable

    from subpool._by_value import Call

_set_cause = vars(BaseException)["__cause__"].__set__


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
            path, cause = find_culprit(place, part, dumps, refusal)
            break
    else:
        path, cause = ", ".join(parts), error
    if not name:
        what = path  # a context variable: it belongs to no function
    else:
        what = f"the function {name}" if path == "function" else f"{path} of {name}"
    explained = NotTransferableError(
        f"cannot send {what} to {where}: {type(cause).__name__}: {text_of(cause)}"
    )
    explained.path = path
    explained.__cause__ = cause
    return explained


def rebuild_exception(name: str, pickled: bytes, traceback: str) -> BaseException:
    """Unpickle what a task raised; its traceback in the worker becomes the ``__cause__``."""
    error: object = None
    try:
        error = pickle.loads(pickled)
    except Exception as failure:  # noqa: BLE001 - a user's __init__ may raise anything
        refused = f"Unpickling it failed with {type(failure).__name__}: {text_of(failure)}"
    else:
        refused = f"Unpickling it gave {type(error).__name__}, which is no exception"
    if not isinstance(error, BaseException):
        last_line = traceback.rstrip().rpartition("\n")[2]
        error = NotTransferableError(
            f"{name} raised an exception that cannot be rebuilt here. It was {last_line}. {refused}"
        )
        error.path = "exception"
    # Past the exception's own __setattr__, which may refuse (a frozen dataclass does).
    _set_cause(error, remote_traceback(traceback))
    return error
