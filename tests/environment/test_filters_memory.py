"""Filters of warnings that a worker has from main, at the end of its interpreter."""

import warnings

import tasks
from soak import megabytes
from subpool import InterpreterPoolExecutor


class OwnWarning(Warning):
    pass


def test_filters_do_not_keep_the_interpreters_memory():
    """One with a pattern, as numpy sets it, cost 2 MB for each interpreter that was closed."""

    def live():
        with InterpreterPoolExecutor(1) as pool:
            pool.submit(tasks.nothing).result()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="a pattern")
        warnings.simplefilter("ignore", OwnWarning)
        for _ in range(2):
            live()
        before = megabytes()
        for _ in range(6):
            live()
        grown = megabytes() - before
    assert grown < 6, f"it has grown by {grown:.1f} MB"
