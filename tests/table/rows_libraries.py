"""Rows: extension modules that refuse to load in an interpreter with its own GIL."""

# ruff: noqa: E501 - programs, as one writes them

from rows import SCRIPTS, Row

TOTAL = """\
import numpy as np
def total(count):
    return float(np.arange(count).sum())
"""

# numpy takes a quarter of a second to import, in a process of its own once more.
NUMPY = {"needs": "numpy", "forms": SCRIPTS}

ROWS = (
    Row(
        "numpy: the error says which extension, of which distribution, and which function",
        TOTAL,
        """\
import importlib.metadata
error = pool.submit(total, 4).exception()
parts = ("numpy._core._multiarray_umath", "numpy " + importlib.metadata.version("numpy"), "total")
type(error).__name__, isinstance(error, ImportError), [part in str(error) for part in parts]
""",
        "('IncompatibleModuleError', True, [True, True, True])",
        needs="numpy",
    ),
    Row(
        "numpy: the error says the ways out",
        TOTAL,
        """\
text = str(pool.submit(total, 4).exception())
[part in text for part in ('fallback="process"', 'fallback="thread"')]
""",
        "[True, True]",
        own=True,
        **NUMPY,
    ),
    Row(
        "numpy, imported in the function's body: the same error",
        """\
def total_inside(count):
    import numpy as np
    return float(np.arange(count).sum())
""",
        """\
error = pool.submit(total_inside, 4).exception()
parts = ("numpy._core._multiarray_umath", "total_inside")
type(error).__name__, [part in str(error) for part in parts]
""",
        "('IncompatibleModuleError', [True, True])",
        **NUMPY,
    ),
    Row(
        "a numpy array as an argument",
        "import numpy as np\ndef first_item(array):\n    return array[0]\n",
        """\
error = pool.submit(first_item, np.arange(3)).exception()
parts = ("numpy", "first_item")
type(error).__name__, [part in str(error) for part in parts]
""",
        "('IncompatibleModuleError', [True, True])",
        **NUMPY,
    ),
    Row(
        "the next call works after one that could not",
        TOTAL,
        "pool.submit(total, 4).exception() and pool.submit(len, 'abc').result()",
        "3",
        **NUMPY,
    ),
    Row(
        "a program that imports numpy, a function that does not use it",
        TOTAL + "def plain(value):\n    return value + 1\n",
        "pool.submit(plain, 1).result()",
        "2",
        needs="numpy",
    ),
    Row(
        "a module that imports numpy, a function of it that does not use it",
        """\
with open("table_helpers.py", "w") as file:
    file.write(
        "import numpy as np\\n"
        "def shift(value):\\n    return offset() + value\\n"
        "def offset():\\n    return 10\\n"
        "def total(count):\\n    return float(np.arange(count).sum())\\n"
    )
import os, sys
sys.path.insert(0, os.getcwd())
import table_helpers
""",
        "pool.submit(table_helpers.shift, 1).result()",
        "11",
        **NUMPY,
    ),
    Row(
        "a module sent by value",
        """\
import types
made_here = types.ModuleType("made_here")
exec("def double(value): return two() * value\\ndef two(): return 2\\nclass C: pass", vars(made_here))
import sys
sys.modules["made_here"] = made_here
""",
        """\
import subpool
subpool.register_by_value(made_here)
try:
    seen = pool.submit(made_here.double, 4).result(), type(pool.submit(made_here.C).result()) is made_here.C
finally:
    subpool.unregister_by_value(made_here)
seen
""",
        "(8, True)",
        own=True,
    ),
    Row(
        'fallback="process": the right answer',
        TOTAL,
        """\
with make(fallback="process") as other:
    results = [other.submit(total, count).result() for count in (4, 5)]
results
""",
        "[6.0, 10.0]",
        own=True,
        **NUMPY,
    ),
    Row(
        'fallback="process": an exception of the program is its own',
        TOTAL
        + """\\
class Strange(Exception):
    pass
def refuse(count):
    raise Strange(total(count))
""",
        """\
with make(fallback="process") as other:
    error = other.submit(refuse, 4).exception()
type(error) is Strange, error.args
""",
        "(True, (6.0,))",
        own=True,
        **NUMPY,
    ),
    Row(
        'fallback="thread": the right answer, of one process',
        TOTAL + "import os\ndef total_here(count):\n    return total(count), os.getpid()\n",
        """\
with make(fallback="thread") as other:
    results = [other.submit(total_here, count).result() for count in (4, 5)]
results == [(6.0, os.getpid()), (10.0, os.getpid())]
""",
        "True",
        own=True,
        **NUMPY,
    ),
    Row(
        'fallback="thread": an array there and back',
        "import numpy as np\ndef doubled(array):\n    return array * 2\n",
        """\
with make(fallback="thread") as other:
    result = other.submit(doubled, np.arange(3)).result()
type(result) is np.ndarray, result.tolist()
""",
        "(True, [0, 2, 4])",
        own=True,
        **NUMPY,
    ),
    Row(
        'fallback="thread": what can run in an interpreter does',
        "def identity_of_interpreter():\n    import _interpreters\n    return _interpreters.get_current()[0]\n",
        """\
with make(fallback="thread") as other:
    result = other.submit(identity_of_interpreter).result()
result != identity_of_interpreter()
""",
        "True",
        own=True,
    ),
    Row(
        "the second call does not pay for the discovery again",
        """\
with open("table_counted.py", "w") as file:
    file.write(
        "import _interpreters\\n"
        "if _interpreters.get_current()[0] != 0:\\n"
        "    with open('discoveries.txt', 'a') as file:\\n        file.write('one ')\\n"
        "import numpy\\n"
        "def size(count):\\n    return int(numpy.zeros(count).size)\\n"
    )
import os, sys
sys.path.insert(0, os.getcwd())
import table_counted
""",
        """\
with make(fallback="thread") as other:
    results = [other.submit(table_counted.size, count).result() for count in (1, 2, 3)]
with open("discoveries.txt") as file:
    discoveries = file.read()
results, discoveries
""",
        "([1, 2, 3], 'one ')",
        own=True,
        **NUMPY,
    ),
    Row(
        "fallback in a tag",
        TOTAL,
        """\
from subpool import InterpreterThreadPoolExecutor, interpreter
with InterpreterThreadPoolExecutor(max_interpreters=1) as other:
    tagged = interpreter(fallback="thread")(total)
    results = other.submit(tagged, 4).result(), other.submit(tagged, 5).result()
results
""",
        "(6.0, 10.0)",
        own=True,
        **NUMPY,
    ),
)
