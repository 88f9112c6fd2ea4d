"""Every row of the table (rows.py), in each form that a program can have.

With every other pool most of these programs fail: docs/compatibility.md.
"""

import ast
import functools
import sys
from importlib.util import find_spec

import programs
import pytest
from rows import FORMS, SCRIPTS, Row, rows

ROWS = rows()


def rows_of(form):
    return [
        row
        for row in ROWS
        if form in row.forms
        and sys.version_info >= row.since
        and (not row.needs or find_spec(row.needs))
    ]


@functools.cache
def report(form):
    """Run all rows of a form in one program, once."""
    return programs.run(rows_of(form), form)


@pytest.mark.parametrize(
    ("form", "row"),
    [pytest.param(form, row, id=f"{form}: {row.what}") for form in FORMS for row in rows_of(form)],
)
def test_row(form, row):
    """Each row names what failed with others: args not shareable, ExecutionFailed, a hang."""
    outcome = report(form).outcomes[row.what]
    assert outcome.right, (
        f"\ngot      {outcome.saw}\nexpected {row.expected}\nin\n{row.setup}{row.call}"
    )


@pytest.mark.parametrize("form", FORMS)
def test_programs_end_well(form):
    """A program that did all its work can still crash at its end, or complain."""
    seen = report(form)
    assert seen.faults == []
    for complaint in ("Exception ignored", "Fatal Python error", "ResourceWarning"):
        assert complaint not in seen.output


def test_the_table_is_a_table():
    """Rows with one name would count once; the acceptance of issue 5 asks for sixty."""
    names = [row.what for row in ROWS]
    assert len(set(names)) == len(names) >= 60


def test_a_typed_program_is_the_program():
    """Empty lines end a statement at the prompt, so a program is typed without them."""
    text = programs.bare(ROWS, programs.SUBPOOL, "notes")
    typed = programs.typed(text)
    assert ast.dump(ast.parse(typed)) == ast.dump(ast.parse(text))


def test_a_row_that_ends_its_program_costs_itself_only():
    """The table must be able to fail, and to go on where a pool crashes."""
    given = [
        Row("right", "", "1 + 1", "2"),
        Row("wrong", "", "1 + 1", "3"),
        Row("ends", "import os\n", "os._exit(3)", "None"),
        Row("not printed", "", "pool.submit(len, 'ab').result()", "2", printed="two"),
        Row("raises", "", "pool.submit(int, 'x').result()", "ValueError: invalid ... 'x'"),
    ]
    seen = programs.run(given, "bare")
    assert [seen.outcomes[row.what].right for row in given] == [True, False, False, False, True]
    assert [fault.split(";")[0] for fault in seen.faults] == ["exit status 3"]


@pytest.mark.parametrize("form", SCRIPTS)
def test_a_program_that_hangs_is_ended(form):
    """Other pools hang in some rows; without an end the benchmark would too."""
    seen = programs.run(
        [Row("waits", "import threading\n", "threading.Event().wait()", "")], form, limit=0.01
    )
    assert not seen.outcomes["waits"].right
    assert seen.outcomes["waits"].saw.startswith("hung")
