"""Run tests of ``test.test_asyncio`` in this process, and write what became of each to a file.

    python -m conformance.asyncio_child ours|standard FILE NAME...

A name is that of a module (``test_threads``) or of a test (``test_threads.Class.test_method``).
With ``ours`` every event loop that would make a default executor gets our class, the tests' own
``concurrent.futures.ThreadPoolExecutor`` and ``Future`` are ours, and making a standard thread
pool or future in a test fails that test. asyncio itself, and its check of what is set as default
executor, stay as they are. With ``standard`` nothing is put in anybody's place.

Each line of the file is a JSON object, written when it happens, so that a test that hangs or
crashes is known by name: ``begun`` with the test, then ``test``, ``outcome``, ``detail`` and
``uses``, which counts the calls that our executors got in it; the last line says ``end``.
"""

import contextlib
import faulthandler
import functools
import importlib
import itertools
import json
import signal
import sys
import unittest
from asyncio import base_events
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import subpool

from .guard import no_standard_pool
from .substitution import Replacements

PACKAGE = "test.test_asyncio"

type Error = tuple[type[BaseException], BaseException, TracebackType]


class Uses:
    """Counts the calls that instances of our executor accept, from any thread."""

    def __init__(self) -> None:
        self._counter = itertools.count()
        self._read = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        submit = subpool.InterpreterThreadPoolExecutor.submit

        @functools.wraps(submit)
        def counting(executor: Any, /, *args: Any, **kwargs: Any) -> Any:
            next(self._counter)  # one step of C, so no lock
            return submit(executor, *args, **kwargs)

        with mock.patch.object(subpool.InterpreterThreadPoolExecutor, "submit", counting):
            yield

    def total(self) -> int:
        self._read += 1  # reading counts as well
        return next(self._counter) - (self._read - 1)


@contextlib.contextmanager
def ours_as_default() -> Iterator[None]:
    """Give an event loop ours at the moment when it would make the standard executor."""
    run_in_executor = base_events.BaseEventLoop.run_in_executor

    @functools.wraps(run_in_executor)
    def with_ours(loop: Any, executor: Any, func: Any, *args: Any) -> Any:
        refuses = loop._closed or loop._executor_shutdown_called
        if executor is None and loop._default_executor is None and not refuses:
            ours = subpool.InterpreterThreadPoolExecutor(thread_name_prefix="asyncio")
            loop.set_default_executor(ours)
        return run_in_executor(loop, executor, func, *args)

    with mock.patch.object(base_events.BaseEventLoop, "run_in_executor", with_ours):
        yield


class Report(unittest.TestResult):
    """A result that is written down at once."""

    def __init__(self, file: Any, uses: Uses) -> None:
        super().__init__()
        self._file, self._uses = file, uses
        self._support: Any = importlib.import_module("test.support")
        self._running: unittest.TestCase | None = None
        self._found: tuple[str, str] = ("passed", "")
        self._before = 0

    def write(self, **line: object) -> None:
        self._file.write(json.dumps(line) + "\n")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._running, self._found = test, ("passed", "")
        self._support.environment_altered = False
        self._before = self._uses.total()
        self.write(begun=short_id(test))

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        # CPython's tearDown prints such a finding, and sets a flag for regrtest.
        if self._support.environment_altered and self._found[0] == "passed":
            self._found = ("failed", "it left a thread or a process behind")
        self._write_outcome(test, *self._found, self._uses.total() - self._before)
        self._running = None

    def _write_outcome(
        self, test: unittest.TestCase, outcome: str, detail: str, uses: int = 0
    ) -> None:
        self.write(test=short_id(test), outcome=outcome, detail=detail, uses=uses)

    def _note(self, test: unittest.TestCase, outcome: str, detail: str) -> None:
        if self._running is None:  # of a class or a module: setUpClass and its like
            self._write_outcome(test, outcome, detail)
        elif self._found[0] != "failed":
            self._found = (outcome, detail)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "failed", self.errors[-1][1])

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "failed", self.failures[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", (self.failures + self.errors)[-1][1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, "skipped", "CPython expects it to fail")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, "failed", "CPython expects it to fail")


def short_id(test: unittest.TestCase) -> str:
    return test.id().replace(f"{PACKAGE}.", "")


def load(names: list[str], replacements: Replacements | None) -> unittest.TestSuite:
    """Load the tests named, with our classes in their modules."""
    loader, suite = unittest.TestLoader(), unittest.TestSuite()
    for name in names:
        module = importlib.import_module(f"{PACKAGE}.{name.partition('.')[0]}")
        if replacements is not None:
            replacements.apply(module)
        suite.addTests(loader.loadTestsFromName(f"{PACKAGE}.{name}"))
    return suite


def main() -> None:
    kind, path, *names = sys.argv[1:]
    # CPython's own run leaves out what needs the network and much time or memory.
    support: Any = importlib.import_module("test.support")
    support.use_resources = []
    faulthandler.enable()
    # A shell that starts us in the background has it ignored; then tests of Ctrl-C wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    uses = Uses()
    with Path(path).open("w", buffering=1) as file, contextlib.ExitStack() as stack:
        if kind == "ours":
            suite = load(names, Replacements())
            stack.enter_context(ours_as_default())
            stack.enter_context(no_standard_pool())
        else:
            suite = load(names, None)
        stack.enter_context(uses.counted())
        report = Report(file, uses)
        suite.run(report)
        report.write(end=True)


if __name__ == "__main__":  # processes that the tests start import this file again
    main()
