"""The conformance machinery itself: nothing is missing, nothing passes without our classes."""

import concurrent.futures
import importlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import subpool

from .exceptions import ABOUT_THE_STANDARD_MODULE, EXCEPTIONS
from .guard import no_standard_future, no_standard_pool, nothing_left_over
from .scripts import SCRIPT_HELPERS, rewrite
from .substitution import PACKAGE, load

HAS_INTERPRETER_POOL = sys.version_info >= (3, 14)

# At least so many, counted on 3.13.0, 3.14.8 and 3.15.0.
EXPECTED = (
    {"interpreter": 49, "thread": 56, "future": 20}
    if HAS_INTERPRETER_POOL
    else {"interpreter": 0, "thread": 45, "future": 20}
)


def test_enough_tests_are_collected() -> None:
    """Asks pytest, in a process of its own: this run may be narrowed to a few tests."""
    listing = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"),
            *("-o", "addopts=", str(Path(__file__).with_name("test_cpython.py"))),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )
    assert listing.returncode == 0, listing.stdout + listing.stderr
    collected = {line.partition("::")[2] for line in listing.stdout.splitlines() if "::" in line}
    suite = load()
    assert collected == set(suite.test_ids("interpreter", "thread", "future"))
    counts = Counter[str](suite.kinds[test_id.partition("::")[0]] for test_id in collected)
    assert all(counts[kind] >= least for kind, least in EXPECTED.items()), counts


def test_no_test_class_is_overlooked() -> None:
    assert load().unknown == []


def test_exceptions_are_few_and_explained() -> None:
    kinds = Counter(load().kinds.get(test_id.partition("::")[0]) for test_id in EXCEPTIONS)
    assert kinds["interpreter"] <= 8
    assert kinds["thread"] == kinds["future"] == 0
    assert all(reason.strip() for reason in EXCEPTIONS.values())


@pytest.mark.skipif(not HAS_INTERPRETER_POOL, reason="3.13 has no tests of the interpreter pool")
def test_exceptions_name_tests_that_exist() -> None:
    assert EXCEPTIONS.keys() | ABOUT_THE_STANDARD_MODULE <= set(load().test_ids("interpreter"))


def test_our_classes_are_in_the_tests() -> None:
    suite = load()
    executors = {
        "interpreter": subpool.InterpreterPoolExecutor,
        "thread": subpool.InterpreterThreadPoolExecutor,
        "future": None,
    }
    for name, cls in suite.classes.items():
        assert getattr(cls, "executor_type", None) is executors[suite.kinds[name]]
    util = importlib.import_module(f"{PACKAGE}.util")
    assert type(util.PENDING_FUTURE) is subpool.Future
    for module in ("test_future", "test_as_completed"):
        namespace = vars(importlib.import_module(f"{PACKAGE}.{module}"))
        assert namespace["Future"] is subpool.Future
        assert namespace["PENDING_FUTURE"] is util.PENDING_FUTURE
    for module in ("test_thread_pool", "test_shutdown"):
        futures = vars(importlib.import_module(f"{PACKAGE}.{module}"))["futures"]
        assert futures.ThreadPoolExecutor is subpool.InterpreterThreadPoolExecutor
        assert futures.wait is concurrent.futures.wait


def test_the_standard_module_is_untouched() -> None:
    load()
    assert concurrent.futures.ThreadPoolExecutor.__module__ == "concurrent.futures.thread"
    assert concurrent.futures.Future.__module__ == "concurrent.futures._base"
    helper = importlib.import_module("test.support.script_helper")
    for name in SCRIPT_HELPERS:
        assert getattr(helper, name).__globals__["__name__"] == helper.__name__


def test_a_standard_class_is_refused(tmp_path: Path) -> None:
    script = "from concurrent.futures import ThreadPoolExecutor"
    script_file = tmp_path / "script.py"
    script_file.write_text(script)
    with no_standard_pool():
        with pytest.raises(AssertionError, match="standard ThreadPoolExecutor"):
            concurrent.futures.ThreadPoolExecutor(1)
        if sys.version_info >= (3, 14):
            with pytest.raises(AssertionError, match="standard InterpreterPoolExecutor"):
                concurrent.futures.InterpreterPoolExecutor(1)
        for command in (["-c", script], ["-I", str(script_file)]):
            with pytest.raises(AssertionError, match="script that uses a standard pool"):
                subprocess.run([sys.executable, *command], check=True)
        subpool.InterpreterThreadPoolExecutor(1).shutdown()
    with no_standard_future(), pytest.raises(AssertionError, match="standard Future"):
        concurrent.futures.Future()
    concurrent.futures.ThreadPoolExecutor(1).shutdown()
    assert not concurrent.futures.Future().done()


def test_a_thread_left_over_is_a_failure() -> None:
    support: Any = importlib.import_module("test.support")
    with pytest.raises(AssertionError, match="left a thread"), nothing_left_over():
        support.environment_altered = True  # what CPython's tearDown does
    with nothing_left_over():
        assert not support.environment_altered


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "if 1:\n    from concurrent.futures import InterpreterPoolExecutor\n    x",
            "if 1:\n    from subpool import InterpreterPoolExecutor\n    x",
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor",
            "from subpool import InterpreterThreadPoolExecutor as ThreadPoolExecutor",
        ),
        (
            "from concurrent.futures import InterpreterThreadPoolExecutor",
            "from subpool import InterpreterThreadPoolExecutor",
        ),
        (
            "from concurrent.futures import wait, InterpreterPoolExecutor",
            "from concurrent.futures import wait; from subpool import InterpreterPoolExecutor",
        ),
        ("from concurrent.futures import ProcessPoolExecutor", None),
        ("directory/script.py", None),
    ],
)
def test_scripts_import_from_subpool(script: str, expected: str | None) -> None:
    assert rewrite(script) == (script if expected is None else expected)


@pytest.mark.parametrize(
    "script",
    [
        "from concurrent import futures\nfutures.ThreadPoolExecutor(5)",
        "import concurrent.futures as f\nf.InterpreterPoolExecutor(5)",
        "from concurrent.futures import (\n    ThreadPoolExecutor,\n)",
        "from concurrent.futures import ThreadPoolExecutor\nconcurrent.futures.ThreadPoolExecutor",
    ],
)
def test_a_script_that_would_keep_the_standard_pool_is_refused(script: str) -> None:
    with pytest.raises(AssertionError, match=r"pool from concurrent\.futures"):
        rewrite(script)
