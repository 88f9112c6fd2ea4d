"""What a program of the table does with each row: run it, note what came of it, clean up after it.

Imported by the generated programs (programs.py), and so by the workers of pools that import the
program's file again.  Guarantees: what a row gave is in the file before the next one begins; each
row finds a pool that answers.
"""

import _interpreters
import contextlib
import json
import os
import sys
import warnings
from pathlib import Path

HEALTHY_WITHIN = 5.0


class Table:
    """Runs rows on executors that `make` gives, and writes a line for each to the file `path`."""

    def __init__(self, path, make):
        self._path, self._make = path, make
        # A pool may start the program again, in an interpreter or a process of its own.
        first = os.environ.setdefault("TABLE_PROCESS", str(os.getpid()))
        self._first = first == str(os.getpid()) and _interpreters.get_current()[0] == 0
        self.pool = self.make()

    def make(self, **options):
        return self._make(1, **options)

    def row(self, what, call):
        """Run a row; give the pool for the next one."""
        if not self._first:
            call()  # in the plain program, an error here ends it
            return self.pool
        self._note(begun=what)
        with self._kept():
            try:
                saw = repr(call())
            except BaseException as error:  # also what a task's SystemExit makes of `result()`
                saw = f"{type(error).__name__}: {error}"
        self._note(row=what, saw=saw)
        if not self._answers():
            with contextlib.suppress(Exception):
                self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = self.make()
        return self.pool

    def end(self):
        self.pool.shutdown()
        if self._first:
            self._note(ended=True)

    def _note(self, **line):
        # Opened for each line: a notebook's kernel and a terminal have no descriptor of ours.
        with Path(self._path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _answers(self):
        try:
            return self.pool.submit(len, "abc").result(HEALTHY_WITHIN) == 3
        except Exception:
            return False

    @staticmethod
    @contextlib.contextmanager
    def _kept():
        """Undo what a row changes of the process, so that the next finds what this one found."""
        path, argv, environ = list(sys.path), list(sys.argv), dict(os.environ)
        limit = sys.getrecursionlimit()
        try:
            with warnings.catch_warnings():
                yield
        finally:
            sys.path[:], sys.argv[:] = path, argv
            sys.setrecursionlimit(limit)
            for name in os.environ.keys() - environ.keys():
                del os.environ[name]
            os.environ.update(environ)
