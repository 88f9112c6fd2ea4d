"""Before 3.14 Python tells the system no names of threads, so ours look like a test's own."""

import sys

import pytest

from subpool import _fallback


@pytest.fixture(autouse=sys.version_info < (3, 14))
def brief_lanes(monkeypatch):
    """Let them end at once, or each test is followed by ten seconds of waiting for that."""
    monkeypatch.setattr(_fallback, "_IDLE", 0.05)
