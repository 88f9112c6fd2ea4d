"""Fixtures of the anyio integration's tests."""

import anyio
import pytest
from anyio_support import BACKENDS

from subpool.integrations import anyio as integration


@pytest.fixture
def fresh_pool(monkeypatch, gate):
    """No pool yet, as in a new process; the one that comes is shut down."""
    monkeypatch.setattr(integration, "_the_pool", None)
    yield
    gate.open(64)  # what a failed test still holds
    if integration._the_pool is not None:
        integration._the_pool.terminate_workers()  # a failed test's, that spin
        integration._the_pool.shutdown()


@pytest.fixture(params=BACKENDS)
def run(request, fresh_pool):
    """Run an async function on a backend."""
    return lambda main: anyio.run(main, backend=request.param)
