"""Keys with the hash of a name, whose `__eq__` raises, where the look after a failure looks."""

import pytest
from disguised import fail_in_disguise

import tasks
from subpool import InterpreterPoolExecutor, NotTransferableError


@pytest.mark.parametrize("name", ["sys", "_subpool_worker", "stdout"])
def test_a_key_that_raises_when_it_is_compared(name):
    """The look left that exception set behind it, for whatever came next to trip over."""
    with InterpreterPoolExecutor(1) as pool:
        error = pool.submit(fail_in_disguise, name).exception()
        # What cannot be told without `sys` is told to be lost.
        assert type(error) in (ValueError, NotTransferableError)
        assert [pool.submit(tasks.add, i, i).result() for i in range(3)] == [0, 2, 4]
