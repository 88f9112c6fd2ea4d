"""A plug-in for pytest (`-p profiled`): a profile function in all threads, from begin to end."""

import threading

CALLS = 0


def count(_frame, _event, _argument):
    global CALLS
    CALLS += 1


def pytest_sessionstart():
    threading.setprofile_all_threads(count)


def pytest_sessionfinish():
    threading.setprofile_all_threads(None)
    assert CALLS > 1_000
