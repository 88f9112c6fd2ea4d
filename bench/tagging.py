"""aiointerpreters' executor, taking plain calls: each is tagged as its users would tag it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiointerpreters.executors import InterpreterThreadPoolExecutor
from aiointerpreters.executors import interpreter as tag

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["Pool", "tag"]


class Pool(InterpreterThreadPoolExecutor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        match fn:
            case tag() | partial(func=tag()):
                pass
            case partial(args=(task, *rest)) if getattr(fn.func, "__name__", "") == "run":
                # asyncio.to_thread: what it was given is what its user would have tagged.
                fn = partial(fn.func, tag(task), *rest, **fn.keywords)
            case _:
                fn = tag(fn)
        return super().submit(fn, *args, **kwargs)
