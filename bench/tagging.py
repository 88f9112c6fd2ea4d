"""aiointerpreters' executor, taking plain calls: each is tagged as its users would tag it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiointerpreters.executors import InterpreterThreadPoolExecutor, interpreter

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class Pool(InterpreterThreadPoolExecutor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        match fn:
            case partial(args=(task, *rest)):
                if getattr(fn.func, "__name__", "") == "run":  # asyncio.to_thread(interpreter(f))
                    tagged = partial(fn.func, interpreter(task), *rest, **fn.keywords)
                    return super().submit(tagged, *args, **kwargs)
        return super().submit(interpreter(fn), *args, **kwargs)
