"""The check after each test that it left no event, queue or lock behind."""

import gc

import pytest
from sync_support import count

from support import eventually


@pytest.fixture(autouse=True)
def no_thing_left_over():
    before = count()
    yield
    gc.collect()
    eventually(lambda: count() <= before, "the end of all events, queues and locks")
