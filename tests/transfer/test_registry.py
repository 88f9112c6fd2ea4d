"""Modules whose functions and classes go by value: `register_by_value`."""

import importlib
import os
import sys
import types

import pytest

import subpool
from subpool import _registry, interpreter

# The import fails in a worker, as that of a module does that makes a FastAPI application; and it
# tells of each try, through a pipe.
APART = """
import enum, os, sys
from contextvars import ContextVar
from subpool import interpreter

if "_subpool_worker" in sys.modules:
    os.write({fd}, b"x")
    raise ImportError("not in a worker")

import apart_package.inside

COUNT = 0
LIMIT = 10
variable = ContextVar("variable", default="default")

class Colour(enum.Enum):
    RED = 1

class Point:
    def __init__(self, x):
        self.x = x
    def moved(self):
        return Point(self.x + LIMIT)

class Refused(Exception):
    pass

def count():
    global COUNT
    COUNT += 1
    return COUNT

def get():
    return COUNT

def mirror(value):
    return value, Colour.RED, Point

def refuse(message):
    raise Refused(message)

def through_modules(x):
    return apart_package.inside.double(x), sys.modules[__name__ + "x"] if not x else None

def local():
    class Local:
        pass
    return Local()

def function():
    return count

def context():
    return variable.get()

@interpreter
def tagged(x):
    return x + LIMIT
"""
PACKAGE = "import sys\nif '_subpool_worker' in sys.modules: raise ImportError('not in a worker')\n"


@pytest.fixture
def apart(tmp_path, monkeypatch, pipe):
    """A module that no worker can import, and its package; registered, if a test registers it."""
    reader, fd = pipe
    os.set_blocking(reader, False)
    (tmp_path / "apart.py").write_text(APART.format(fd=fd))
    (tmp_path / "apart_package").mkdir()
    (tmp_path / "apart_package" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "apart_package" / "inside.py").write_text(
        "FACTOR = 2\ndef double(x): return x * FACTOR\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("apart")
    module.tries = lambda: len(read_all(reader))
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("apart")]:
        del sys.modules[name]
    _registry._registered.clear()
    _registry._tell()


def read_all(reader):
    try:
        return os.read(reader, 1 << 16)
    except BlockingIOError:
        return b""


@pytest.fixture
def by_value(apart):
    """The module, with its package, registered."""
    subpool.register_by_value(apart)
    subpool.register_by_value(apart.apart_package)
    return apart


def test_a_registered_module_is_not_imported(pool, apart):
    """By name its functions cannot be had in a worker; what main remembers of them must go."""
    assert "not in a worker" in str(pool.submit(apart.get).exception())
    assert apart.tries() > 0
    subpool.register_by_value(apart)
    assert pool.submit(apart.get).result() == 0
    assert pool.submit(interpreter(apart.tagged), 1).result() == 11
    assert list(pool.map(apart.tagged, range(3))) == [10, 11, 12]
    assert pool.submit(lambda fn: fn(), apart.get).result() == 0
    assert pool.submit(apart.Point(1).moved).result().x == 11
    assert apart.tries() == 0
    subpool.unregister_by_value(apart)
    assert "not in a worker" in str(pool.submit(apart.get).exception())


def test_functions_of_a_module_share_their_globals(pool, by_value):
    """Each with a namespace of its own does not see what the others set."""
    assert [pool.submit(by_value.count).result() for _ in range(2)] == [1, 2]
    assert pool.submit(by_value.get).result() == 2
    assert by_value.COUNT == 0
    by_value.COUNT = 50
    assert pool.submit(by_value.count).result() == 51
    # A function that comes back is one of main's module again.
    assert pool.submit(by_value.function).result()() == 51
    assert by_value.COUNT == 51


def test_classes_come_back_as_themselves(pool, by_value):
    """By value a second class came back; and pickle tried to import the module for each result."""
    point, colour, cls = pool.submit(by_value.mirror, by_value.Point(3)).result()
    assert (type(point), colour, cls) == (by_value.Point, by_value.Colour.RED, by_value.Point)
    error = pool.submit(by_value.refuse, "message").exception()
    assert type(error) is by_value.Refused
    assert str(error) == "message"
    assert type(pool.submit(by_value.local).result()).__qualname__ == "local.<locals>.Local"
    assert by_value.tries() == 0


def test_modules_that_a_function_reaches(pool, by_value):
    """A module among the globals was imported by name; of this one only `double` is wanted."""
    by_value.apart_package.inside.unpicklable = sys._getframe()
    assert pool.submit(by_value.through_modules, 4).result() == (8, None)
    # As a whole: what can travel of it.
    assert (
        pool.submit(lambda module: module.double(5), by_value.apart_package.inside).result() == 10
    )
    assert pool.submit(lambda: by_value.Point(1).moved().x).result() == 11


def test_context_variables_of_a_registered_module(closing, by_value, assign):
    """They are found by module and attribute, which no worker can import."""
    pool = closing(subpool.InterpreterPoolExecutor(1, context_vars=[by_value.variable]))
    assert pool.submit(by_value.context).result() == "default"
    assign(by_value.variable, "set")
    assert pool.submit(by_value.context).result() == "set"


def test_a_module_that_is_registered_later_and_its_variables(closing, apart, assign):
    """What workers are told of a variable is remembered, too."""
    pool = closing(subpool.InterpreterPoolExecutor(1, context_vars=[apart.variable]))
    assign(apart.variable, "set")
    assert pool.submit(apart.context).exception() is not None
    subpool.register_by_value(apart)
    subpool.register_by_value(apart.apart_package)
    assert pool.submit(apart.context).result() == "set"


def test_what_is_below_a_registered_package(apart):
    """A name that begins like it is another module."""
    assert not _registry.covers("apart_package.inside")
    assert _registry.register("apart_package", automatic=True)
    assert not _registry.register("apart_package.inside", automatic=True)
    assert _registry.covers("apart_package.inside")
    assert not _registry.covers("apart_packages")
    assert _registry.covers("__main__")


def test_what_cannot_be_registered(apart):
    """The mistakes that one makes: a name in the module's place, or the one that is not there."""
    with pytest.raises(TypeError, match="takes a module, not str"):
        subpool.register_by_value("apart")
    with pytest.raises(ValueError, match="not registered"):
        subpool.unregister_by_value(apart)
    with pytest.raises(ValueError, match="subpool itself"):
        subpool.register_by_value(subpool)
    subpool.register_by_value(types.ModuleType("__main__"))
    assert _registry.asked_for() == []


def test_a_module_that_registers_another_one(pool, tmp_path, monkeypatch):
    """Workers import the first by name, and it registers there, too."""
    (tmp_path / "registers.py").write_text(
        "import json, subpool\n"
        "subpool.register_by_value(json)\n"
        "def task(): return json.loads('1')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert pool.submit(importlib.import_module("registers").task).result() == 1
    subpool.unregister_by_value(importlib.import_module("json"))


def test_a_spawned_child(check, tmp_path):
    """There the program is called `__mp_main__`, which no worker can import."""
    out = check("""
import multiprocessing
from subpool import InterpreterPoolExecutor

class Point:
    def __init__(self, x): self.x = x

def move(point):
    return Point(point.x + 1)

def child(queue):
    with InterpreterPoolExecutor(1) as ex:
        point = ex.submit(move, Point(1)).result()
        queue.put((type(point) is Point, point.x))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
""")
    assert out == "(True, 2)\n"


def test_a_package_that_is_run(tmp_path, child_env):
    """With -m, functions of `__main__` import relative to their package."""
    import subprocess

    package = tmp_path / "runnable"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").write_text("def double(x): return 2 * x\n")
    (package / "__main__.py").write_text("""
from . import helper
from subpool import InterpreterPoolExecutor

def task(x):
    from .helper import double
    return double(x), helper.double(x)

with InterpreterPoolExecutor(1) as ex:
    print(ex.submit(task, 2).result())
""")
    done = subprocess.run(
        [sys.executable, "-m", "runnable"],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_env,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "(4, 4)\n", "")
