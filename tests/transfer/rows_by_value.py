"""Callables that travel by value, each with what once went wrong: run as a program, or registered.

Each row calls `run(fn, *args)`, which is `submit(...).result()`.
"""

from __future__ import annotations

import abc
import concurrent.futures
import contextlib
import dataclasses
import enum
import functools
import json
import operator
import sys
import threading
import traceback
import types
import typing
from typing import TYPE_CHECKING, Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import subpool
import tasks

if TYPE_CHECKING:
    from nowhere import Nothing

if "_subpool_worker" in sys.modules:
    raise ImportError("no worker imports this module")

T = TypeVar("T")
P = typing.ParamSpec("P")
UserId = NewType("UserId", int)
type Numbers = list[int]
FACTOR = 3
ROWS = {}


def row(check):
    ROWS[check.__name__] = check
    return check


# Functions and what decorates them.


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


def annotated(x: Nothing, y: UserId = 2) -> UndefinedName:  # noqa: F821
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


@row
def builtins_and_their_methods(run):
    """They have a name, or a name at their object."""
    assert run("-".join, ["a", "b"]) == "a-b"
    assert run([1, 2].pop) == 2
    assert run(int.from_bytes, b"\x01", "big") == 1
    assert run(functools.reduce, lambda a, b: a * b, [2, 3]) == 6
    assert run(operator.attrgetter("x"), Point(1)) == 1


# Classes.


class Point(NamedTuple):
    x: int
    y: int = 2

    def total(self):
        return self.x + self.y


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list)
    parent: Record | None = None

    def raised(self):
        return dataclasses.replace(self, x=self.x + 1)


class Options(TypedDict, total=False):
    verbose: bool


@row
def records(run):
    """Named tuples, dataclasses and typed dicts are what they are on both ways."""
    assert run(Point(1).total) == 3
    assert type(run(lambda point: point, Point(1))) is Point
    assert run(Record(1).raised) == Record(2)
    assert run(lambda: Options(verbose=True)) == {"verbose": True}


@row
def annotations_of_a_class(run):
    """3.14 computes them late, and they were forgotten."""
    assert run(lambda: sorted(Options.__annotations__)) == ["verbose"]
    assert run(lambda: [field.name for field in dataclasses.fields(Record)]) == [
        "x", "tags", "parent",
    ]  # fmt: skip


class Slotted:
    __slots__ = ("__private", "public")

    def __init__(self):
        self.__private = 3
        self.public = 4

    def private(self):
        return self.__private


@row
def slots(run):
    """They were attributes of a class whose instances had a `__dict__`; main then refused it."""
    assert run(lambda given: (hasattr(given, "__dict__"), given.private()), Slotted()) == (False, 3)
    assert run(Slotted).public == 4


class Plugin:
    seen: typing.ClassVar[list[str]] = []

    def __init_subclass__(cls, *, name):
        Plugin.seen.append(name)
        cls.name = name


class Csv(Plugin, name="csv"):
    def describe(self):
        return self.name, Plugin.seen


@row
def a_base_with_init_subclass(run):
    """It was run a second time there, and without its arguments."""
    assert run(Csv().describe) == ("csv", ["csv"])


class Known(tasks.Registering):
    pass


class Needs(tasks.Demanding, need=3):
    pass


@row
def a_base_of_a_library(run):
    """The library's copy in the worker has to know of the class, too, if that can be."""
    assert run(lambda: (Known.__name__, tasks.Registering.known)) == ("Known", ["Known"])
    assert run(lambda: Needs().need) == 3


class Counting(abc.ABCMeta):
    made: typing.ClassVar[list[str]] = []

    def __new__(cls, name, bases, namespace, *, unit):
        cls.made.append(name)
        made = super().__new__(cls, name, bases, namespace)
        made.unit = unit
        return made

    def __init__(cls, name, bases, namespace, *, unit):
        super().__init__(name, bases, namespace)


class Length(metaclass=Counting, unit="m"):
    def describe(self):
        return self.unit, Counting.made


@row
def a_metaclass(run):
    """As above."""
    assert run(Length().describe) == ("m", ["Length"])
    length = Length()
    length.value = 4  # 3.15 made a class there whose instances had no room for it
    assert run(lambda given: given.value, length) == 4


class Planet(enum.Enum):
    EARTH = (6.0, "blue")
    MARS = (0.6, "red")
    TERRA = EARTH

    def __init__(self, mass, colour):
        self.mass = mass
        self.colour = colour

    @classmethod
    def heaviest(cls):
        return max(cls, key=lambda planet: planet.mass)


class Code(bytes, enum.Enum):
    def __new__(cls, number, label):
        made = bytes.__new__(cls, [number])
        made._value_ = number
        made.label = label
        return made

    NO = (0, "no")
    YES = (1, "yes")


class Access(enum.IntFlag):
    READ = 4
    WRITE = 2
    ALL = 6


class Operation(enum.Enum):
    ADD = enum.member(functools.partial(operator.add))

    def __call__(self, *args):
        return self.value(*args)


@row
def enums(run):
    """Members without what their `__init__` or `__new__` gave them; aliases that were gone."""
    assert run(Planet.heaviest) is Planet.EARTH
    assert run(lambda planet: (planet.colour, Planet["TERRA"] is planet), Planet.EARTH) == (
        "blue", True,
    )  # fmt: skip
    assert run(lambda code: (code.label, code.value, bytes(code)), Code.YES) == ("yes", 1, b"\x01")
    assert run(lambda: Access.READ | Access.WRITE) is Access.ALL
    assert run(Operation.ADD, 1, 2) == 3
    assert run(lambda: Planet((0.6, "red"))) is Planet.MARS


class Stack(Generic[T]):  # noqa: UP046 - the old way
    def __init__(self):
        self.items: list[T] = []

    def push(self, item: T) -> Stack[T]:
        self.items.append(item)
        return self


@typing.runtime_checkable
class Pushes(Protocol):
    def push(self, item): ...


@row
def generics_and_protocols(run):
    """Their parameters are known by name alone."""
    assert run(Stack[int]().push, 1).items == [1]
    assert run(lambda: isinstance(Stack(), Pushes))
    assert run(lambda: T) is T


@row
def names_for_types(run):
    """Pickle knows them by name alone."""
    assert run(UserId, 3) == 3
    assert run(lambda: (Numbers.__name__, P.__name__, UserId(4))) == ("Numbers", "P", 4)


class Error(Exception):
    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


@row
def an_exception_class_as_a_callable(run):
    """It comes back as main's own."""
    error = run(Error, "text", 2)
    assert (type(error), error.args, error.code) == (Error, ("text",), 2)


class Self:
    pass


Self.instance = Self()
Self.itself = Self


@row
def a_class_that_leads_to_itself(run):
    """Its state comes after it was made."""
    assert run(lambda: (type(Self.instance) is Self, Self.itself is Self)) == (True, True)


@row
def a_class_without_a_module(run):
    """`type` called from C knows no module to note."""
    assert run(type, "Made", (), {}).__name__ == "Made"


# Globals.


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


def main():
    """Run all rows on one pool and print what failed."""
    failed = {}
    with subpool.InterpreterPoolExecutor(1) as ex:
        for name, check in ROWS.items():
            try:
                check(lambda fn, *args, **kwargs: ex.submit(fn, *args, **kwargs).result(20))
            except BaseException:
                failed[name] = traceback.format_exc()
    print(json.dumps(failed))


if __name__ == "__main__":
    main()
