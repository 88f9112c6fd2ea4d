"""Events in calls that no interpreter can run."""

import pytest

import tasks_sync
from subpool import Event, InterpreterPoolExecutor, NotTransferableError

# Here, since it starts threads in whichever interpreter imports it first.
pytest.importorskip("numpy")


def test_in_a_process(closing):
    """There is no way for it to be the same event there."""
    pool = closing(InterpreterPoolExecutor(1, fallback="process"))
    with pytest.raises(NotTransferableError, match="belongs to another process"):
        pool.submit(tasks_sync.needs_refused, Event()).result()


def test_on_a_thread(closing):
    pool = closing(InterpreterPoolExecutor(1, fallback="thread"))
    event = Event()
    _, given = pool.submit(tasks_sync.needs_refused, event).result()
    assert given == event
