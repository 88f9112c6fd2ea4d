"""Task functions of the tests that await. Imported in every worker, so it imports little."""

import os

import tasks
from subpool import TaskInterrupted


def mark(fd, number):
    """Leave a trace in a file that all interpreters append to, and give the number back."""
    os.write(fd, number.to_bytes(4))
    return number


def mark_and_fail(fd, number):
    os.write(fd, number.to_bytes(4))
    raise tasks.CustomError(number, "expected")


def mark_and_spin(fd, number):
    os.write(fd, number.to_bytes(4))
    while True:
        pass


def mark_and_tidy_up(fd, number):
    """Spin until it is interrupted, and end as if nothing had happened."""
    os.write(fd, number.to_bytes(4))
    try:
        while True:
            pass
    except TaskInterrupted:
        return number
