"""Exceptions that pickle would lose, change or refuse arrive as what they were."""

import gc
import pickle
import weakref

import pytest

import tasks
import tasks_exceptions as made
from subpool import (
    InterpreterPoolExecutor,
    PoolError,
    RemoteError,
    register_by_value,
    unregister_by_value,
)


@pytest.fixture(scope="module")
def shared():
    """One worker for all rows: none of them may harm it."""
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks.nothing).result()
        yield pool


@pytest.fixture
def raised(shared):
    """Run a task that fails; give its exception."""
    return lambda fn, *args, **kwargs: shared.submit(fn, *args, **kwargs).exception()


def names(rows):
    return [row[0] for row in rows]


# On 3.13 OSError's own attributes stay unset, if the other base comes first.
TWO_BASES = made.TwoBases(2, "no", "f")
# What, a task with its arguments, the class, and what must be true of the exception.
ROWS = [
    ("wants two arguments", (made.raise_it, made.WantsTwo, 1, 2), made.WantsTwo,
     {"args": ("1 and 2",), "first": 1}),
    ("adds text to its argument", (made.raise_it, made.AddsText, 5), made.AddsText,
     {"args": ("error 5",), "code": 5}),
    ("has slots", (made.raise_it, made.HasSlots, [1]), made.HasSlots,
     {"x": [1], "private()": "p", "args": ([1],)}),
    ("is frozen, with slots", (made.raise_it, made.FrozenSlots, 7, "t"), made.FrozenSlots,
     {"code": 7, "text": "t"}),
    ("has two bases made in C", (made.raise_it, made.TwoBases, 2, "no", "f"), made.TwoBases,
     {name: getattr(TWO_BASES, name) for name in ("errno", "strerror", "filename", "args")}),
    ("has a __new__", (made.raise_it, made.HasNew, 1, 2), made.HasNew,
     {"args": (1, 2), "made_with": 2}),
    ("has a __reduce__ that forgets notes", (made.with_notes,), made.OwnReduce,
     {"args": (1,), "second": 2, "__notes__": ["a note"]}),
    ("an attribute that shadows its class's", (made.raise_it, made.HasMessage, "m"),
     made.HasMessage, {"message": "m"}),
    ("a missing file", (made.missing_file,), FileNotFoundError,
     {"errno": 2, "filename": "/nonexistent/one", "filename2": None}),
    ("bytes that are no text", (made.decode,), UnicodeDecodeError,
     {"encoding": "utf-8", "object": b"ab\xff", "start": 2, "end": 3,
      "reason": "invalid start byte"}),
    ("a syntax error", (made.parse,), SyntaxError,
     {"filename": "<given>", "lineno": 1, "offset": 3, "text": "a b\n", "msg": "invalid syntax"}),
    ("a missing module", (__import__, "no_such_module"), ModuleNotFoundError,
     {"name": "no_such_module"}),
    ("an exit code set afterwards", (made.changed_afterwards,), SystemExit,
     {"code": 2, "args": (1,)}),
    ("an exit code that is no number", (made.raise_it, SystemExit, {"a": 1}), SystemExit,
     {"code": {"a": 1}}),
    ("the end of an iterator", (made.raise_it, StopIteration, 5), StopIteration, {"value": 5}),
    ("a missing name", (made.misspell, "name"), NameError, {"name": "alpha_betta"}),
    ("a missing attribute", (made.misspell, "attribute"), AttributeError, {"name": "apend"}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "call", "cls", "attributes"), ROWS, ids=names(ROWS))
def test_it_arrives_as_it_was(raised, what, call, cls, attributes):
    """Unpickling called __init__ with `args`: a TypeError, or silently another exception."""
    fn, *args = call
    error = raised(fn, *args)
    assert type(error) is cls, repr(error)
    for name, value in attributes.items():
        got = getattr(error, name.removesuffix("()"))
        assert (got() if name.endswith("()") else got) == value, name


def test_a_slot_that_was_never_set_stays_so(raised):
    """`None` in its place would be a value."""
    assert not hasattr(raised(made.raise_it, made.HasSlots, 1), "unset")


def test_what_cannot_be_pickled_is_shown(raised):
    """A lock in an attribute cost the exception, with all that it could have told."""
    error = raised(made.with_lock)
    assert type(error) is ValueError
    text, lock, pair = error.args
    assert (text, pair[0], error.held["fine"]) == ("text", 1, [1, 2])
    for place in (lock, pair[1], error.held["lock"]):
        assert "_thread.lock object at" in repr(place)
        assert place.reason == "TypeError: cannot pickle '_thread.lock' object"
    assert "generator object" in repr(error.generator)
    assert "_thread.lock" in str(error)


def test_memory_is_copied(raised):
    """A memoryview cannot be pickled, and the worker's memory cannot be lent."""
    error = raised(made.with_view)
    assert error.view.tobytes() == b"12345678"
    assert (error.view.format, error.view.shape, error.view.readonly) == ("i", (2,), False)
    assert (bytes(error.fixed), error.fixed.readonly) == (b"abc", True)


def test_an_exception_that_holds_a_traceback_and_a_module(raised):
    """Loggers keep `sys.exc_info()` on exceptions."""
    error = raised(made.with_traceback)
    cls, inner, traceback = error.info
    assert (cls, type(inner), inner.args) == (LookupError, LookupError, ("inner",))
    assert traceback.tb_frame.f_code.co_name == "with_traceback"
    assert inner is error.__context__
    assert error.module.__name__ == "sys"


def test_a_value_of_a_class_that_main_lacks(raised):
    """One such argument cost the whole exception."""
    error = raised(made.with_what_main_lacks)
    assert type(error) is ValueError
    assert "made_in_a_worker.Point" in repr(error.args[0])
    assert "No module named 'made_in_a_worker'" in repr(error.args[0])
    assert (error.args[1], error.fine) == ("beside", {1: 2})


def test_the_chain_is_made_of_exceptions(raised):
    """Cause and context were text, in the place where the task's own cause belongs."""
    error = raised(made.chain)
    context = error.__context__
    assert (type(error), type(context)) == (ValueError, made.WantsTwo)
    assert error.__cause__ is None
    assert error.__suppress_context__ is False
    assert type(context.__cause__) is KeyError
    assert error.args == ("last", context.__cause__)
    assert error.args[1] is context.__cause__, "the same object in both places"


def test_a_hidden_context_stays_hidden(raised):
    """`raise ... from None`."""
    error = raised(made.hidden_context)
    assert error.__suppress_context__ is True
    assert type(error.__context__) is KeyError


def test_exceptions_that_hold_each_other(raised):
    """Followed without memory, this had no end."""
    error = raised(made.cyclic)
    assert type(error.__cause__) is made.WantsTwo
    assert error.__cause__.__context__ is error
    assert error.__cause__.other is error


def test_a_group_of_a_users_class(raised):
    """A group's members have causes, notes and tracebacks of their own."""
    error = raised(made.group)
    assert (type(error), error.code, error.message) == (made.OwnGroup, 9, "own group")
    plain, inner = error.exceptions
    wants, missing = inner.exceptions
    assert [type(part) for part in (plain, inner, wants, missing)] == [
        ValueError, ExceptionGroup, made.WantsTwo, FileNotFoundError,
    ]  # fmt: skip
    assert (wants.first, missing.filename) == (1, "file")
    for part in (plain, wants, missing):
        assert part.__notes__[0].startswith("noted")
        assert part.__traceback__.tb_frame.f_code.co_name == "fails"
    matching, _ = error.split(made.WantsTwo)
    assert type(matching) is made.OwnGroup


def test_groups_in_groups_without_end(raised):
    """Built by a recursive function, they ended in a RecursionError."""
    error = raised(made.deep_group)
    for _ in range(400):
        (error,) = error.exceptions
    assert type(error) is ValueError


def test_a_group_of_base_exceptions(raised):
    """It is no Exception, and must not become one."""
    error = raised(made.base_group)
    assert type(error) is BaseExceptionGroup
    assert [type(part) for part in error.exceptions] == [KeyboardInterrupt, ValueError]


@pytest.mark.parametrize(
    ("base", "args"),
    [
        (made.WantsTwo, (1, 2)),
        (FileNotFoundError, (2, "none", "file")),
        (Exception, ("text",)),
        (made.HasSlots, (1,)),
        (KeyboardInterrupt, ("pressed",)),
        (made.OwnReduce, (1, 2)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_stand_in(raised, base, args):
    """A class that main cannot have: it must still be caught as what it was derived from."""
    error = raised(made.local, base, *args)
    assert isinstance(error, RemoteError)
    assert isinstance(error, PoolError)
    assert isinstance(error, base)
    assert error.type_name == "tasks_exceptions.local.<locals>.Local"
    assert str(error) == f"{error.type_name}: {error.message}"
    assert error.remote_traceback.startswith("Traceback")
    assert "tasks_exceptions.py" in error.remote_traceback
    assert error.extra == "kept"
    own, why = error.__notes__
    assert own == "its own note"
    assert "no name that could be imported" in why
    assert error.__traceback__.tb_frame.f_code.co_name == "local"
    if base is FileNotFoundError:
        assert (error.errno, error.filename, error.args) == (2, "file", (2, "none"))


def test_a_stand_in_for_a_group(raised):
    """`except*` must find its members."""
    error = raised(made.local, ExceptionGroup, "local group", [ValueError(3)])
    assert isinstance(error, RemoteError)
    assert isinstance(error, ExceptionGroup)
    assert [type(part) for part in error.exceptions] == [ValueError]


@pytest.mark.parametrize("base", [FileNotFoundError, Exception])
def test_a_stand_in_travels_on(raised, base):
    """Its class is made anew in each process, so it cannot be found by name."""
    error = raised(made.local, base, 2, "none", "file")
    for again in (pickle.loads(pickle.dumps(error)), raised(tasks.fail, error)):
        assert isinstance(again, RemoteError)
        assert isinstance(again, base)
        assert again.type_name == error.type_name
        assert str(again) == str(error)


def test_exceptions_do_not_meddle_with_each_other(shared):
    """The parts of many that fail at once, in one worker."""
    futures = [shared.submit(made.raise_it, made.WantsTwo, n, [n]) for n in range(50)]
    assert [f.exception().first for f in futures] == list(range(50))


@pytest.mark.parametrize(
    "call",
    [(made.raise_it, made.WantsTwo, 1, 2), (made.group,), (made.with_notes,), (made.raise_lock,)],
    ids=lambda call: call[0].__name__,
)
def test_it_is_gone_with_its_last_reference(raised, call):
    """What rebuilt it held itself in a cycle, and the exception with it."""
    gc.disable()
    try:
        error = raised(*call)
        seen = weakref.ref(error)
        del error
        assert seen() is None
    finally:
        gc.enable()


def test_a_class_of_a_module_that_goes_by_value(pool):
    """The worker tried to import the module for each failure, and sent the class's code."""
    register_by_value(made)
    try:
        error = pool.submit(made.chain).exception()
        group = pool.submit(made.group).exception()
    finally:
        unregister_by_value(made)
    assert type(error.__context__) is made.WantsTwo
    assert type(group) is made.OwnGroup
    assert not pool.submit(tasks.is_loaded, "tasks_exceptions").result()
