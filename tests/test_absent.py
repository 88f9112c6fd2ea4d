"""What a machine does not have is left out of a user's run, and fails one of CI's."""

import sys
from pathlib import Path

import pytest

import postgres
from support import Absent, unless_absent

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture
def no_programs(monkeypatch):
    """A machine without PostgreSQL, a browser, and Debian's archive."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(postgres, "programs", refuse(postgres.Unavailable))
    monkeypatch.syspath_prepend(EXAMPLES)
    import browser

    monkeypatch.setattr(browser, "program", refuse(browser.NoBrowser))
    yield browser
    del sys.modules["browser"]


def refuse(kind):
    def refuse():
        raise kind("apt-get: no network")

    return refuse


@pytest.mark.parametrize("what", ["PostgreSQL", "browser"])
@pytest.mark.parametrize(
    ("ci", "outcome"), [("1", pytest.fail.Exception), (None, pytest.skip.Exception)]
)
def test_what_is_absent(no_programs, monkeypatch, what, ci, outcome):
    """All tests on PostgreSQL, and in a browser, could vanish from CI, and that stayed green."""
    monkeypatch.delenv("CI", raising=False)
    if ci:
        monkeypatch.setenv("CI", ci)
    start = {"PostgreSQL": postgres.server().__enter__, "browser": no_programs.Page}[what]
    with pytest.raises(outcome, match=f"no {what}: apt-get: no network"), unless_absent():
        start()


def test_an_error_of_another_kind_is_none_of_that():
    with pytest.raises(ZeroDivisionError), unless_absent():
        raise ZeroDivisionError
    assert not issubclass(AssertionError, Absent)
