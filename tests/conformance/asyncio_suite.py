"""CPython's tests of asyncio: which, and the child processes that run them.

Every module runs in a process of its own, two at a time, since much of a test is waiting. What
used one of our executors, and what failed, runs a second time with the standard executor: so a
failure is known to be ours, or not to be.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parent.parent
LIMIT = 400  # seconds that one process may take; the longest module takes some 20
AT_A_TIME = 2

# With the number of tests that use an executor, at least so many, counted on 3.14.8 and 3.15.0.
# The longest first, so that none of them is left at the end.
MODULES = {
    "test_tasks": 5,
    "test_events": 18,
    "test_taskgroups": 0,
    "test_subprocess": 0,
    "test_sendfile": 21,
    "test_sock_lowlevel": 3,
    "test_free_threading": 8,
    "test_base_events": 11,
    "test_futures": 12,
    "test_streams": 3,
    "test_unix_events": 10,
    "test_selector_events": 1,
    "test_timeouts": 0,
    "test_runners": 0,
    "test_futures2": 0,
    "test_threads": 6,
}
if sys.version_info < (3, 14):  # 3.13.0
    MODULES |= {"test_sendfile": 18, "test_streams": 2}
    del MODULES["test_free_threading"]

# Left out: no test of these ever comes to an executor, which takes them 25 s to find out.
NO_EXECUTOR = {
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_graph",
    "test_locks",
    "test_pep492",
    "test_proactor_events",
    "test_protocols",
    "test_queues",
    "test_server",
    "test_server_context",
    "test_ssl",
    "test_sslproto",
    "test_staggered",
    "test_tools",
    "test_transports",
    "test_waitfor",
}
WINDOWS = {"test_windows_events", "test_windows_utils"}


@dataclass
class Outcome:
    """What became of one test."""

    test: str
    outcome: str  # passed, failed, skipped
    detail: str
    uses: int  # calls that our executors got


@dataclass
class Run:
    """What one child process told."""

    outcomes: list[Outcome] = field(default_factory=list)
    trouble: str = ""  # why it did not come to its end

    @property
    def failed(self) -> list[Outcome]:
        return [one for one in self.outcomes if one.outcome == "failed"]

    @property
    def passed(self) -> set[str]:
        return {one.test for one in self.outcomes if one.outcome == "passed"}

    @property
    def users(self) -> list[str]:
        """The tests in which our executors got calls."""
        return [one.test for one in self.outcomes if one.uses]


@dataclass
class Module:
    """One module of CPython's, run with our executor, and part of it with the standard one."""

    ours: Run
    standard: Run


_alive: set[subprocess.Popen[bytes]] = set()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child with all that it started, and forget it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _alive.discard(process)


def run_child(kind: str, names: Iterable[str]) -> Run:
    """Run these tests with our executor (`ours`) or as CPython does (`standard`)."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    # As regrtest runs them: the default filters instead of ours, str and bytes never compared.
    command = (sys.executable, "-W", "default", "-bb", "-m", "conformance.asyncio_child", kind)
    with tempfile.TemporaryDirectory(prefix="subpool-asyncio-") as folder:
        found, log = Path(folder) / "found", Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*command, found, *names],
                env={**os.environ, "PYTHONPATH": path},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # to be ended with all that it started
            )
            _alive.add(process)
            try:
                status = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                # Prints every thread's stack.
                process.send_signal(signal.SIGABRT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                status = None
            finally:
                end(process)
        said = log.read_text(errors="replace")
        lines = found.read_text().splitlines() if found.exists() else []
    return read(lines, status, said)


def read(lines: list[str], status: int | None, said: str) -> Run:
    """Make sense of what a child left, also of one that was cut short."""
    run, running, ended = Run(), "", False
    for line in lines:
        entry = json.loads(line)
        if "begun" in entry:
            running = entry["begun"]
        elif "end" in entry:
            ended = True
        else:
            run.outcomes.append(Outcome(**entry))
            running = ""
    if status is None:
        run.trouble = f"not done after {LIMIT} s"
    elif status:
        run.trouble = f"exit status {status}"
    elif not ended:
        run.trouble = "ended early"
    if run.trouble:
        where = f" in {running}" if running else " after its tests" if ended else ""
        run.trouble += f"{where}\n{said[-6000:]}"
    return run


def run_module(name: str) -> Module:
    ours = run_child("ours", [name])
    again = [*ours.users, *(one.test for one in ours.failed)]
    # What failed outside of a test, in setUpClass or its like, has no name to run it by.
    again = list(dict.fromkeys(test for test in again if test.startswith("test_")))
    return Module(ours, run_child("standard", again) if again else Run())


class Runs:
    """All modules asked for, on their way as soon as this is made."""

    def __init__(self, names: Iterable[str]) -> None:
        self._threads = futures.ThreadPoolExecutor(AT_A_TIME)
        self._running = {name: self._threads.submit(run_module, name) for name in names}

    def __getitem__(self, name: str) -> Module:
        return self._running[name].result()

    def close(self) -> None:
        """End what still runs: after Ctrl-C, or ``-x`` and a failure."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(_alive):
            end(process)
        self._threads.shutdown()
