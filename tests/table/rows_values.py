"""Rows: what goes along as an argument, and what comes back."""

# ruff: noqa: E501 - programs, as one writes them

from rows import Row

SAME = """\
def same(value):
    return value
"""


def there_and_back(what, value, setup="", **options):
    """Give a row for a value that must come back equal, of the same types."""
    return Row(
        what,
        setup + SAME,
        f"""\
value = {value}
back = pool.submit(same, value).result()
type(back) is type(value), back == value
""",
        "(True, True)",
        **options,
    )


ROWS = (
    there_and_back(
        "numbers",
        """[
    0, -1, 2**200, True, 1.5, -0.0, float("inf"), 3 - 4j, None, ...,
    decimal.Decimal("1.10"), fractions.Fraction(2, 3),
]""",
        "import decimal, fractions\n",
    ),
    there_and_back(
        "text and bytes",
        r"""["", "caf\u00e9 \U0001f40d", "\udc80 alone", "\0", b"\xff\0", bytearray(b"ab"), "x" * 100_000]""",
    ),
    there_and_back(
        "containers of the standard library",
        """{
    "tuple": (1, (2,)), 3: {4, frozenset([5])}, (6, 7): range(8), None: slice(1, 2),
    "deque": collections.deque([1, 2], maxlen=2), "counter": collections.Counter("aab"),
    "ordered": collections.OrderedDict(b=1, a=2), "chain": collections.ChainMap({1: 2}, {3: 4}),
    "array": array.array("d", [1.5]), "names": types.SimpleNamespace(a=1),
}""",
        "import array, collections, types\n",
    ),
    there_and_back(
        "dates, paths, patterns and the like",
        """[
    datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC), datetime.timedelta(1.5),
    zoneinfo.ZoneInfo("UTC"), pathlib.Path("a/b"), re.compile("a+", re.I), uuid.UUID(int=5),
    ipaddress.ip_network("10.0.0.0/8"),
]""",
        "import datetime, ipaddress, pathlib, re, uuid, zoneinfo\n",
    ),
    Row(
        "what is twice in a value stays one, and a cycle a cycle",
        SAME,
        """\
shared = [1]
cycle = {"twice": [shared, shared]}
cycle["self"] = cycle
back = pool.submit(same, cycle).result()
back["self"] is back, back["twice"][0] is back["twice"][1]
""",
        "(True, True)",
    ),
    Row(
        "an instance of the program's class, there and back",
        """\
class Point:
    def __init__(self, x):
        self.x = x
def shift(point):
    assert type(point) is Point
    return Point(point.x + 1)
""",
        """\
back = pool.submit(shift, Point(1)).result()
type(back) is Point, back.x
""",
        "(True, 2)",
    ),
    Row(
        "an instance of a local class, there and back",
        SAME,
        """\
class Local:
    value = 5
back = pool.submit(same, Local()).result()
type(back) is Local, back.value
""",
        "(True, 5)",
    ),
    Row(
        "classes themselves, there and back",
        SAME + "class Plain:\n    pass\n",
        """\
class Local:
    pass
pool.submit(same, [Plain, Local, int]).result() == [Plain, Local, int]
""",
        "True",
    ),
    Row(
        "enum members are the program's own",
        """\
import enum
class Colour(enum.Enum):
    RED = 1
    GREEN = "g"
class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
def check_colour(colour):
    return colour is Colour.RED, Colour.GREEN, Access.READ | Access.WRITE
""",
        """\
same, green, access = pool.submit(check_colour, Colour.RED).result()
same, green is Colour.GREEN, access is Access.READ | Access.WRITE
""",
        "(True, True, True)",
    ),
    Row(
        "dataclasses: plain, frozen, with slots",
        """\
import dataclasses
@dataclasses.dataclass
class Order:
    number: int
    lines: list = dataclasses.field(default_factory=list)
@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    text: str
    price: float = 0.5
def fill(order):
    order.lines.append(Line("bread"))
    return order
""",
        "pool.submit(fill, Order(7)).result() == Order(7, [Line('bread')])",
        "True",
    ),
    Row(
        "a NamedTuple and a TypedDict",
        """\
import typing
class Pair(typing.NamedTuple):
    first: int
    second: str = "s"
class Movie(typing.TypedDict):
    title: str
def film(pair):
    return pair._replace(first=pair.first + 1), Movie(title=pair.second)
""",
        """\
pair, movie = pool.submit(film, Pair(1)).result()
type(pair) is Pair, pair, movie
""",
        "(True, Pair(first=2, second='s'), {'title': 's'})",
    ),
    Row(
        "a generic class, with type parameters",
        """\
class Box[T]:
    def __init__(self, value: T):
        self.value = value
    def map(self, function):
        return Box(function(self.value))
""",
        """\
back = pool.submit(Box[int](4).map, lambda value: value * 2).result()
type(back) is Box, back.value
""",
        "(True, 8)",
    ),
    Row(
        "subclasses of built-in types",
        """\
import collections
class Name(str):
    __slots__ = ()
class Bag(dict):
    def total(self):
        return sum(self.values())
def use_bag(bag, name):
    return Name(name + "!"), bag.total(), bag
""",
        """\
name, total, bag = pool.submit(use_bag, Bag(a=1, b=2), Name("n")).result()
type(name) is Name, name, total, type(bag) is Bag, bag
""",
        "(True, 'n!', 3, True, {'a': 1, 'b': 2})",
    ),
    Row(
        "__slots__, __getstate__ and __reduce__",
        """\
class Slotted:
    __slots__ = ("left", "right")
    def __init__(self, left):
        self.left = left
class Stateful:
    def __getstate__(self):
        return {"kept": self.kept}
class Reduced:
    def __init__(self, value):
        self.value = value
    def __reduce__(self):
        return Reduced, (self.value,)
def take_three(slotted, stateful, reduced):
    return slotted.left, vars(stateful), Reduced(reduced.value + 1)
""",
        """\
stateful = Stateful()
stateful.kept, stateful.dropped = 1, lambda: None
left, kept, reduced = pool.submit(take_three, Slotted([1]), stateful, Reduced(2)).result()
left, kept, type(reduced) is Reduced, reduced.value
""",
        "([1], {'kept': 1}, True, 3)",
    ),
    Row(
        "a metaclass and __init_subclass__",
        """\
class Registry(type):
    known = []
    def __new__(meta, name, bases, body):
        made = super().__new__(meta, name, bases, body)
        meta.known.append(name)
        return made
class Plugin(metaclass=Registry):
    def name(self):
        return type(type(self)).__name__, type(self).__name__
def use_plugin(plugin):
    return plugin.name(), plugin
""",
        """\
back = pool.submit(use_plugin, Plugin()).result()
back[0], type(back[1]) is Plugin, Registry.known
""",
        "(('Registry', 'Plugin'), True, ['Plugin'])",
    ),
    Row(
        "a lambda as an argument and as a result",
        "def apply(function, value):\n    return lambda: function(value)\n",
        "pool.submit(apply, lambda value: value + 1, 1).result()()",
        "2",
    ),
    Row(
        "a defaultdict with a lambda",
        "import collections\n",
        """\
counts = collections.defaultdict(lambda: 10, a=1)
back = pool.submit(lambda counts: (counts["new"], counts), counts).result()
back[0], back[1]["another"]
""",
        "(10, 10)",
    ),
    Row(
        "a module as an argument",
        "import json\ndef dump_with(module):\n    return module.dumps([None])\n",
        "pool.submit(dump_with, json).result()",
        "'[null]'",
    ),
    Row(
        "an exception as a value",
        """\
class Refusal(ValueError):
    pass
def swap(error):
    return Refusal(*error.args), type(error) is Refusal
""",
        """\
error, same = pool.submit(swap, Refusal("why", 2)).result()
type(error) is Refusal, error.args, same
""",
        "(True, ('why', 2), True)",
    ),
    Row(
        "keyword arguments with any names",
        "def names_of(**names):\n    return names\n",
        "pool.submit(names_of, **{'fn': 1, 'self': 2, 'no identifier': 3}).result()",
        "{'fn': 1, 'self': 2, 'no identifier': 3}",
    ),
    Row(
        "a task writes into the caller's memory through a memoryview",
        """\
def fill_view(view):
    view[1] = 255
    return len(view), view.readonly
""",
        """\
memory = bytearray(4)
pool.submit(fill_view, memoryview(memory)).result(), bytes(memory)
""",
        r"((4, False), b'\x00\xff\x00\x00')",
    ),
    Row(
        "a memoryview in a container, and one as a result",
        "def view_of(data):\n    return data['view'], memoryview(b'made there')\n",
        """\
given, made = pool.submit(view_of, {"view": memoryview(b"given")}).result()
bytes(given), bytes(made)
""",
        "(b'given', b'made there')",
    ),
    Row(
        "a lock in an argument: the error says where",
        "import threading\n" + SAME,
        """\
error = pool.submit(same, {"a": [1, threading.Lock()]}).exception()
[text in str(error) for text in ("args[0]['a'][1]", "_thread.lock", "same")]
""",
        "[True, True, True]",
    ),
    Row(
        "a generator as an argument: the error says which",
        SAME,
        """\
error = pool.submit(same, value=(number for number in range(3))).exception()
[text in str(error) for text in ("kwargs['value']", "generator", "same")]
""",
        "[True, True, True]",
    ),
    Row(
        "a closure over a socket: the error says what",
        "import socket\n",
        """\
with socket.socket() as open_socket:
    error = pool.submit(lambda: open_socket.fileno()).exception()
[text in str(error) for text in ("socket", "<lambda>")]
""",
        "[True, True]",
    ),
    Row(
        "a lock in a result: the error says where",
        """\
import threading
def with_lock():
    return {"a": [1, 2, 3, threading.Lock()]}
""",
        """\
error = pool.submit(with_lock).exception()
[text in str(error) for text in ("result['a'][3]", "_thread.lock", "with_lock")]
""",
        "[True, True, True]",
    ),
    Row(
        "a lock in a slot in a deque in a result: the error says where",
        """\
import collections, dataclasses, threading
@dataclasses.dataclass(slots=True)
class Holder:
    inner: object
def deep_lock():
    return collections.deque([Holder(1), Holder({"x": threading.Lock()})])
""",
        """\
error = pool.submit(deep_lock).exception()
[text in str(error) for text in ("result[1].inner['x']", "_thread.lock", "deep_lock")]
""",
        "[True, True, True]",
    ),
    Row(
        "an async function: the error says that a coroutine came back",
        "async def forgotten():\n    return 1\n",
        """\
error = pool.submit(forgotten).exception()
[text in str(error) for text in ("coroutine", "forgotten")]
""",
        "[True, True]",
    ),
)
