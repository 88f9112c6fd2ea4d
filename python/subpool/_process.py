"""`multiprocessing` in a worker: the process is main's, with its name and key.

`describe` runs in main, when a worker asks; `adopt` runs in workers, right after a module of
`multiprocessing` was imported there (_on_import.py).
"""

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
            own._identity,  # noqa: SLF001
            {
                name: bytes(value) if isinstance(value, bytes) else value
                for name in ("authkey", "daemon")
                if (value := own._config.get(name)) is not None  # noqa: SLF001
            },
            None if parent is None else (parent.name, parent.pid, parent._sentinel),  # noqa: SLF001
        )
    )


def adopt(module: Any) -> None:
    """Adapt `multiprocessing.process` or `multiprocessing.context`."""
    if module.__name__ == "multiprocessing.context":
        _never_fork(module)
    elif (described := _native.describe_process()) is not None:
        name, identity, config, parent = marshal.loads(described)
        own = module.current_process()
        own._name = name  # noqa: SLF001
        own._identity = identity  # noqa: SLF001
        if "authkey" in config:
            config["authkey"] = module.AuthenticationString(config["authkey"])
        own._config.update(config)  # noqa: SLF001
        if parent is not None:
            module._parent_process = module._ParentProcess(*parent)  # noqa: SLF001


def _never_fork(context: Any) -> None:
    """Replace the default where that is a fork (before 3.14), which only main may do."""
    default, kinds = context._default_context, context._concrete_contexts  # noqa: SLF001
    if default._default_context is kinds.get("fork"):  # noqa: SLF001
        default._default_context = kinds["spawn"]  # noqa: SLF001
