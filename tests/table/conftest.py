"""Nothing here makes a pool in this process: programs of their own do."""

import pytest


@pytest.fixture(autouse=True)
def nothing_left_over():
    """Stands for the check of the other tests, which would take longer than these."""
