"""Functions of ``__main__``, in each form that a program can have."""

import pytest

WITH_GUARD = """
from subpool import InterpreterPoolExecutor

FACTOR = 3

class Point:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return type(other) is Point and other.x == self.x

def scale(x):
    return x * FACTOR

def shift(point):
    return Point(point.x + 1)

class Bad(Exception):
    pass

def fail():
    raise Bad("as expected")

if __name__ == "__main__":
    with InterpreterPoolExecutor(2) as ex:
        print(list(ex.map(scale, range(4))))
        print(ex.submit(shift, Point(1)).result() == Point(2))
        try:
            ex.submit(fail).result()
        except Bad as error:
            print("caught", error)
"""

EXPECTED = "[0, 3, 6, 9]\nTrue\ncaught as expected\n"

# The last block at the top level: a worker that imported the program would start it again.
WITHOUT_GUARD = WITH_GUARD.replace('if __name__ == "__main__":', "if True:")

# As one types it: each statement ends with an empty line, blocks are one line or flat.
TYPED = """\
from subpool import InterpreterPoolExecutor
FACTOR = 3
def scale(x):
    return x * FACTOR

ex = InterpreterPoolExecutor(2)
print(list(ex.map(scale, range(4))))
FACTOR = 4
print(ex.submit(scale, 10).result())
def scale(x):
    return -x

print(ex.submit(scale, 10).result())
ex.shutdown()
"""


def test_a_script_with_a_guard(check):
    """The plain case, with classes and exceptions of the script coming back as themselves."""
    assert check(WITH_GUARD) == EXPECTED


def test_a_script_without_a_guard(check):
    """#136659: the standard pool runs the script again in each worker."""
    assert check(WITHOUT_GUARD) == EXPECTED


@pytest.mark.parametrize("how", ["-c", "stdin"])
def test_a_program_without_a_file(check, how):
    """The standard pool fails with -c and from standard input: there is no file to import."""
    assert check(WITHOUT_GUARD, how=how) == EXPECTED


@pytest.mark.parametrize("how", ["stdin", "-i"])
def test_what_is_typed_at_the_prompt(script, how):
    """The REPL: functions are redefined and globals change as the session goes on."""
    rc, out, err = script(TYPED, how=how)
    assert rc == 0, err
    assert out.split("\n") == ["[0, 3, 6, 9]", "40", "-10", ""]
    assert "Error" not in err


def test_an_initializer_of_main_sets_a_global(check):
    """The standard pool runs it in a namespace that no task sees; fork-less processes do it."""
    out = check("""
from subpool import InterpreterPoolExecutor

LIMIT = None
CACHE = {}

def init(limit):
    global LIMIT
    LIMIT = limit
    CACHE["limit"] = limit

def task(x):
    return x + LIMIT, CACHE["limit"]

with InterpreterPoolExecutor(1, initializer=init, initargs=(40,)) as ex:
    print([ex.submit(task, x).result() for x in (1, 2, 3)])
    print([ex.submit(lambda: (LIMIT, CACHE)).result() for _ in range(2)])
print(LIMIT, CACHE)
""")
    assert out == "[(41, 40), (42, 40), (43, 40)]\n" + f"[{(40, {'limit': 40})}, " + (
        f"{(40, {'limit': 40})}]\nNone {{}}\n"
    )


def test_a_task_of_main_sets_globals_of_its_worker_only(check):
    """A worker's globals stay its own; what main changes anew reaches it."""
    out = check("""
from subpool import InterpreterPoolExecutor

COUNT = 0
SEEN = []

def task():
    global COUNT
    COUNT += 1
    SEEN.append(COUNT)
    return COUNT, list(SEEN)

with InterpreterPoolExecutor(1) as ex:
    print([ex.submit(task).result() for _ in range(2)], COUNT, SEEN)
    COUNT = 100
    print(ex.submit(task).result())
    SEEN.append("main")
    print(ex.submit(task).result())
""")
    assert out.splitlines() == [
        "[(1, [1]), (2, [1, 2])] 0 []",
        "(101, [1, 2, 101])",
        "(102, ['main', 102])",
    ]


def test_an_initializer_of_main_sets_a_class_attribute(check):
    """Each call shipped the class anew, and took back what the initializer had set."""
    out = check("""
from subpool import InterpreterPoolExecutor

class Config:
    value = "main"
    cache = []

def init():
    Config.value = "set by the initializer"
    Config.cache.append(1)

def read():
    return Config.value, Config.cache

with InterpreterPoolExecutor(1, initializer=init) as ex:
    print([ex.submit(read).result() for _ in range(2)])
print(Config.value, Config.cache)
""")
    seen = ("set by the initializer", [1])
    assert out == f"{[seen, seen]}\nmain []\n"


def test_a_result_does_not_change_a_class_of_main(check):
    """A class that came back by value overwrote the attributes of main's own."""
    out = check("""
from subpool import InterpreterPoolExecutor

class Config:
    value = "main"

def task():
    Config.value = "worker"
    return lambda: Config

with InterpreterPoolExecutor(1) as ex:
    print(ex.submit(task).result()() is Config, Config.value)
""")
    assert out == "True main\n"


def test_functions_of_main_share_their_globals(check):
    """Each function with a namespace of its own does not see what another one set."""
    out = check("""
from subpool import InterpreterPoolExecutor, interpreter

VALUE = "main's"

def write(value):
    global VALUE
    VALUE = value

def read():
    return VALUE

with InterpreterPoolExecutor(1) as ex:
    ex.submit(write, "the worker's").result()
    print(ex.submit(read).result(), "/", VALUE)
""")
    assert out == "the worker's / main's\n"


def test_a_decorated_function_of_main(check):
    """By its name, pickle finds the tag and not the function."""
    out = check("""
from subpool import InterpreterThreadPoolExecutor, interpreter, worker

@interpreter
def square(x):
    return x * x, worker() is not None

@interpreter
def calls_another(x):
    return square(x)

with InterpreterThreadPoolExecutor() as ex:
    print(ex.submit(square, 3).result(), list(ex.map(square, [1])))
    print(ex.submit(calls_another, 4).result())
print(square(5), calls_another(6))
""")
    assert out == "(9, True) [(1, True)]\n(16, True)\n(25, True) (36, True)\n"


def test_an_enum_of_main_keeps_its_identity(check):
    """A result by value made a second enum, unequal to the first."""
    out = check("""
import enum
from subpool import InterpreterPoolExecutor

class Colour(enum.Enum):
    RED = 1

def paint(colour):
    return colour, Colour.RED, colour is Colour.RED

with InterpreterPoolExecutor(1) as ex:
    given, own, same = ex.submit(paint, Colour.RED).result()
    print(given is Colour.RED, own is Colour.RED, same)
""")
    assert out == "True True True\n"


def test_a_module_beside_the_script(check, tmp_path):
    """The folder of the script is on sys.path; the module tags its function and has globals."""
    (tmp_path / "beside.py").write_text("""
from subpool import interpreter
BASE = 100
@interpreter
def tagged(x):
    return BASE + x
def plain(x):
    return BASE - x
""")
    out = check("""
import beside
from subpool import InterpreterThreadPoolExecutor, interpreter

with InterpreterThreadPoolExecutor() as ex:
    print(ex.submit(beside.tagged, 1).result(), ex.submit(interpreter(beside.plain), 1).result())
""")
    assert out == "101 99\n"


def test_dash_m(tmp_path, child_env):
    """With -m, __main__ has a spec, and pickle could name the module wrongly."""
    import subprocess
    import sys

    (tmp_path / "mymodule.py").write_text(WITHOUT_GUARD)
    done = subprocess.run(
        [sys.executable, "-m", "mymodule"],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_env,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, EXPECTED, "")
