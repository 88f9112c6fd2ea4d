"""FasterAPI's `SubInterpreterPool` and `run_in_subinterpreter`, in this process's interpreters.

Needs nothing of FasterAPI's. Works on any number of event loops at once, asyncio's and trio's.
"""

from __future__ import annotations

from subpool import InterpreterPoolExecutor, default_pool

TYPE_CHECKING = False  # workers import this with the modules that define tasks (routing.py)
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SubInterpreterPool", "run_in_subinterpreter"]


class SubInterpreterPool:
    """A pool whose calls are awaited.

    Args:
        max_workers: The most interpreters, started as the work asks for them. Default, and for
            0 as in FasterAPI: the CPUs this process may use.

    Raises:
        ValueError: `max_workers` is negative.

    Example::

        pool = SubInterpreterPool(max_workers=4)
        result = await pool.run(cpu_heavy, data)
        pool.shutdown()

    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._executor = InterpreterPoolExecutor(max_workers or None)

    @property
    def backend(self) -> str:
        """What runs the calls: always ``"subinterpreters"``, since there is no silent fallback."""
        return "subinterpreters"

    async def run[**P, R](self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``func(*args, **kwargs)`` in an interpreter and wait for its result.

        Cancelling the await interrupts the call. FasterAPI's takes no keyword arguments.

        Raises:
            RuntimeError: The pool is shut down.
            NotTransferableError: The call or its result cannot be sent.
            BaseException: What the call raised.

        """
        return await self._executor.run(func, *args, **kwargs)

    def shutdown(self) -> None:
        """Accept no more calls. What was accepted still runs; this does not wait for it."""
        self._executor.shutdown(wait=False)


async def run_in_subinterpreter[**P, R](
    func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call ``func(*args, **kwargs)`` in an interpreter of `subpool.default_pool`, and wait.

    Raises:
        NotTransferableError: The call or its result cannot be sent.
        BaseException: What the call raised.

    Example::

        result = await run_in_subinterpreter(cpu_heavy, data)

    """
    return await default_pool().run(func, *args, **kwargs)
