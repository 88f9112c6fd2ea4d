"""Arguments and results of many kinds."""

import array
import collections
import datetime as dt
import decimal
import fractions
import functools
import pathlib
import re
import types
import uuid

import pytest

import tasks
from subpool import NotTransferableError

VALUES = [
    None,
    True,
    ...,
    NotImplemented,
    0,
    -1,
    2**31,
    -(2**63),
    2**200,
    0.0,
    -0.0,
    float("inf"),
    1e-320,
    1 + 2j,
    "",
    "text",
    "ünï\U0001f600",
    "nul\0inside",
    "\ud800 lone surrogate",
    b"",
    b"\x00\xff",
    bytearray(b"mutable"),
    (),
    (1,),
    [],
    [1, [2, [3]]],
    {},
    {"a": {"b": (1, 2)}, 3: None, (4, 5): "tuple key"},
    {1, 2, 3},
    frozenset({"a"}),
    range(1, 10, 2),
    slice(1, None, 2),
    array.array("d", [1.5, 2.5]),
    collections.OrderedDict(b=1, a=2),
    collections.Counter("abca"),
    collections.deque([1, 2], maxlen=5),
    dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC),
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    pathlib.PurePosixPath("/a/b"),
    re.compile("a+", re.IGNORECASE),
    uuid.UUID(int=5),
    types.SimpleNamespace(a=1),
    tasks.Accumulator(3),
    functools.partial,
    len,
    int,
    tasks.add,
    ValueError,
]


def both(value, got):
    return type(got) is type(value) and (got is value or got == value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_there_and_back(pool, value):
    """One kind of value was mangled, or refused, on one of the two ways."""
    assert both(value, pool.submit(tasks.identity, value).result())
    assert both(value, pool.submit(tasks.identity, value=value).result())
    nested = pool.submit(tasks.echo, [value], {"k": value}, key=(value,)).result()
    assert nested == (([value], {"k": value}), {"key": (value,)})


def test_nan_and_minus_zero(pool):
    """Equality hides both."""
    nan, zero = pool.submit(tasks.echo, float("nan"), -0.0).result()
    assert nan != nan  # noqa: PLR0124
    assert str(zero) == "-0.0"


def test_a_member_of_an_enum_keeps_its_identity(pool):
    """Members are compared by identity all over the world."""
    assert pool.submit(tasks.identity, tasks.Colour.RED).result() is tasks.Colour.RED


def test_arguments_named_like_those_of_submit(pool):
    """`submit(fn, /, ...)`: every keyword is the task's own."""
    kwargs = {"self": 1, "fn": 2, "function": 3, "args": 4, "kwargs": 5, "timeout": 6}
    assert pool.submit(tasks.echo, **kwargs).result() == ((), kwargs)


def test_no_arguments_and_no_result(pool):
    """The empty tuple and None are values like any other."""
    assert pool.submit(tasks.echo).result() == ()
    future = pool.submit(tasks.nothing)
    assert future.result() is None
    assert future.exception() is None


def test_result_gives_the_same_object_each_time(pool):
    """Decoding anew for each call would make equal objects that are not one."""
    future = pool.submit(tasks.identity, [1])
    assert future.result() is future.result()
    failed = pool.submit(tasks.raise_custom)
    assert failed.exception() is failed.exception()


def test_the_caller_may_change_its_arguments_after_submit(pool, gate):
    """Arguments encoded late would travel as they are then, not as they were given."""
    blocker = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    value = [1]
    future = pool.submit(tasks.identity, value)
    value.append(2)
    gate.open()
    assert future.result() == [1]
    assert value == [1, 2]
    assert blocker.result() == "released"


def test_one_object_twice_stays_one(pool):
    """Arguments encoded one by one lose their identity among each other."""
    value = [1]
    assert pool.submit(tasks.shared_twice, value, value).result()
    assert pool.submit(tasks.shared_twice, value, second=value).result()
    first, second = pool.submit(tasks.identity, (value, value)).result()
    assert first is second


def test_cycles(pool):
    """A codec that recurses without memory never ends here."""
    value = []
    value.append(value)
    assert pool.submit(tasks.has_cycle, value).result()
    got = pool.submit(tasks.identity, value).result()
    assert got[0] is got
    mapping = {}
    mapping["self"] = mapping
    got = pool.submit(tasks.identity, mapping).result()
    assert got["self"] is got


def test_ten_megabytes_of_bytes(pool):
    """The borrowed view over a large payload was freed too early, or kept."""
    value = bytes(range(256)) * 40_000
    assert pool.submit(tasks.identity, value).result() == value
    pair = pool.submit(tasks.echo, value, x=bytearray(value)).result()
    assert pair == ((value,), {"x": value})


@pytest.mark.parametrize("size", [4000, 4095, 4096, 4097, 65536])
def test_payloads_around_the_size_where_the_way_changes(pool, size):
    """Small payloads are copied, larger ones viewed."""
    for value in (b"x" * size, b"x" * (size - 60)):
        assert pool.submit(tasks.identity, value).result() == value


def test_deep_recursion_is_an_error_and_not_a_crash(pool):
    """A worker's thread with a small stack died of what raises RecursionError in main."""
    with pytest.raises(RecursionError):
        pool.submit(tasks.recurse_for_ever).result()
    assert pool.submit(tasks.recurse, 900).result() == 900


@pytest.mark.slow
def test_a_deeply_nested_argument_is_an_error_and_not_a_crash(pool):
    """Pickle recurses as deep as the value does."""
    value = None
    for _ in range(200_000):
        value = [value]

    with pytest.raises(NotTransferableError, match="recursion"):
        pool.submit(tasks.identity, value).result()
    while value:  # freed level by level: not the subject here
        value = value[0]


@pytest.mark.slow
def test_a_task_that_recursed_too_deep_leaves_the_worker_sound(pool):
    """The recursion counter of the worker's thread state stayed where the task left it."""
    for _ in range(20):
        assert type(pool.submit(tasks.recurse_for_ever).exception()) is RecursionError
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_by_reference_needs_the_edited_path(pool, tmp_path, monkeypatch):
    """#126714: an interpreter does not inherit the program's edits to sys.path."""
    (tmp_path / "only_on_the_edited_path.py").write_text("def fn(): return 'found'\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("only_on_the_edited_path")
    assert pool.submit(module.fn).result() == "found"
