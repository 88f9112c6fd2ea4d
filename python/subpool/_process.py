"""`multiprocessing` in a worker: the process is main's, with its name and key.

`describe` runs in main, when a worker asks; `adopt` runs in workers, right after a module of
`multiprocessing` was imported there (_on_import.py).
"""

# ruff: noqa: SLF001 - what is adapted is CPython's private side
from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from typing import Any

_native: Any = sys.modules.get("_subpool_worker")


def describe() -> bytes:
    """Say what main's `multiprocessing` knows of this process.

    It is imported for that: a key that main makes later would be another one.
    """
    from multiprocessing import process  # noqa: PLC0415 - only for workers that have it, too

    own: Any = process.current_process()
    parent: Any = process.parent_process()
    return marshal.dumps(
        (
            own.name,
            own._identity,
            {
                name: bytes(value) if isinstance(value, bytes) else value
                for name in ("authkey", "daemon")
                if (value := own._config.get(name)) is not None
            },
            None if parent is None else (parent.name, parent.pid, parent._sentinel),
        )
    )


def adopt(module: Any) -> None:
    """Adapt a module of `multiprocessing`."""
    _ADAPTERS[module.__name__](module)


def _describe_here(process: Any) -> None:
    """Take over main's description of the process."""
    described = _native.describe_process()
    if described is None:
        return  # the system gives no thread to ask with
    name, identity, config, parent = marshal.loads(described)  # noqa: S302 - by `describe`
    own = process.current_process()
    own._name = name
    own._identity = identity
    if "authkey" in config:
        config["authkey"] = process.AuthenticationString(config["authkey"])
    own._config.update(config)
    if parent is not None:
        process._parent_process = process._ParentProcess(*parent)


def _never_fork(context: Any) -> None:
    """Replace the default where that is a fork (before 3.14), which only main may do."""
    default, kinds = context._default_context, context._concrete_contexts
    if default._default_context is kinds.get("fork"):
        default._default_context = kinds["spawn"]


def _stop_forkserver(forkserver: Any) -> None:
    """End this interpreter's server with it: left alone, it would live as long as the process.

    After the processes (0 and more) and queues (-5), before its folder is removed (-100).
    """
    forkserver.util.Finalize(None, forkserver._forkserver._stop, exitpriority=-50)


def _stop_tracker(tracker: Any) -> None:
    """End this interpreter's tracker with it, after all that may use it."""
    tracker.util.Finalize(None, tracker._resource_tracker._stop, exitpriority=-1000)


_ADAPTERS = {
    "multiprocessing.process": _describe_here,
    "multiprocessing.context": _never_fork,
    "multiprocessing.forkserver": _stop_forkserver,
    "multiprocessing.resource_tracker": _stop_tracker,
}
