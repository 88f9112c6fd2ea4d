"""The first thing in a process of ours (`_processes.py`): read and run there, never imported.

To the package that is imported after it, the process looks like a worker: a tagged function that
is called in a task runs inline, and what comes by value is treated as in a worker.
"""

import sys

# Put there by who reads this: the socket's descriptor, one that is at its end when main is gone,
# and the number of the process.
FD: int = globals()["FD"]
WATCH: int = globals()["WATCH"]
NUMBER: int = globals()["NUMBER"]


class TaskInterrupted(BaseException):
    """See `subpool._bootstrap`."""

    __module__ = "subpool"


native = type(sys)("_subpool_worker")
native.id = NUMBER  # type: ignore[attr-defined]
native.interpreter_id = 0  # type: ignore[attr-defined]
native.thread_name = "MainThread"  # type: ignore[attr-defined]
native.TaskInterrupted = TaskInterrupted  # type: ignore[attr-defined]
sys.modules["_subpool_worker"] = native

from subpool._serving import serve  # noqa: E402 - after that

serve(FD, WATCH)
