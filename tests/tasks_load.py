"""Task functions of the load test and the soak. Imported in every worker, so it imports little."""

import tasks
from subpool import TaskInterrupted


def block_and_fail(started, release):
    """An initializer that fails when it is let go."""
    tasks.block(started, release)
    raise LookupError


def spin():
    """Never end by itself."""
    while True:
        pass


def tidy_up(value):
    """Never end by itself, and end well when interrupted."""
    try:
        spin()
    except TaskInterrupted:
        return value


def leave(status):
    raise SystemExit(status)
