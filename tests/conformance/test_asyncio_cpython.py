"""CPython's tests of asyncio with our executor behind every event loop: see `asyncio_suite`.

One id per module of CPython; what fails in it is named.
"""

import asyncio
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .asyncio_child import PACKAGE, ours_as_default
from .asyncio_suite import (
    LIMIT,
    MODULES,
    NO_EXECUTOR,
    WINDOWS,
    Outcome,
    Runs,
    read,
    run_child,
)
from .guard import no_standard_pool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3 * LIMIT),  # the children are timed themselves, and tell where they hung
]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    """Start the modules that this session asks for, all of them at once."""
    wanted = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == Path(__file__)
        and item.originalname == test_module.__name__
    ]
    runs = Runs(wanted)
    try:
        yield runs
    finally:
        runs.close()


def named(outcomes: list[Outcome]) -> str:
    return "\n".join(f"{one.test}\n{one.detail}" for one in outcomes)


@pytest.mark.parametrize("name", MODULES)
def test_module(runs: Runs, name: str) -> None:
    """A program that gives its loop our executor found something to work otherwise than before."""
    module = runs[name]
    ours, standard = module.ours, module.standard
    assert not ours.trouble, ours.trouble
    assert not standard.trouble, standard.trouble

    mine = [one for one in ours.failed if one.test in standard.passed]
    assert not mine, f"these pass with the standard executor:\n{named(mine)}"
    others = standard.failed or ours.failed
    assert not others, (
        f"these fail with the standard executor, so not by our doing:\n{named(others)}"
    )

    passed_or_skipped = {one.test for one in standard.outcomes if one.outcome != "failed"}
    assert passed_or_skipped >= set(ours.users), "these ran with the standard executor too"
    assert len(ours.users) >= MODULES[name], "the tests did not get our executor"


def test_every_module_is_run_or_left_out_for_a_reason() -> None:
    """A module that a later Python brings was never looked at."""
    package: Any = importlib.import_module(PACKAGE)
    found = {info.name for info in pkgutil.iter_modules(package.__path__)}
    found = {name for name in found if name.startswith("test_")}
    assert found - set(MODULES) == found & (NO_EXECUTOR | WINDOWS)


def test_a_loop_gets_ours_and_nothing_else() -> None:
    """A loop that made a standard executor all the same would have passed every test."""
    with no_standard_pool():
        with pytest.raises(AssertionError, match="standard ThreadPoolExecutor"):
            asyncio.run(asyncio.to_thread(int))
        with ours_as_default():
            assert asyncio.run(asyncio.to_thread(int)) == 0


def test_a_child_counts_what_ours_was_given() -> None:
    """The count that proves the use of ours was one that grows in any case."""
    names = [f"test_threads.ToThreadTests.{name}" for name in ("test_to_thread_concurrent",)]
    ours, standard = run_child("ours", names), run_child("standard", names)
    assert [(one.outcome, one.uses) for one in ours.outcomes] == [("passed", 10)]
    assert [(one.outcome, one.uses) for one in standard.outcomes] == [("passed", 0)]
    assert not ours.trouble + standard.trouble


def test_what_goes_wrong_in_a_child_is_told() -> None:
    """A child that failed, crashed or hung looked like one without tests."""
    missing = run_child("ours", ["test_threads.ToThreadTests.test_no_such_thing"])
    assert [one.outcome for one in missing.outcomes] == ["failed"]
    assert run_child("ours", ["test_no_such_module"]).trouble.startswith("exit status 1")
    begun = [json.dumps({"begun": "test_threads.Class.test"})]
    assert "exit status -11 in test_threads.Class.test" in read(begun, -11, "").trouble
    assert "not done" in read(begun, None, "").trouble
    assert "ended early" in read([], 0, "").trouble
