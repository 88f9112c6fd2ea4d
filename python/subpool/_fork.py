"""What happens to pools when the process forks.

CPython crashes in the child if an interpreter is alive (#139759). So before a fork every pool ends
the tasks that run and closes its interpreters; what waits in its queue stays there. In the parent
they come back when there is work for them. In the child each pool that was not shut down is as new.

This holds for every fork that CPython tells of: ``os.fork``, ``os.forkpty``, ``pty.fork``,
multiprocessing's method "fork", and subprocess with a ``preexec_fn``.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import warnings
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

from subpool._subpool import after_fork_in_child, after_fork_in_parent, before_fork
from subpool.errors import PoolError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from subpool._subpool import PoolCore

# Seconds that a fork waits for the tasks that run.
_PATIENCE = 5.0

# Those that live: the child makes them its own.
_pools: WeakSet[PoolCore] = WeakSet()
_thread_pools: WeakSet[ThreadPoolExecutor] = WeakSet()


def register() -> None:
    """Register the hooks. Called once, when the executors are first imported."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            # No Python code before the interpreters are closed: see there.
            before=partial(before_fork, sys.modules[__name__]),
            after_in_parent=after_fork_in_parent,
            after_in_child=_in_child,
        )


def remember_pool(pool: PoolCore) -> None:
    _pools.add(pool)


def remember(executor: ThreadPoolExecutor) -> None:
    """Remember an executor that has threads of the main interpreter."""
    _thread_pools.add(executor)


def warn(restless: list[tuple[str, list[str]]], survives: bool) -> None:
    """Tell, before a fork, of pools that have not come to rest."""
    for pool, functions in restless:
        warnings.warn(
            f"a fork goes on with interpreters of {pool} that did not close within "
            f"{_PATIENCE:g} s. These run: {', '.join(functions)}. "
            + ("" if survives else "CPython crashes in the child. ")
            + "Fork when no task runs, or give the tasks a time limit",
            RuntimeWarning,
            stacklevel=2,  # who forks: the hook itself is no Python code
        )


def _in_child() -> None:
    after_fork_in_child(list(_pools), lost)
    for executor in list(_thread_pools):
        _renew(executor)


def lost(label: str) -> PoolError:
    """Make the error of a call that was running when the process forked."""
    return PoolError(
        f"{label} runs in the parent of this process, which forked meanwhile; its result does not "
        f"come here"
    )


def _renew(executor: ThreadPoolExecutor) -> None:
    """Make the threads' side of an executor as new: the child has none of its threads."""
    waiting = executor._work_queue  # noqa: SLF001 - the standard class's
    executor._work_queue = queue.SimpleQueue()  # noqa: SLF001
    executor._idle_semaphore = threading.Semaphore(0)  # noqa: SLF001
    executor._threads = set()  # noqa: SLF001
    executor._shutdown_lock = threading.Lock()  # noqa: SLF001
    while True:
        try:
            item = waiting.get_nowait()
        except queue.Empty:
            break
        if item is not None:
            # Its lock may be held by a thread that is not here.
            item.future._condition = threading.Condition()  # noqa: SLF001
            # The parent's business.
            item.future._done_callbacks = []  # type: ignore[attr-defined]  # noqa: SLF001
            item.future.cancel()
