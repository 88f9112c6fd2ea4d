"""Classes that travel by value, each with what once went wrong: run as a program, or registered.

Each row calls `run(fn, *args)`, which is `submit(...).result()`.
"""

import abc
import dataclasses
import enum
import functools
import operator
import sys
import typing
from typing import Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import tasks_callables
from support import run_rows

if "_subpool_worker" in sys.modules:
    raise ImportError("no worker imports this module")

T = TypeVar("T")
P = typing.ParamSpec("P")
UserId = NewType("UserId", int)
type Numbers = list[int]
ROWS = {}


def row(check):
    ROWS[check.__name__] = check
    return check


class Point(NamedTuple):
    x: int
    y: int = 2

    def total(self):
        return self.x + self.y


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list)
    parent: "Record | None" = None

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


class Known(tasks_callables.Registering):
    pass


class Needs(tasks_callables.Demanding, need=3):
    pass


@row
def a_base_of_a_library(run):
    """The library's copy in the worker has to know of the class, too, if that can be."""
    assert run(lambda: (Known.__name__, tasks_callables.Registering.known)) == ("Known", ["Known"])
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

    def push(self, item: T) -> "Stack[T]":
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


if __name__ == "__main__":
    print(run_rows(ROWS))
