"""What has no importable name travels as code."""

import sys
import types

import tasks
from subpool import interpreter

MAIN = tasks.interpreter_id()
THRESHOLD = 10


def test_a_lambda(pool):
    """The standard pool refuses it: args not shareable."""
    assert pool.submit(lambda x: x + 1, 2).result() == 3


def test_a_closure(pool):
    """The standard pool refuses it: the cell holds a value of the caller's."""
    base = [10]

    def fn(x, *, y=5):
        return base[0] + x + y

    assert pool.submit(fn, 1).result() == 16
    assert pool.submit(fn, 1, y=0).result() == 11


def test_a_closure_is_sent_as_it_is_at_each_submit(pool):
    """A function remembered by identity would keep the values of its first journey."""
    base = 10

    def fn():
        return base

    assert pool.submit(fn).result() == 10
    base = 20
    assert pool.submit(fn).result() == 20


def test_a_local_recursive_function(pool):
    """Its own cell is a cycle through itself."""

    def factorial(n):
        return 1 if n == 0 else n * factorial(n - 1)

    assert pool.submit(factorial, 10).result() == 3628800


def test_a_local_class(pool):
    """Instances and methods of a class that no worker can import."""

    class Local:
        def __init__(self, value):
            self.value = value

        def method(self, more):
            return self.value + more

        @classmethod
        def make(cls, value):
            return cls(value).value

    assert pool.submit(Local(1).method, 2).result() == 3
    assert pool.submit(Local.make, 4).result() == 4
    assert pool.submit(lambda x: x.value, Local(5)).result() == 5
    assert pool.submit(Local, 6).result().value == 6


def test_an_instance_of_a_local_class_keeps_its_class_on_the_way_back(pool):
    """A round trip by value made a second class, and isinstance failed."""

    class Local:
        pass

    got = pool.submit(lambda x: x, Local()).result()
    assert type(got) is Local


def test_a_function_as_an_argument_and_a_result(pool):
    """By value applies to what a call carries, not to its function alone."""
    assert pool.submit(tasks.identity, lambda x: x + 1).result()(1) == 2
    assert pool.submit(lambda: lambda x: x + 2).result()(1) == 3


def test_a_generator_function_and_a_comprehension(pool):
    """Code objects with flags of their own."""

    def numbers(n):
        yield from (i * i for i in range(n))

    assert pool.submit(lambda: list(numbers(4))).result() == [0, 1, 4, 9]


def test_a_lambda_at_module_level(pool):
    """A lambda at module level has a name that leads nowhere: `<lambda>`."""
    assert pool.submit(module_lambda, 1).result() == 11


module_lambda = lambda x: x + THRESHOLD  # noqa: E731


def test_a_local_function_under_a_tag(executor):
    """The tag and the journey by value are two things."""

    def fn():
        return tasks.interpreter_id()

    assert executor.submit(interpreter(fn)).result() != MAIN


def test_a_function_whose_name_was_given_to_another(pool, monkeypatch):
    """By name, the worker would run the function that has the name now."""
    original = tasks.add
    monkeypatch.setattr(tasks, "add", lambda first, second: "impostor")
    assert pool.submit(original, 1, 2).result() == 3


def test_a_function_that_claims_another_module(pool):
    """`functools.wraps` copies __module__ and __qualname__ from what it wraps."""
    import functools

    @functools.wraps(tasks.add)
    def wrapper(*args):
        return "wrapped", tasks.add(*args)

    assert pool.submit(wrapper, 1, 2).result() == ("wrapped", 3)


def test_an_attribute_of_a_function_travels(pool):
    """A function's __dict__ is part of it."""

    def fn():
        return fn.attribute

    fn.attribute = "there"
    assert pool.submit(fn).result() == "there"


def test_a_module_as_an_argument(pool):
    """A module cannot be pickled, but named."""
    assert pool.submit(lambda module: module.__name__, types).result() == "types"


def test_by_value_is_not_paid_for_by_those_who_do_not_use_it(pool):
    """cloudpickle costs 50 ms and 8 MB in each interpreter."""
    assert pool.submit(tasks.echo, [1], {"a": "b"}).result() == ([1], {"a": "b"})
    pool.submit(tasks.raise_custom).exception()
    pool.submit(tasks.lock).exception()
    assert not pool.submit(tasks.is_loaded, "cloudpickle").result()
    pool.submit(lambda: None).result()
    assert pool.submit(tasks.is_loaded, "cloudpickle").result()
    assert "cloudpickle" in sys.modules
