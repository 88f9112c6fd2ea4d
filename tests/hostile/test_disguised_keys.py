"""Keys with the hash of a name, whose `__eq__` raises, where the look after a failure looks."""

import pytest
from disguised import fail_in_disguise

import tasks
from subpool import InterpreterPoolExecutor


@pytest.mark.parametrize("name", ["sys", "_subpool_worker", "stdout"])
def test_a_key_that_raises_when_it_is_compared(name):
    """The look left that exception set behind it: the debug build ended the process."""
    with InterpreterPoolExecutor(1) as pool:
        error = pool.submit(fail_in_disguise, name).exception()
        assert type(error) is ValueError
        assert [pool.submit(tasks.add, i, i).result() for i in range(3)] == [0, 2, 4]
