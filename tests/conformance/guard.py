"""Conditions under which one of CPython's tests runs here.

What a test may not do is use a standard class where ours should be: it would pass and say nothing.
"""

import contextlib
import functools
import importlib
import logging
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any
from unittest import mock

from .scripts import uses_standard_pool


def _forbidding(original: Callable[..., None], forbidden: set[type]) -> Callable[..., None]:
    """Wrap an ``__init__``: refuse instances of exactly these classes, let subclasses pass."""

    @functools.wraps(original)
    def guarded(self: object, *args: Any, **kwargs: Any) -> None:
        if type(self) in forbidden:
            raise AssertionError(f"the test uses the standard {type(self).__name__}, not ours")
        original(self, *args, **kwargs)

    return guarded


def _uses_standard_pool(argument: object) -> bool:
    """Whether this word of a command line is a script, or a script's file, with such a pool."""
    if not isinstance(argument, str):
        return False
    is_file = argument.endswith(".py") and Path(argument).is_file()
    return uses_standard_pool(Path(argument).read_text("utf-8") if is_file else argument)


@contextlib.contextmanager
def no_standard_pool() -> Iterator[None]:
    """Fail on making a standard thread or interpreter pool, here or in a child process's script."""
    thread_pool = futures.ThreadPoolExecutor
    # The standard interpreter pool, where there is one, ends in the same __init__.
    forbidden = {thread_pool, getattr(futures, "InterpreterPoolExecutor", thread_pool)}
    start = subprocess.Popen.__init__

    @functools.wraps(start)
    def guarded_start(self: subprocess.Popen[Any], args: Any, *rest: Any, **kwargs: Any) -> None:
        words = args if isinstance(args, list | tuple) else [args]
        if any(_uses_standard_pool(word) for word in words):
            raise AssertionError("the test starts a script that uses a standard pool, not ours")
        start(self, args, *rest, **kwargs)

    with (
        mock.patch.object(thread_pool, "__init__", _forbidding(thread_pool.__init__, forbidden)),
        mock.patch.object(subprocess.Popen, "__init__", guarded_start),
    ):
        yield


@contextlib.contextmanager
def no_standard_future() -> Iterator[None]:
    """Fail on making a standard future: for the tests of the future itself."""
    guarded = _forbidding(futures.Future.__init__, {futures.Future})
    with mock.patch.object(futures.Future, "__init__", guarded):
        yield


@contextlib.contextmanager
def no_root_handlers() -> Iterator[None]:
    """Take pytest's log handlers away.

    Several tests look on stderr for what ``concurrent.futures`` logs, which comes there through
    logging's last resort, used only where the root logger has no handler.
    """
    root = logging.getLogger()
    saved, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = saved


def no_event_loop_policy() -> None:
    """Take away what every `asyncio.run` leaves behind, and CPython's tests refuse to find."""
    events: Any = importlib.import_module("asyncio.events")
    if hasattr(events, "_set_event_loop_policy"):  # from 3.14 on
        events._set_event_loop_policy(None)


@contextlib.contextmanager
def nothing_left_over() -> Iterator[None]:
    """Fail where CPython's own check saw a thread or a child process outlive the test.

    ``tearDown`` prints such a finding and sets a flag that only regrtest would look at.
    """
    support: Any = importlib.import_module("test.support")
    support.environment_altered = False
    yield
    if support.environment_altered:
        raise AssertionError("the test left a thread or a process behind, see stderr")
