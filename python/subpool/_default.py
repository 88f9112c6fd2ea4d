"""The process-wide pool that tagged functions use when they are called directly."""

from __future__ import annotations

import os
import threading
from typing import Any

from subpool.errors import PoolError
from subpool.executors import InterpreterThreadPoolExecutor

_lock = threading.Lock()
_options: dict[str, Any] = {}
_pool: InterpreterThreadPoolExecutor | None = None


def _forget_after_fork() -> None:
    global _pool  # noqa: PLW0603 - the child has none of its threads
    _lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def default_pool() -> InterpreterThreadPoolExecutor:
    """Give the process-wide executor, made on first use with the options of `configure`.

    Example::

        subpool.default_pool().warm_up()
    """
    global _pool  # noqa: PLW0603 - there is one per process
    with _lock:
        # One that somebody shut down is replaced: a tagged function called directly has no
        # executor of its own to complain about.
        if _pool is None or _pool._pool.closed:  # noqa: SLF001
            _pool = InterpreterThreadPoolExecutor(**_options)
        return _pool


def configure(**options: Any) -> None:
    """Set the default pool's options, before its first use.

    Args:
        options: Keyword arguments of `InterpreterThreadPoolExecutor`.

    Raises:
        PoolError: The default pool is in use already.

    Example::

        subpool.configure(max_interpreters=4)

    """
    global _options  # noqa: PLW0603 - there is one set per process
    with _lock:
        if _pool is not None:
            raise PoolError("the default pool is in use already: configure it before first use")
        _options = dict(options)
