"""pytest's side of the conformance tests: the listed exceptions, and the guard around each test."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import pytest

from .exceptions import ABOUT_THE_STANDARD_MODULE, EXCEPTIONS
from .guard import no_root_handlers, no_standard_future, no_standard_pool, nothing_left_over
from .substitution import load

CPYTHON = Path(__file__).with_name("test_cpython.py")


def _test_id(item: pytest.Item) -> str | None:
    """Return ``Class::test_method`` of a test of CPython, None for any other."""
    return item.nodeid.partition("::")[2] if item.path == CPYTHON else None


def pytest_itemcollected(item: pytest.Item) -> None:
    reason = EXCEPTIONS.get(_test_id(item) or "")
    if reason is not None:
        item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


# trylast: inside pytest's own wrappers, of which the one for logging adds its handlers.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    test_id = _test_id(item)
    if test_id is None:
        return (yield)
    with contextlib.ExitStack() as stack:
        stack.enter_context(no_root_handlers())
        stack.enter_context(nothing_left_over())
        if test_id not in ABOUT_THE_STANDARD_MODULE:
            stack.enter_context(no_standard_pool())
        if load().kinds[test_id.partition("::")[0]] == "future":
            stack.enter_context(no_standard_future())
        return (yield)
