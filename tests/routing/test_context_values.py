"""Which values of context variables can be carried, which variables, and what is said of others."""

import importlib
import sys
import threading
from contextvars import ContextVar

import pytest

import tasks_context
from subpool import InterpreterPoolExecutor, NotTransferableError
from subpool._context import names_of
from support import eventually, fresh, resizable
from tasks_context import read, request, user


def test_a_closure_as_value(carrying, assign):
    """What pickle cannot name goes by value, as in arguments."""
    number = 41
    assign(request, lambda: number + 1)
    assert carrying.submit(tasks_context.call_closure).result() == 42


@pytest.mark.parametrize("value, path, words", [
    (threading.Lock(), "", "cannot pickle '_thread.lock'"),
    ({"deep": [1, threading.Lock()]}, "['deep'][1]", "cannot pickle '_thread.lock'"),
], ids=["lock", "deep"])  # fmt: skip
def test_a_value_that_cannot_be_sent(carrying, assign, value, path, words):
    """The error named an argument, or nothing, or `submit` raised."""
    assign(request, value)
    name = f"context variable 'tasks_context.request'{path}"
    future = carrying.submit(read)
    with pytest.raises(NotTransferableError) as caught:
        future.result()
    assert caught.value.path == name
    assert str(caught.value).startswith(f"cannot send {name} to an interpreter: TypeError: {words}")
    assert isinstance(caught.value.__cause__, TypeError)
    results = carrying.map(tasks_context.read_for, range(3))
    with pytest.raises(NotTransferableError, match=r"context variable 'tasks_context\.request'"):
        next(results)
    assert fresh(carrying.submit, read).result() == ("nobody", None)


def test_a_value_that_cannot_be_rebuilt(carrying, assign):
    """A failure in the worker named no variable, and the worker was lost."""
    assign(user, tasks_context.Unpacks())
    with pytest.raises(NotTransferableError) as caught:
        carrying.submit(read).result()
    name = "context variable 'tasks_context.user'"
    assert caught.value.path == name
    assert str(caught.value) == (
        f"cannot set {name} for tasks_context.read in an interpreter: RuntimeError: not in here"
    )
    assert "_refuse_in_worker" in str(caught.value.__cause__)
    assert fresh(carrying.submit, read).result() == ("nobody", None)


def test_a_variable_whose_module_cannot_be_imported(closing, tmp_path, monkeypatch):
    """A module that fails in the worker: the error named no variable."""
    module = make_module(monkeypatch, tmp_path, "only_in_main", (
        "from contextvars import ContextVar\nimport subpool\n"
        "if subpool.worker() is not None: raise RuntimeError('main only')\n"
        "variable = ContextVar('variable')\n"
    ))  # fmt: skip
    pool = closing(InterpreterPoolExecutor(1, context_vars=[module.variable]))

    def submit():
        module.variable.set(1)
        return pool.submit(read)

    with pytest.raises(NotTransferableError) as caught:
        fresh(submit).result()
    assert caught.value.path == "context variable 'only_in_main.variable'"
    assert "RuntimeError: main only" in str(caught.value)
    # Unset it is not needed there.
    assert fresh(pool.submit, read).result() == ("nobody", None)


def test_a_variable_that_is_none_in_the_worker(closing, tmp_path, monkeypatch):
    """The name leads to something else there, which was set all the same."""
    module = make_module(monkeypatch, tmp_path, "other_in_worker", (
        "from contextvars import ContextVar\nimport subpool\n"
        "variable = ContextVar('variable') if subpool.worker() is None else 3\n"
    ))  # fmt: skip
    pool = closing(InterpreterPoolExecutor(1, context_vars=[module.variable]))

    def submit():
        module.variable.set(1)
        return pool.submit(read)

    with pytest.raises(NotTransferableError, match=r"other_in_worker\.variable is no ContextVar"):
        fresh(submit).result()


def make_module(monkeypatch, folder, name, text):
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    monkeypatch.setitem(sys.modules, name, None)  # so that it is gone after the test
    del sys.modules[name]
    return importlib.import_module(name)


def test_a_module_that_only_imports_the_variable(closing, tmp_path, monkeypatch):
    """The variable was looked for in the application's main module, which no worker can import."""
    make_module(monkeypatch, tmp_path, "app_context", (
        "from contextvars import ContextVar\nvariable = ContextVar('variable', default=0)\n"
        "def read(): return variable.get()\n"
    ))  # fmt: skip
    app = make_module(monkeypatch, tmp_path, "app_main", (
        "import subpool\n"
        "if subpool.worker() is not None: raise RuntimeError('main only')\n"
        "from app_context import read, variable\n"
    ))  # fmt: skip
    pool = closing(InterpreterPoolExecutor(1, context_vars=[app.variable]))

    def submit():
        app.variable.set(1)
        return pool.submit(app.read)

    assert fresh(submit).result() == 1


def test_a_module_that_cannot_be_imported_gives_way(closing, tmp_path, monkeypatch):
    """Of several modules that have the variable the first alone was tried."""
    app = make_module(monkeypatch, tmp_path, "app_first", (
        "from contextvars import ContextVar\nimport subpool\n"
        "if subpool.worker() is not None: raise RuntimeError('main only')\n"
        "variable = ContextVar('variable', default=0)\n"
    ))  # fmt: skip
    user_of_it = make_module(monkeypatch, tmp_path, "app_second", (
        "import subpool\nfrom contextvars import ContextVar\n"
        "if subpool.worker() is None: from app_first import variable\n"
        "else: variable = ContextVar('variable', default=0)\n"
        "def read(): return variable.get()\n"
    ))  # fmt: skip
    pool = closing(InterpreterPoolExecutor(1, context_vars=[app.variable]))

    def submit(function):
        app.variable.set(1)
        return pool.submit(function)

    # Neither is there yet; then one is.
    assert fresh(submit, lambda: __import__("app_second").variable.get()).result() == 1
    assert fresh(submit, user_of_it.read).result() == 1


def test_a_variable_redefined_by_a_reload(closing, tmp_path, monkeypatch):
    """After a reload the values of a variable that nobody uses any more were sent."""
    text = (
        "from contextvars import ContextVar\nvariable = ContextVar('variable', default=0)\n"
        "def read(): return variable.get()\n"
        "def reload():\n    import importlib, sys\n    importlib.reload(sys.modules[__name__])\n"
    )
    module = make_module(monkeypatch, tmp_path, "reloaded_variable", text)
    pool = closing(InterpreterPoolExecutor(1, context_vars=[module.variable]))

    def submit(value):
        module.variable.set(value)
        return pool.submit(module.read)

    assert fresh(submit, 1).result() == 1
    before = module.variable
    importlib.reload(module)
    assert module.variable is not before
    assert fresh(submit, 2).result() == 2
    # In the worker: its functions use the new variable, and the old one was set.
    fresh(pool.submit, module.reload).result()
    assert fresh(submit, 3).result() == 3


def test_a_variable_that_moves(tmp_path, monkeypatch):
    """A name was remembered that did not lead to the variable any more."""
    module = make_module(monkeypatch, tmp_path, "moves", (
        "from contextvars import ContextVar\nvariable = ContextVar('variable')\n"
    ))  # fmt: skip
    variable = module.variable
    assert names_of(variable) == [("moves", "variable")]
    module.other = variable
    del module.variable
    assert names_of(variable) == [("moves", "other")]


def test_a_memoryview_as_value(carrying):
    """Memory by reference, as in arguments, and let go of when the task has ended."""
    buffer = bytearray(1 << 20)

    def submit():
        request.set(memoryview(buffer))
        return carrying.submit(tasks_context.write_view), carrying.submit(
            tasks_context.describe_view
        )

    futures = fresh(submit)
    assert [future.result() for future in futures] == [None, ("memoryview", 1 << 20, 7)]
    del futures, submit
    eventually(lambda: resizable(buffer), "the release of the memory")


def test_a_memoryview_in_a_map(carrying):
    """A map's values are shared by its calls, and let go of with the last."""
    buffer = bytearray(1 << 20)

    def run():
        request.set(memoryview(buffer))
        return list(carrying.map(lambda _: request.get().nbytes, range(100)))

    assert fresh(run) == [1 << 20] * 100
    eventually(lambda: resizable(buffer), "the release of the memory")


def test_big_bytes_as_value(carrying, assign):
    """Bytes that travel beside the others."""
    assign(request, bytes(1 << 22))
    assert list(carrying.map(lambda _: tasks_context.keep_size(), range(3))) == [1 << 22] * 3


def test_a_result_is_pickled_outside_of_the_context(carrying, assign):
    """Only the function runs in the context; stated in the documentation."""
    assign(request, "mine")
    assert carrying.submit(tasks_context.record).result().seen == "nobody"


PROGRAM = """
import contextvars
from contextvars import ContextVar
from subpool import InterpreterPoolExecutor

request = ContextVar("request", default=["nobody"])
user = ContextVar("user")
other = ContextVar("other", default="other")

def read():
    return request.get(), user.get(None), other.get()

def dynamic():
    import __main__
    return __main__.request.get()

def same():
    return request

def change():
    request.set("theirs")
    return read()

ex = InterpreterPoolExecutor(1, context_vars=[request, user])
other.set("not carried")
print(ex.submit(read).result())
request.set("mine")
user.set("Ada")
print(ex.submit(read).result())
print(ex.submit(change).result())
print(ex.submit(dynamic).result())
print(list(ex.map(lambda _: read()[0], range(2))))
print(contextvars.Context().run(ex.submit, read).result())
print(ex.submit(same).result() is request)
request = ContextVar("request", default="redefined")
print(ex.submit(read).result())
request.set("again")
print(ex.submit(read).result(), ex.submit(dynamic).result())
user = None
print(ex.submit(lambda: user).result())
ex.shutdown()
"""
EXPECTED = """\
(['nobody'], None, 'other')
('mine', 'Ada', 'other')
('theirs', 'Ada', 'other')
mine
['mine', 'mine']
(['nobody'], None, 'other')
True
('redefined', 'Ada', 'other')
('again', 'Ada', 'other') again
None
"""


@pytest.mark.parametrize("how", ["file", "-c", "stdin"])
def test_variables_of_main(check, how):
    """A function of a script that uses a variable of the script could not be sent."""
    assert check(PROGRAM, how=how) == EXPECTED


BY_NAME = """
from subpool import InterpreterPoolExecutor
from contextvars import ContextVar
import tasks_context
from tasks_context import request, read

mine = ContextVar("mine", default=3)
request.set("imported")
mine.set(4)

def task():
    return request.get(), mine.get()

# As a module has it that was made without the import system: nothing tells that it defines it.
tasks_context.__spec__ = None
with InterpreterPoolExecutor(1, context_vars=(request, mine)) as ex:
    # None of the program's own functions: it is there all the same.
    print(ex.submit(eval, "__import__('__main__').mine.get()", {}).result())
    print(ex.submit(task).result(), ex.submit(read).result())
"""


def test_an_imported_variable_keeps_its_module(check):
    """A program that imports a variable has one of that name too: the module's was not set."""
    expected = "4\n('imported', 4) ('imported', None)\n"
    assert check(BY_NAME) == expected


UNSENDABLE = """
from subpool import InterpreterPoolExecutor, NotTransferableError
from contextvars import ContextVar
import threading

variable = ContextVar("variable", default=threading.Lock())
variable.set(1)
with InterpreterPoolExecutor(1, context_vars=[variable]) as ex:
    try:
        ex.submit(print).result()
    except NotTransferableError as error:
        print(error.path)
"""


def test_a_default_that_cannot_be_sent(check):
    """The worker's variable needs it; the error named no variable."""
    assert check(UNSENDABLE) == "context variable '__main__.variable'\n"


def test_a_variable_in_a_closure(pool):
    """What has no name cannot be found in the worker; the error says which part it is."""
    variable = ContextVar("local")
    with pytest.raises(NotTransferableError, match="ContextVar"):
        pool.submit(lambda: variable.get()).result()


def test_a_variable_as_argument(pool):
    """A variable travels by its name, as a function does."""
    pool.submit(int).result()
    assert pool.submit(tasks_context.name_of, request).result() == ("request", True)
