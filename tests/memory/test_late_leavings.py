"""What CPython lets go of after its last garbage collection must not keep a worker's memory."""

import sys

import pytest

PROGRAM = """
import io, sys, tasks, warnings
from support import megabytes
from subpool import InterpreterPoolExecutor

def filtered():
    warnings.filterwarnings("ignore", message="a pattern", category=Own)

class Own(UserWarning):
    pass

def live():
    with InterpreterPoolExecutor(1) as pool:
        pool.submit({task}).result()

{main}
for _ in range(2):
    live()
before = megabytes()
for _ in range(6):
    live()
sys.__stdout__.write(str(megabytes() - before))
"""


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython 3.13 itself loses 1.7 MB with each interpreter"
)
@pytest.mark.parametrize(
    ("main", "task"),
    [
        # As numpy does: 2 MB for each interpreter that was closed.
        ("warnings.filterwarnings('ignore', message='a pattern')", "tasks.nothing"),
        ("", "filtered"),
        # As under capture, and in a notebook: 2.7 MB.
        ("sys.stdout = sys.stderr = io.StringIO()", "tasks.nothing"),
    ],
    ids=["main's filter", "a task's filter", "captured output"],
)
def test_a_closed_interpreter_leaves_no_memory(check, main, task):
    assert float(check(PROGRAM.format(main=main, task=task))) < 6
