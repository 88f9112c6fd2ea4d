"""Task functions of the tests that await. Imported in every worker, so it imports little."""

import os

import tasks


def mark(fd, number):
    """Leave a trace in a file that all interpreters append to, and give the number back."""
    os.write(fd, number.to_bytes(4))
    return number


def mark_and_fail(fd, number):
    os.write(fd, number.to_bytes(4))
    raise tasks.CustomError(number, "expected")
