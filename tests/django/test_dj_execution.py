"""What happens to a task in an interpreter, tried in main."""

import pytest
from django.db import ProgrammingError, connection, connections

from subpool import TaskInterrupted
from subpool.integrations.django import execution
from subpool.integrations.django.stores import Record, StoreUnavailable


class NoBeginning:
    """A store that cannot say that a task begins."""

    def __init__(self, error):
        self.error = error

    def begin(self, *_):
        raise self.error


@pytest.mark.parametrize(
    ("error", "known_as"),
    [
        (ProgrammingError("Cannot operate on a closed database."), StoreUnavailable),
        (StoreUnavailable("away"), StoreUnavailable),
        (TaskInterrupted("now"), TaskInterrupted),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_task_that_cannot_begin_has_not_failed(monkeypatch, error, known_as):
    """It was FAILED with no attempt, for what was no fault of its own."""
    monkeypatch.setattr(execution, "_store", NoBeginning(error))
    with pytest.raises(known_as, match=str(error)):
        execution.run("me", "a", None)


def test_a_transaction_in_which_the_end_would_be_noted(monkeypatch, caplog):
    """It would never be seen. What the task has done in it is lost, too, and so it is said."""
    noted = []

    class Notes:
        def begin(self, *_):
            return Record(
                id="a",
                task="dj_app.tasks.leave_transactions",
                backend="default",
                args=["left", "default"],
            )

        def finish(self, *_):
            noted.append((connection.in_atomic_block, connections["queue"].autocommit))

    monkeypatch.setattr(execution, "_store", Notes())
    assert execution.run("me", "a", None)
    assert noted == [(False, False)]  # the latter is closed, and has autocommit when it opens
    assert connections["queue"].connection is None
    assert "left atomic() open for the database 'default'" in caplog.text
    connections.close_all()
