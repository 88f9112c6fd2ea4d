"""Callables by value: the rows of `rows_functions.py` and `rows_classes.py`, in two forms."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rows_classes
import rows_functions

import tasks_callables
from subpool import interpreter

HERE = Path(__file__).parent
REGISTERED = """
import {0}, subpool
from support import run_rows
subpool.register_by_value({0})
print(run_rows({0}.ROWS))
"""
PROGRAMS = (rows_functions, rows_classes)


@pytest.fixture(scope="module", params=["script", "registered"])
def failed(request):
    """Run all rows once, each program in a process of its own; give what failed."""
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    failed = {}
    for program in PROGRAMS:
        name = program.__name__
        script = request.param == "script"
        done = subprocess.run(
            [sys.executable, *([f"{name}.py"] if script else ["-c", REGISTERED.format(name)])],
            capture_output=True,
            text=True,
            timeout=100,
            cwd=HERE,
            env=env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        failed.update(json.loads(done.stdout))
    return failed


@pytest.mark.parametrize("row", [row for program in PROGRAMS for row in program.ROWS])
def test_by_value(failed, row):
    """Each row tells what went wrong once."""
    assert row not in failed, failed[row]


def test_a_call_that_only_prepares_its_work(pool):
    """The error spoke of pickle, and Python of a coroutine that was never awaited."""

    async def coroutine():
        return 1

    def generator():
        yield 1

    for fn, advice in [(coroutine, "asyncio.run"), (generator, "a list")]:
        error = pool.submit(fn).exception()
        assert "cannot send back the result" in str(error)
        assert advice in str(error)


def test_a_method_that_a_decorator_has_renamed(pool):
    """By reference: the function is found as an attribute that its object does not have."""
    renamed = tasks_callables.Renamed()
    assert pool.submit(renamed.method, 1).result() == ("wrapped", 1)
    assert pool.submit(functools.partial(interpreter(renamed.method), 2)).result() == ("wrapped", 2)
