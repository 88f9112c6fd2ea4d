"""What several tests of this suite use on the main interpreter's side."""

import _interpreters
import contextlib
import ctypes
import gc
import json
import os
import time
import traceback
from contextvars import Context
from pathlib import Path
from typing import NamedTuple

# A thread that was joined may stay in /proc a moment longer: its last wake-up precedes its end.
DEADLINE = 20


class Outcome(NamedTuple):
    """How a child process ended."""

    rc: int
    out: str
    err: str


class Absent(Exception):  # noqa: N818
    """Says what this machine does not have, and why."""


@contextlib.contextmanager
def unless_absent():
    """Skip the tests that need what is absent; in CI fail them, for nobody sees there what is gone.

    So a `make test` without a network is green, and says what it has left out.
    """
    import pytest  # not where programs of their own use this module

    try:
        yield
    except Absent as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error}\nCI is set, so this is not skipped", pytrace=False)
        pytest.skip(str(error))


class Gate:
    """Two pipes for `tasks.block`: the task says that it runs, and waits to be let go."""

    def __init__(self):
        self._started, self._started_end = os.pipe()
        self._release_end, self._release = os.pipe()

    @property
    def fds(self):
        return self._started_end, self._release_end

    def wait(self, tasks=1):
        """Block until so many tasks run."""
        for _ in range(tasks):
            os.read(self._started, 1)

    def open(self, tasks=1):
        os.write(self._release, b"r" * tasks)

    def close(self):
        for fd in (self._started, self._started_end, self._release, self._release_end):
            os.close(fd)


def interpreters():
    """The numbers of all living interpreters."""
    return {int(number) for number, *_ in _interpreters.list_all()}


def os_threads():
    """The operating system's threads of this process: number to name."""
    tasks, before = Path("/proc/self/task"), None
    # The kernel's listing breaks off where a thread ends meanwhile, and the living after it are
    # missing: 1 of 1,000 listings beside an ending thread.
    while (listed := set(tasks.iterdir())) != before:
        before = listed
    threads = {}
    for task in listed:
        try:
            threads[int(task.name)] = (task / "comm").read_text().rstrip("\n")
        except OSError:  # it ended meanwhile
            continue
    return threads


def megabytes():
    """What nobody but this process has in memory, without what its allocators keep for later.

    RSS has the shared pages of libraries as well; Pss depends on who else has them.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no Private_Dirty")


def eventually(condition, what):
    """Wait for something that follows without our doing."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"did not happen: {what}")
        os.sched_yield()


def asleep(child):
    """Whether the main thread sleeps and has no signal to handle, or the program has ended."""
    if child.poll() is not None:
        return True
    text = Path(f"/proc/{child.pid}/task/{child.pid}/status").read_text()
    status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    return status["State"].startswith("S") and not pending


def resizable(buffer):
    """Whether nobody sees the bytearray's memory any more: CPython refuses to resize it before."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    del buffer[-1]
    return True


def join_workers(threads):
    """Wait for worker threads whose executor nobody can shut down any more."""
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def causes(error):
    """The texts of an exception's chain of causes."""
    texts = []
    while error.__cause__ is not None:
        error = error.__cause__
        texts.append(str(error))
    return texts


def fresh(function, *args):
    """Run in a context in which nothing is set."""
    return Context().run(function, *args)


def run_rows(rows):
    """Run checks that take a way to call functions in one pool; give what failed, as JSON."""
    from subpool import InterpreterPoolExecutor

    failed = {}
    with InterpreterPoolExecutor(1) as ex:
        for name, check in rows.items():
            try:
                check(lambda fn, *args, **kwargs: ex.submit(fn, *args, **kwargs).result(20))
            except BaseException:
                failed[name] = traceback.format_exc()
    return json.dumps(failed)
