"""Questions that code in a worker asks main, and waits for the answer with the GIL released.

A question names a function of a module; it runs in main, on the completer's thread, with arguments
that were pickled. So it must be quick: what it blocks, deliveries wait for. Whatever it raises is
raised where the question was asked.
A worker that waits for its answer cannot be interrupted: an interrupt is raised when the answer is
there. Main answers while the pool lives, so that is soon, unless a callback holds up the completer.

Guarantees: a question is answered once, also while the program ends, as long as a worker is left.
"""

from __future__ import annotations

import pickle
import sys
from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from typing import Any

_native: Any = sys.modules.get("_subpool_worker")


def ask(module: str, function: str, *args: object) -> Any:
    """Call ``module.function(*args)`` in main, and give what it gives. In a worker.

    Raises:
        RuntimeError: Nobody answers: the system gives no thread, or this is no worker.

    """
    answered = None if _native is None else _native.ask_main(pickle.dumps((module, function, args)))
    if answered is None:
        raise RuntimeError(f"{module}.{function}: the main interpreter does not answer")
    error, value = pickle.loads(answered)
    if error is not None:
        raise error
    return value


def answer(question: bytes) -> bytes:
    """Answer a question. In main."""
    try:
        module, function, args = pickle.loads(question)
        return pickle.dumps((None, getattr(import_module(module), function)(*args)))
    except Exception as error:  # noqa: BLE001 - the asker's to see
        try:
            return pickle.dumps((error, None))
        except Exception:  # noqa: BLE001 - a user's __reduce__ may raise anything
            return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), None))
