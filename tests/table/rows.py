"""The table: what a program may hand to a pool, and what must come of it.

A row is source text.  `setup` runs at the top level of a program, `call` after it, with `pool` an
executor of one worker, `make(**options)` another one of the same kind, and `tag` the pool's mark
for functions that interpreters are to run, if it has one.  The last line of `call`
is an expression: its `repr`, or the name and text of the exception that it raised, must be
`expected`, in which ``...`` stands for anything.  Nothing in a row names a pool, so that the same
rows run on every one (bench/compatibility.py).

This file needs nothing but the standard library, and `tests/table` on the path.
"""

import re
from dataclasses import dataclass
from itertools import chain

# A file with and without a guard, a file's text after -c, a module after -m, statements typed
# at the prompt (through a pipe, and at a terminal), cells of a notebook.
FORMS = ("guarded", "bare", "-c", "-m", "-i", "terminal", "notebook")
# For what is the same wherever it is written, and not quick.
SCRIPTS = ("guarded", "bare")


@dataclass(frozen=True)
class Row:
    what: str
    setup: str
    call: str
    expected: str
    forms: tuple[str, ...] = FORMS
    # What the program must have written besides, in one piece.
    printed: str = ""
    since: tuple[int, int] = (3, 13)
    needs: str = ""  # a module that must be installed
    # Asks for something that no other pool offers under any name.
    own: bool = False

    def right(self, saw: str) -> bool:
        pattern = ".*".join(re.escape(part) for part in self.expected.split("..."))
        return re.fullmatch(pattern, saw, re.DOTALL) is not None


def table() -> dict[str, tuple[Row, ...]]:
    """Give all rows, by their chapters."""
    import rows_callables
    import rows_environment
    import rows_exceptions
    import rows_libraries
    import rows_values
    import rows_wrapped

    return {
        "Callables": (*rows_callables.ROWS, *rows_wrapped.ROWS),
        "Arguments and results": rows_values.ROWS,
        "Exceptions": rows_exceptions.ROWS,
        "Environment": rows_environment.ROWS,
        "Libraries that cannot load": rows_libraries.ROWS,
    }


def rows() -> list[Row]:
    return list(chain.from_iterable(table().values()))
