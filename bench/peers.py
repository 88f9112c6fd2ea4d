"""The pools that are measured side by side, each made in the same way: by its worker count.

What a pool needs is imported when it is opened, so that a process that measures one pool does
not carry the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

type Task = Callable[..., Any]
type Factory = Callable[[int], Executor]
# Gives `call(task, *args)`, which returns an awaitable; entered while the loop runs.
type AsyncFactory = Callable[[int], AbstractContextManager[Task]]

ASYNC_CASES = ("gather", "await")
ASYNC_CASES_OF_EXECUTORS = ("to-thread", "gather-executor", "await-executor")


@dataclass(frozen=True)
class Peer:
    key: str
    label: str
    # Imports what the pool needs and gives its factory: none where there is only an async way.
    load: Callable[[], Factory] | None = None
    # Its own asyncio interface, where that is not `loop.run_in_executor`.
    load_async: Callable[[], AsyncFactory] | None = None
    needs: str = ""  # the module that must be there
    # Gives the function that turns a task into what the pool takes.
    load_tag: Callable[[], Callable[[Task], Task]] | None = None
    only: tuple[str, ...] = ()  # the cases it takes part in; default: all
    why_only: str = ""

    def missing(self) -> bool:
        try:
            return bool(self.needs) and find_spec(self.needs) is None
        except ImportError:  # a parent package of it
            return True

    def takes_part(self, case: str) -> bool:
        return not self.only or case in self.only

    def tag(self) -> Callable[[Task], Task]:
        return self.load_tag() if self.load_tag else lambda task: task

    def open_async(self, way: str = "") -> AsyncFactory:
        """Import what the pool's own asyncio way needs, or that of an executor."""
        if way == "" and self.load_async:
            return self.load_async()
        if self.load is None:
            raise TypeError(f"{self.label} makes no executor")
        open_executor = _in_default_executor if way == "to_thread" else _in_executor
        return partial(open_executor, self.load())


@contextmanager
def _in_executor(factory: Factory, workers: int) -> Iterator[Task]:
    import asyncio

    loop = asyncio.get_running_loop()
    with factory(workers) as executor:
        yield partial(loop.run_in_executor, executor)


@contextmanager
def _in_default_executor(factory: Factory, workers: int) -> Iterator[Task]:
    import asyncio

    with factory(workers) as executor:
        # Typed for threads alone, and that is what the loop insists on.
        asyncio.get_running_loop().set_default_executor(executor)  # type: ignore[arg-type]
        yield asyncio.to_thread


def _subpool() -> Factory:
    from subpool import InterpreterPoolExecutor

    return InterpreterPoolExecutor


def _run_of(load: Callable[[], Factory]) -> AsyncFactory:
    """Give the `run` of subpool's executors."""
    factory: Callable[[int], Any] = load()

    @contextmanager
    def open_pool(workers: int) -> Iterator[Task]:
        with factory(workers) as executor:
            yield executor.run

    return open_pool


def _subpool_threads() -> Factory:
    from subpool import InterpreterThreadPoolExecutor

    return lambda workers: InterpreterThreadPoolExecutor(max_interpreters=workers)


def _subpool_tag() -> Callable[[Task], Task]:
    from subpool import interpreter

    return interpreter


def _interpreters() -> Factory:
    from concurrent.futures import InterpreterPoolExecutor

    return InterpreterPoolExecutor


def _threads() -> Factory:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor


def _processes() -> Factory:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # The default from 3.14 on.  Not "fork": a child forked beside threads can hang.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    return lambda workers: ProcessPoolExecutor(workers, context)


def _aiointerpreters() -> Factory:
    from aiointerpreters.executors import InterpreterThreadPoolExecutor

    return InterpreterThreadPoolExecutor


def _aiointerpreters_tag() -> Callable[[Task], Task]:
    from aiointerpreters.executors import interpreter

    return interpreter


def _aiointerpreters_runner() -> AsyncFactory:
    from aiointerpreters.runner import Runner

    @contextmanager
    def open_runner(workers: int) -> Iterator[Task]:
        with Runner(workers=workers).start() as runner:
            yield runner.run

    return open_runner


def _anyio() -> Factory:
    from contextlib import ExitStack

    from anyio import CapacityLimiter, to_interpreter
    from anyio.from_thread import start_blocking_portal

    class ThroughPortal(Executor):
        """anyio's own way to its interpreters from code that is not async."""

        def __init__(self, workers: int) -> None:
            self._open = ExitStack()
            self._portal = self._open.enter_context(start_blocking_portal())
            self._limiter = self._portal.call(CapacityLimiter, workers)

        def submit(self, fn: Task, /, *args: Any, **kwargs: Any) -> Any:
            call = partial(fn, **kwargs) if kwargs else fn
            run = partial(to_interpreter.run_sync, limiter=self._limiter)
            return self._portal.start_task_soon(run, call, *args)

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
            self._open.close()

    return ThroughPortal


def _anyio_async() -> AsyncFactory:
    from anyio import CapacityLimiter, to_interpreter

    @contextmanager
    def open_limited(workers: int) -> Iterator[Task]:
        yield partial(to_interpreter.run_sync, limiter=CapacityLimiter(workers))

    return open_limited


def _loky() -> Factory:
    from loky import ProcessPoolExecutor

    return ProcessPoolExecutor


_STDLIB = "concurrent.futures.interpreter"  # from Python 3.14

# The first is the one that ratios refer to.
PEERS = (
    Peer("subpool", "subpool", _subpool, partial(_run_of, _subpool), needs="subpool"),
    Peer(
        "subpool-threads",
        "subpool (threads + tag)",
        _subpool_threads,
        partial(_run_of, _subpool_threads),
        needs="subpool",
        load_tag=_subpool_tag,
        only=("burst", "round-trip", "map", *ASYNC_CASES, *ASYNC_CASES_OF_EXECUTORS, "start-up"),
        why_only="the same pool behind another front: what carries data is measured once",
    ),
    Peer("interpreters", "stdlib interpreters", _interpreters, needs=_STDLIB),
    Peer("threads", "stdlib threads", _threads),
    Peer("processes", "stdlib processes", _processes),
    Peer(
        "aiointerpreters",
        "aiointerpreters",
        _aiointerpreters,
        needs="aiointerpreters",
        load_tag=_aiointerpreters_tag,
    ),
    Peer(
        "aiointerpreters-runner",
        "aiointerpreters Runner",
        load_async=_aiointerpreters_runner,
        needs="aiointerpreters",
        only=ASYNC_CASES,
        why_only="has an asyncio interface and no other",
    ),
    Peer("anyio", "anyio to_interpreter", _anyio, _anyio_async, needs="anyio.to_interpreter"),
    Peer("loky", "loky", _loky, needs="loky"),
    # No pool: how much faster than one the machine's cores are together, when nobody helps.
    Peer(
        "bare",
        "bare processes",
        only=("efficiency",),
        why_only="no pool, but the machine's own limit: a loop in each of N processes",
    ),
)
BY_KEY = {peer.key: peer for peer in PEERS}
