"""Callables by value, in each form that a program can have: the rows of `rows_by_value.py`."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rows_by_value

import tasks
from subpool import interpreter

HERE = Path(__file__).parent
REGISTERED = """
import rows_by_value, subpool
subpool.register_by_value(rows_by_value)
rows_by_value.main()
"""
FORMS = {
    "script": ["rows_by_value.py"],
    "module": ["-m", "rows_by_value"],
    "registered": ["-c", REGISTERED],
}


@pytest.fixture(scope="module", params=FORMS)
def failed(request):
    """Run all rows once in a process of their own; give what failed."""
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [sys.executable, *FORMS[request.param]],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=HERE,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("row", rows_by_value.ROWS)
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
        assert "cannot send back result" in str(error)
        assert advice in str(error)


def test_a_method_that_a_decorator_has_renamed(pool):
    """By reference: the function is found as an attribute that its object does not have."""
    renamed = tasks.Renamed()
    assert pool.submit(renamed.method, 1).result() == ("wrapped", 1)
    assert pool.submit(functools.partial(interpreter(renamed.method), 2)).result() == ("wrapped", 2)
