"""Functions that travel by value, each with what once went wrong: run as a program, or registered.

Each row calls `run(fn, *args)`, which is `submit(...).result()`.
"""

import concurrent.futures
import contextlib
import functools
import operator
import sys
import threading
import types
from typing import NamedTuple

import subpool
from support import run_rows

if "_subpool_worker" in sys.modules:
    raise ImportError("no worker imports this module")

if sys.version_info >= (3, 14):
    import annotationlib

FACTOR = 3
ROWS = {}


def row(check):
    ROWS[check.__name__] = check
    return check


@functools.cache
def cached(x):
    cached_calls.append(x)
    return len(cached_calls)


cached_calls = []


@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@row
def a_cached_function(run):
    """Pickle knew it by its name alone, and the worker's module did not have it."""
    assert run(fibonacci, 30) == 832040


@row
def a_cache_lasts_from_call_to_call(run):
    """A new cache with each shipment remembers nothing."""
    assert [run(cached, 1), run(cached, 1), run(lambda: cached(1))] == [1, 1, 1]
    assert cached_calls == []


@functools.singledispatch
def kind(_value):
    return "object"


@kind.register
def _(_value: int):
    return "int"


@row
def a_single_dispatch_function(run):
    """It holds weak references, which pickle refuses."""
    assert [run(kind, 1), run(kind, "text"), run(lambda: kind(True))] == ["int", "object", "int"]


class Dispatching:
    @functools.singledispatchmethod
    def method(self, _value):
        return "object"

    @method.register
    def _(self, _value: int):
        return "int"

    def add(self, first, second):
        return first + second

    add_one = functools.partialmethod(add, 1)


@row
def a_dispatching_method_and_a_partial_method(run):
    """`partialmethod` pickles to something that cannot be made again."""
    assert run(Dispatching().method, 1) == "int"
    assert run(Dispatching().add_one, 4) == 5


def traced(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return "traced", fn(*args)

    return wrapper


@traced
def decorated(x):
    return x * FACTOR


@row
def a_decorator_that_hides_the_original(run):
    """By its name the wrapper is taken for the function."""
    assert run(decorated, 2) == ("traced", 6)


@subpool.interpreter
def tagged(x):
    return x + FACTOR


@row
def a_tag_among_the_globals(run):
    """A tag is known by its name, which leads nowhere there."""
    assert run(lambda x: tagged(x) * 2, 1) == 8


if sys.version_info >= (3, 14):

    def annotated(x: Nothing, y: int = 2) -> UndefinedName:  # noqa: F821
        return x + y

else:  # computed at once

    def annotated(x: "Nothing", y: int = 2) -> "UndefinedName":  # noqa: F821
        return x + y


@row
def annotations_that_name_nothing(run):
    """They were computed to be sent: a NameError, or an import of what no worker has."""
    assert run(annotated, 1) == 3


class Foreign:
    """An instance of a library's class, to look at."""


Foreign.__module__ = "a_library_that_no_worker_has"


def defaults(x, y=Foreign(), *, z=Foreign()):  # noqa: B008 - as FastAPI's endpoints have them
    return x + y + z


@row
def defaults_that_the_call_does_not_use(run):
    """`Depends()` of a FastAPI endpoint brought fastapi to a worker, which cannot import it."""
    assert run(defaults, 1, 2, z=3) == 6
    assert run(defaults, x=1, y=2, z=4) == 7


@contextlib.contextmanager
def managed():
    yield FACTOR


@row
def a_context_manager(run):
    """Its code is that of a generator, wrapped by a function of contextlib."""

    def enter():
        with managed() as value:
            return value

    assert run(enter) == 3


@row
def closures_share_their_variables(run):
    """Each function had a variable of its own there."""

    def make():
        count = 0

        def increment():
            nonlocal count
            count += 1

        return increment, lambda: count

    increment, get = make()
    assert run(lambda: (increment(), increment(), get())[-1]) == 2


@row
def closures_that_lead_to_each_other(run):
    """Cells are filled after the functions are made, or this never ends."""

    def is_even(n):
        return n == 0 or is_odd(n - 1)

    def is_odd(n):
        return n > 0 and is_even(n - 1)

    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    factorial.self = factorial
    assert run(is_even, 10)
    assert run(lambda: (factorial(5), factorial.self is factorial)) == (120, True)


@row
def a_variable_of_a_closure_that_is_not_set(run):
    """There is nothing to send, and still a cell to make."""

    def fn():
        try:
            return later
        except NameError:
            return "not set"

    assert run(fn) == "not set"
    later = None


@row
def a_module_that_only_an_inner_function_reaches(run):
    """A package without the submodules that the code names has no such attribute."""

    def outer():
        def inner():
            return concurrent.futures.Future.__name__

        return inner()

    assert run(outer) == "Future"


@row
def a_method_under_another_name(run):
    """Pickle takes it for an attribute that its object does not have."""
    assert run(types.MethodType(lambda self, x: self + x, 5), 1) == 6
    assert run(Odd().method) == "odd"


class Odd:
    method = lambda self: "odd"  # noqa: E731


@row
def partials(run):
    """Of lambdas, of partials, with keywords and placeholders."""
    assert run(functools.partial(functools.partial(lambda a, b, c: (a, b, c), 1), c=3), 2) == (
        1, 2, 3,
    )  # fmt: skip
    if placeholder := getattr(functools, "Placeholder", None):
        assert run(functools.partial(operator.sub, placeholder, 1), 5) == 4


class Point(NamedTuple):
    x: int


@row
def builtins_and_their_methods(run):
    """They have a name, or a name at their object."""
    assert run("-".join, ["a", "b"]) == "a-b"
    assert run([1, 2].pop) == 2
    assert run(int.from_bytes, b"\x01", "big") == 1
    assert run(functools.reduce, lambda a, b: a * b, [2, 3]) == 6
    assert run(operator.attrgetter("x"), Point(1)) == 1


local = threading.local()


@row
def a_thread_local(run):
    """Refused; and each call had one of its own, so that nothing lasted."""

    def count():
        local.calls = getattr(local, "calls", 0) + 1
        return local.calls

    assert [run(count), run(count)] == [1, 2]
    assert not hasattr(local, "calls")


HANDLERS = {"double": lambda x: x * 2}


@row
def a_lambda_in_a_global(run):
    """It is reached through a dict, not by a name."""
    assert run(HANDLERS["double"], 2) == 4
    assert run(lambda x: HANDLERS["double"](x) + FACTOR, 1) == 5


@row
def the_name_of_the_module(run):
    """Code that asks for it gets the module's own."""
    assert run(lambda: __name__) == __name__


SIZE = 2


class Measure:
    """A base that only the body of an inner class names."""


def once(function):
    return function


# As every module may have some: the body of a class has a name of its own for it.
unsent = threading.Lock()


def in_a_class():
    class Outer:
        size = SIZE
        unsent = 3
        twice = [2 * unsent]

        class Inner[T](Measure):
            pass

        @once
        def name(self) -> str:
            return type(self).__name__

    return Outer.size, Outer.twice, Outer.Inner.__bases__[0].__name__, Outer().name()


@row
def globals_in_the_body_of_a_class(run):
    """A class that a function makes: only globals that functions name went along."""
    assert run(in_a_class) == (2, [6], "Measure", "Outer")


if sys.version_info >= (3, 14):  # before, the body of the class computes them
    a_library = types.ModuleType("a_library_that_no_worker_has")

    class Celsius:
        """Named by an annotation alone."""

    def annotations_of_a_local_class():
        class Reading:
            value: Celsius
            clock: a_library.Clock

        found = annotationlib.get_annotations(Reading, format=annotationlib.Format.FORWARDREF)
        return [type(kind).__name__ for kind in found.values()]

    @row
    def annotations_of_a_class_in_a_function(run):
        """They did not bring what they name; and must not bring what no worker can import."""
        assert run(annotations_of_a_local_class) == ["type", "ForwardRef"]


if __name__ == "__main__":
    print(run_rows(ROWS))
