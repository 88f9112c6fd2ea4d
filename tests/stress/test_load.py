"""Threads and event loops, and all that may happen to a call: each ends once, and rightly."""

import logging
import os

import pytest

from load import run_mix
from subpool import InterpreterThreadPoolExecutor


@pytest.fixture(autouse=True)
def quiet(caplog):
    """What callbacks raise is logged."""
    caplog.set_level(logging.CRITICAL, "concurrent.futures")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bound", [None, 16], ids=["unbounded", "max_pending"])
def test_load(bound, request):
    """Whatever shows only when all come together: lost wake-ups, ends told twice, lost calls."""
    seed = os.environ.get("SEED", "1")
    calls = 1_000_000 if request.config.getoption("long") else 4000
    executor = InterpreterThreadPoolExecutor(
        max_interpreters=2, max_tasks_per_interpreter=1000, max_pending=bound
    )
    print(f"SEED={seed}", run_mix(executor, seed, calls))
