"""CPython's tests of ``concurrent.futures``, as pytest collects them: see the package's docstring.

One id per test of CPython, such as ``test_cpython.py::ThreadPoolShutdownTest::test_del_shutdown``.
"""

import sys
import unittest
from collections.abc import Iterator

import pytest

from .guard import no_event_loop_policy
from .substitution import load

# pytest collects the test classes that it finds among a module's names.
globals().update(load().classes)

# CPython's suite expects the default filters, not ours that turn each warning into an error. Two
# of its tests fork beside threads; the one of them that is about the warning catches it itself.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings(r"ignore:.*use of fork\(\) may lead to deadlocks"),
]


@pytest.fixture(scope="class", autouse=True)
def _cpython_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run ``setUpModule`` of the module that the class comes from, and its clean-ups.

    pytest would take neither from the modules of CPython: it does not know them, and it does not
    run ``unittest.addModuleCleanup``.
    """
    assert request.cls is not None
    no_event_loop_policy()
    sys.modules[request.cls.__module__].setUpModule()
    try:
        yield
    finally:
        unittest.doModuleCleanups()
