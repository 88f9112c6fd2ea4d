"""The end of the program: what `close_all` (src/executor/ending.rs) leaves to Python.

Guarantees: what was accepted is finished before the program ends, in interpreters, threads and
processes; Ctrl-C during that interrupts it.
"""

# ruff: noqa: SLF001 - `threading` and `atexit` have no public way
from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

from subpool._subpool import close_all
from subpool.futures import let_go  # noqa: F401 - `close_all` calls it

# Seconds that interrupted tasks have to end, and interpreters to close, after a Ctrl-C.
PATIENCE = 0.7

_INTERRUPTED = 128 + signal.SIGINT


def finish(number: int, seconds: float) -> bool:
    """Wait so long for what a pool has in threads and processes, and tell whether it has ended."""
    elsewhere: Any = sys.modules.get("subpool._fallback")
    return elsewhere is None or elsewhere.join(number, seconds)


def interrupt(numbers: list[int]) -> None:
    """Cancel and interrupt what those pools have in threads and processes."""
    if elsewhere := sys.modules.get("subpool._fallback"):
        for number in numbers:
            elsewhere.cancel_pool(number)
            elsewhere.interrupt_pool(number)


def give_up() -> NoReturn:
    """End the process, for one who pressed Ctrl-C twice."""
    try:
        _begin_to_leave()
    finally:
        os._exit(_INTERRUPTED)


def leave(error: BaseException | None, late: bool) -> NoReturn:
    """End the process as Python does, but without finalizing: something runs on.

    Args:
        error: What a signal's handler has raised.
        late: The functions of `atexit` are running already.

    """
    code = _INTERRUPTED
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None and not isinstance(error, KeyboardInterrupt):
        code = 1
    try:
        _begin_to_leave()
        if not late:
            atexit._run_exitfuncs()
        _flush()
    finally:
        os._exit(code & 0xFF)


def _begin_to_leave() -> None:
    with suppress(ValueError):  # not the main thread
        # From here on Ctrl-C means just that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if processes := sys.modules.get("subpool._processes"):
        processes.kill_all()
    _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed or broken: there is nobody left to tell
            stream.flush()


# Before Python finalizes: a process that does so with an interpreter alive crashes. The second line
# is for a program in which the first one was skipped.
_own = sys.modules[__name__]
threading._register_atexit(close_all, _own, False)  # type: ignore[attr-defined]
atexit.register(close_all, _own, True)
