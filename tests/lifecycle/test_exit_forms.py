"""Programs that end in every way there is: no hang, no crash, no word too many."""

import exit_late
import exit_programs
import pytest
from exit_base import PRELUDE
from exit_children import Children, chosen

PROGRAMS = exit_programs.PROGRAMS | exit_late.PROGRAMS


@pytest.fixture(scope="module")
def children(request, tmp_path_factory, times):
    """Run the programs whose tests were chosen."""
    rows = chosen(request, PROGRAMS)
    children = Children(tmp_path_factory.mktemp("exit"), rows, PRELUDE, times(1, long=100))
    yield children
    children.close()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(children, name):
    """What each must do is in its row; a hundred times with ``--long``."""
    children.check(name, PROGRAMS[name])
