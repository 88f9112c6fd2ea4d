"""README's code runs: each ```python block is a program of its own, unless it says otherwise.

A block that cannot stand alone is preceded by the comment ``<!-- not run -->``.
"""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"(<!-- not run -->\s*)?^```python[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(text):
    """The programs in a Markdown text, in order."""
    return [code for skipped, code in BLOCK.findall(text) if not skipped]


PROGRAMS = blocks(README.read_text("utf-8")) if README.exists() else []


def test_readme_has_a_program():
    """A README without code, or with none that is run, passed as well."""
    assert PROGRAMS, "README.md has no ```python block"


def test_the_blocks_are_found():
    """The pattern must find what a reader sees as a program, and leave out what is marked."""
    text = "a\n```python\nx = 1\n```\n<!-- not run -->\n```python\n1/0\n```\n```sh\nls\n```\n"
    assert blocks(text + "```python title=x\ny = 2\n```\n") == ["x = 1\n", "y = 2\n"]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_of_the_readme(script, number):
    """The first thing that a reader tries did not run."""
    rc, out, err = script(PROGRAMS[number], timeout=110)
    assert rc == 0, f"{out}\n{err}"
    assert "Traceback" not in err
