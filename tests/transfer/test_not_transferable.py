"""What cannot cross says so: which function, which value, and why."""

import sys
import threading
import types
from functools import partial

import pytest

import tasks
import tasks_values
from subpool import InterpreterPoolExecutor, NotTransferableError, PoolError
from support import causes

LOCK = "cannot pickle '_thread.lock' object"


class Holder:
    def __init__(self):
        self.attribute = {"deep": threading.Lock()}


class Refuses:
    def __reduce__(self):
        raise LookupError("no")


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((threading.Lock(),), {}, "args[0]"),
        ((1, {"lock": threading.Lock()}), {}, "args[1]['lock']"),
        ((1, [2, (3, threading.Lock())]), {}, "args[1][1][1]"),
        ((), {"name": threading.Lock()}, "kwargs['name']"),
        ((), {"name": {5: [threading.Lock()]}}, "kwargs['name'][5][0]"),
        ((Holder(),), {}, "args[0].attribute['deep']"),
        ((partial(tasks.echo, threading.Lock()),), {}, "args[0].args[0]"),
        ((partial(tasks.echo, k=threading.Lock()),), {}, "args[0].keywords['k']"),
        ((Holder().__init__,), {}, "args[0].__self__.attribute['deep']"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_argument_is_named_by_its_path(pool, args, kwargs, path):
    """The standard pool says `args not shareable` and buries the cause."""
    error = pool.submit(tasks.echo, *args, **kwargs).exception()
    assert type(error) is NotTransferableError
    assert error.path == path
    assert path in str(error)
    assert "tasks.echo" in str(error)
    assert LOCK in str(error)
    assert type(error.__cause__) is TypeError
    assert str(error.__cause__) == LOCK


def test_an_element_of_a_set(pool):
    """A set has no index, so the element itself is shown."""
    error = pool.submit(tasks.echo, {threading.Lock()}).exception()
    assert error.path.startswith("args[0], element <unlocked")
    assert type(error.__cause__) is TypeError


def test_a_closure_over_something_that_cannot_travel(pool):
    """The function alone said nothing about which of its variables it is."""
    held = {"deep": threading.Lock()}
    error = pool.submit(lambda: held).exception()
    assert type(error) is NotTransferableError
    assert error.path == "function, variable held['deep']"
    assert "<lambda>" in str(error)
    assert LOCK in str(error)


def test_an_argument_does_not_stop_the_next_call(pool):
    """A failed encoding left the pickler's memory behind, or an exception set."""
    for _ in range(3):
        assert isinstance(pool.submit(tasks.echo, threading.Lock()).exception(), PoolError)
        assert pool.submit(tasks.add, 1, 2).result() == 3


def test_a_refused_call_ends_like_any_other(pool):
    """Told by the future, not by `submit`; with callbacks and states as usual."""
    future = pool.submit(tasks.echo, threading.Lock())
    assert future.done()
    assert not future.cancelled()
    assert not future.cancel()
    seen = []
    future.add_done_callback(seen.append)
    assert seen == [future]
    with pytest.raises(NotTransferableError):
        future.result(timeout=0)


def test_a_result_that_cannot_travel(pool):
    """The standard pool loses the cause."""
    error = pool.submit(tasks.lock).exception()
    assert type(error) is NotTransferableError
    assert error.path == "result"
    assert "tasks.lock" in str(error)
    assert LOCK in str(error)
    assert any(LOCK in text for text in causes(error))


def test_a_result_is_named_by_its_path(pool):
    """A large result with one bad part is hard to find by hand."""
    error = pool.submit(tasks.lock_inside).exception()
    assert error.path == "result['deep'][1]"
    assert "result['deep'][1]: _thread.lock" in str(error)


def test_a_result_of_any_shape_is_looked_into(pool):
    """Slots, deques, default factories and modules: the search ended at the outermost."""
    for name, (path, kind) in tasks_values.UNPICKLABLE.items():
        error = pool.submit(tasks_values.unpicklable, name).exception()
        assert type(error) is NotTransferableError, name
        assert f"because of result{path}: {kind} (" in str(error), name
        assert error.path == f"result{path}"


def test_what_a_function_needs_is_looked_into(pool):
    """Defaults and globals travel with a function's code, as what it closes over does."""

    def with_default(first, second=threading.Lock()):  # noqa: B008
        pass

    def with_keyword(*, only=threading.Lock()):  # noqa: B008
        pass

    for function, path in (
        (with_default, ", default of second"),
        (with_keyword, ", default of only"),
        (partial(with_default), ".func, default of second"),
    ):
        error = pool.submit(function).exception()
        assert error.path == f"function{path}"
        assert path in str(error)


def test_the_type_is_told_when_the_refusal_does_not(pool):
    """`Boom: hostile` said nothing about whose refusal it was."""
    error = pool.submit(tasks.echo, Refuses()).exception()
    assert str(error).endswith(
        "LookupError: no (it is a value of type test_not_transferable.Refuses)"
    )


def test_a_module_that_no_worker_can_import(pool, monkeypatch):
    """A module made in memory exists in main only."""
    module = types.ModuleType("made_in_memory")
    exec("def fn(): return 1", module.__dict__)  # noqa: S102
    monkeypatch.setitem(sys.modules, "made_in_memory", module)
    error = pool.submit(module.fn).exception()
    assert type(error) is NotTransferableError
    assert error.path == "function"
    assert "made_in_memory.fn" in str(error)
    assert "No module named 'made_in_memory'" in str(error)
    assert "ModuleNotFoundError" in causes(error)[0]
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_a_module_that_fails_while_it_is_imported(pool, tmp_path, monkeypatch):
    """The traceback of the failed import is what helps."""
    (tmp_path / "fails_in_workers.py").write_text(
        "import subpool\n"
        "def fn(): return 1\n"
        "def check():\n"
        "    if subpool.worker() is not None: raise LookupError('not here, please')\n"
        "check()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("fails_in_workers")
    error = pool.submit(module.fn).exception()
    assert type(error) is NotTransferableError
    assert "LookupError: not here, please" in str(error)
    assert "fails_in_workers.py" in causes(error)[0]


def test_a_name_that_the_workers_module_does_not_have(pool, monkeypatch):
    """A function added to a module at run time has a name here, and none there."""

    def added():
        return 1

    added.__module__, added.__qualname__ = "tasks", "added"
    monkeypatch.setattr(tasks, "added", added, raising=False)
    error = pool.submit(added).exception()
    assert type(error) is NotTransferableError
    assert "tasks.added" in str(error)
    assert "AttributeError" in str(error)


def test_an_argument_that_cannot_be_unpickled_in_the_worker(pool, monkeypatch):
    """The worker must blame the arguments, not run the task without them."""
    module = types.ModuleType("made_in_memory")
    exec("class C: pass", module.__dict__)  # noqa: S102
    monkeypatch.setitem(sys.modules, "made_in_memory", module)
    error = pool.submit(tasks.echo, module.C()).exception()
    assert type(error) is NotTransferableError
    assert error.path == "args"
    assert "tasks.echo" in str(error)
    assert "No module named 'made_in_memory'" in str(error)


def test_a_result_that_cannot_be_unpickled_in_main(pool):
    """A class that exists in the worker only."""
    error = pool.submit(tasks.instance_of_a_module_made_here).exception()
    assert type(error) is NotTransferableError
    assert error.path == "result"
    assert "instance_of_a_module_made_here" in str(error)
    assert type(error.__cause__) is ModuleNotFoundError


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters is new in 3.14")
def test_it_is_the_standard_error_too(pool):
    """Programs written for the standard pool catch its error."""
    from concurrent.interpreters import NotShareableError

    with pytest.raises(NotShareableError):
        pool.submit(tasks.echo, threading.Lock()).result()
    with pytest.raises(NotShareableError):
        pool.submit(tasks.lock).result()


def test_an_initializer_that_cannot_travel():
    """Told by the constructor, where the initializer is given."""
    with pytest.raises(NotTransferableError) as caught:
        InterpreterPoolExecutor(1, initializer=tasks.echo, initargs=(1, threading.Lock()))
    assert caught.value.path == "args[1]"


def test_no_worker_is_started_for_a_call_that_cannot_travel(pool):
    """A refused call cost an interpreter."""
    pool.submit(tasks.echo, threading.Lock()).exception()
    assert pool._pool.threads() == []


def test_the_error_itself_travels(pool):
    """It is an exception like any other: a task may raise or return it."""
    error = NotTransferableError("text")
    error.path = "args[3]"
    got = pool.submit(tasks.fail, error).exception()
    assert (type(got), got.path, str(got)) == (NotTransferableError, "args[3]", "text")
