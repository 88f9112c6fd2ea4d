"""Fixtures, and the check after each test that it left no thread and no interpreter behind."""

import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test

import postgres
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, _default
from support import Gate, Outcome, eventually, interpreters, os_threads, unless_absent
from tasks_context import request, user

TESTS = Path(__file__).parent
# Live on by design: the completer's threads, one set per process, started by the first listener;
# and those of polars' allocator, which come back after a fork.
PER_PROCESS = ("subpool-", "jemalloc_bg_thd")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="repeat as often as the docs say")


@pytest.fixture(scope="session")
def times(request):
    """How often to try something: seldom in CI, as often as the docs say with ``--long``."""
    is_long = request.config.getoption("long")
    return lambda short, *, long: range(long if is_long else short)


@pytest.fixture(autouse=True)
def nothing_left_over(request):
    """Fail a test after which a thread or an interpreter lives that did not before."""
    if request.path.parent.name == "conformance":  # it has a guard of its own
        yield
        return
    threads, before = set(os_threads()), interpreters()
    # What there is now is no garbage of this test. To look at it all after each of them took half
    # of the suite's time. Hypothesis looks for what refers to its random numbers, and does not find
    # it if it is frozen.
    if not is_hypothesis_test(request.function):
        gc.freeze()
    yield
    gc.collect()
    gc.unfreeze()

    def strangers():
        return [
            name
            for number, name in os_threads().items()
            if number not in threads and not name.startswith(PER_PROCESS)
        ]

    eventually(lambda: not strangers(), f"the end of the threads {strangers()}")
    assert interpreters() <= before, "an interpreter was left over"


@pytest.fixture
def gate():
    """Pipes that hold tasks until the test lets them go."""
    gate = Gate()
    yield gate
    gate.close()


@pytest.fixture
def pipe():
    """A reading and a writing end: a task writes to it when it runs."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def open_in_fork(gate):
    """Open the gate when a fork waits for the pool: no sooner, or the tasks would be done."""
    threads = []

    def open_in_fork(pool):
        core = pool._pool

        def run():
            eventually(lambda: core.resting, "the fork")
            gate.open()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield open_in_fork
    for thread in threads:
        thread.join()


@pytest.fixture
def closing(gate):
    """Give an executor that is shut down after the test, however that ended."""
    executors = []

    def closing(executor):
        executors.append(executor)
        return executor

    yield closing
    gate.open(64)  # what a failed test still holds
    for executor in executors:
        executor.shutdown()


@pytest.fixture
def executor(closing):
    """An executor of the kind that routes, with two threads and two interpreters."""
    return closing(InterpreterThreadPoolExecutor(2, max_interpreters=2))


@pytest.fixture
def pool(closing):
    """An executor whose every call runs in an interpreter: one worker, so in order."""
    return closing(InterpreterPoolExecutor(1))


@pytest.fixture
def pool2(closing):
    """The same with two workers."""
    return closing(InterpreterPoolExecutor(2))


@pytest.fixture
def default_pool(monkeypatch):
    """The process-wide pool's `default_pool`, as if the process had just begun."""
    monkeypatch.setattr(_default, "_pool", None)
    monkeypatch.setattr(_default, "_options", {})
    yield _default.default_pool
    if _default._pool is not None:
        _default._pool.shutdown()


@pytest.fixture(scope="session")
def postgres_socket():
    """The folder with the socket of a PostgreSQL server, one for all tests that want it."""
    running = postgres.server()
    with unless_absent():
        folder = running.__enter__()
    yield str(folder)
    running.__exit__(None, None, None)


@pytest.fixture
def child_env():
    """The environment of child processes: they find `tasks` where this process does."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path}
    # A child must behave as a user's program does.
    for name in ("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONFAULTHANDLER"):
        env.pop(name, None)
    return env


@pytest.fixture
def script(tmp_path, child_env):
    """Run a program in a child process, as a file, with ``-c``, or from standard input."""

    def run(code, *, how="file", timeout=60, args=()):
        given = None
        match how:
            case "file":
                file = tmp_path / "program.py"
                file.write_text(code)
                words = [str(file)]
            case "-c":
                words = ["-c", code]
            case "stdin":
                words, given = ["-"], code
            case "-i":
                words, given = ["-i", "-q"], code
        done = subprocess.run(
            [sys.executable, *words, *args],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=child_env,
            cwd=tmp_path,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def check(script):
    """Run a program that must end well and say nothing on standard error; give its output."""

    def run(code, **options):
        rc, out, err = script(code, **options)
        assert rc == 0, f"exit code {rc}\n{out}\n{err}"
        assert err == "", err
        return out

    return run


@pytest.fixture
def warned(monkeypatch):
    """The warnings shown so far."""
    shown = []
    monkeypatch.setattr(
        warnings,
        "showwarning",
        lambda message, category, *_: shown.append((category, str(message))),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield shown


@pytest.fixture
def assign():
    """Set a context variable until the test's end."""
    tokens = []

    def assign(variable, value):
        tokens.append((variable, variable.set(value)))

    yield assign
    for variable, token in reversed(tokens):
        variable.reset(token)


@pytest.fixture
def carrying(closing):
    """A pool of one worker that carries two context variables."""
    return closing(InterpreterPoolExecutor(1, context_vars=(request, user)))
