"""The tasks."""

import time

from django.tasks import task


@task
def nothing(number: int) -> int:
    return number


@task
def compute(milliseconds: int) -> int:
    """Work for so much time of a CPU."""
    turns, end = 0, time.thread_time() + milliseconds / 1000
    while time.thread_time() < end:
        turns += 1
    return turns
