"""Use all cores inside one Python process.

A pool of subinterpreters, each with a GIL of its own, behind `concurrent.futures`::

    from subpool import InterpreterThreadPoolExecutor, interpreter

    with InterpreterThreadPoolExecutor() as ex:
        ex.submit(read_file, path)               # plain function: a thread
        ex.submit(interpreter(cpu_bound), data)  # tagged: a subinterpreter, in parallel

Names are looked up on first use, because this package is imported in every worker as well (by
the modules that define the tasks), where the executors and their imports have no place.
"""

import sys

from subpool._bootstrap import TaskInterrupted, WorkerInfo, worker
from subpool.routing import interpreter

TYPE_CHECKING = False  # typing's own would be an import (_bootstrap.py)
if TYPE_CHECKING:
    from subpool._default import configure, default_pool
    from subpool._methods import PoolStats
    from subpool._registry import register_by_value, unregister_by_value
    from subpool.errors import (
        BrokenInterpreterPool,
        IncompatibleModuleError,
        NotTransferableError,
        PoolError,
        RemoteError,
        TaskTimeout,
    )
    from subpool.executors import InterpreterPoolExecutor, InterpreterThreadPoolExecutor
    from subpool.futures import Future
    from subpool.sync import Event, Lock, Queue

__all__ = [
    "BrokenInterpreterPool",
    "Event",
    "Future",
    "IncompatibleModuleError",
    "InterpreterPoolExecutor",
    "InterpreterThreadPoolExecutor",
    "Lock",
    "NotTransferableError",
    "PoolError",
    "PoolStats",
    "Queue",
    "RemoteError",
    "TaskInterrupted",
    "TaskTimeout",
    "WorkerInfo",
    "configure",
    "default_pool",
    "interpreter",
    "register_by_value",
    "unregister_by_value",
    "worker",
]

_HOMES = {
    "BrokenInterpreterPool": "errors",
    "Event": "sync",
    "Future": "futures",
    "IncompatibleModuleError": "errors",
    "InterpreterPoolExecutor": "executors",
    "InterpreterThreadPoolExecutor": "executors",
    "Lock": "sync",
    "NotTransferableError": "errors",
    "PoolError": "errors",
    "PoolStats": "_methods",
    "Queue": "sync",
    "RemoteError": "errors",
    "TaskTimeout": "errors",
    "configure": "_default",
    "default_pool": "_default",
    "register_by_value": "_registry",
    "unregister_by_value": "_registry",
}


_TOO_LATE = (
    "cannot load subpool's executors while the program ends: make the pool, and wait for its "
    "results, before the main thread comes to its end"
)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = _find(home, name)
    return value


def _find(home: str, name: str) -> object:
    if home in ("errors", "_registry") or (home == "sync" and worker() is not None):
        return _import_from(home, name)
    if worker() is None:
        try:
            return _import_from(home, name)
        except ImportError as error:
            # CPython's words for an extension module in somebody else's subinterpreter.
            if "does not support loading in subinterpreters" not in str(error):
                if sys.is_finalizing():  # there is no import any more
                    raise RuntimeError(_TOO_LATE) from error
                raise
        except RuntimeError as error:
            # The words of `threading`, for us and for `concurrent.futures` alike.
            if "can't register atexit" in str(error):
                raise RuntimeError(_TOO_LATE) from error
            raise
    from subpool import _absent  # noqa: PLC0415 - only where it is needed

    return _absent.stand_in(name)


def _import_from(home: str, name: str) -> object:
    # Not by importlib's function: a new interpreter would have to import importlib first.
    return getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
