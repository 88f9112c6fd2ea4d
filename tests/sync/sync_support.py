"""What the tests of events, queues and locks see of them."""

from subpool._sharing import room
from support import eventually

count = room.count


def waiting(shared):
    """How many stand in line."""
    return shared._core.waiting()


def until_waiting(shared, number=1):
    eventually(lambda: waiting(shared) == number, f"{number} in line for {shared}")
