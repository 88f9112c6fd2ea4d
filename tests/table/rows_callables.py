"""Rows: everything that can be called."""

# ruff: noqa: E501 - programs, as one writes them

from rows import Row

ROWS = (
    Row(
        "a function of the program",
        """\
def add(first, second):
    return first + second
""",
        "pool.submit(add, 1, 2).result()",
        "3",
    ),
    Row(
        "keyword arguments and defaults",
        """\
def order(first, second="b", *rest, third, fourth="d", **more):
    return first, second, rest, third, fourth, more
""",
        """\
(
    pool.submit(order, 1, third=3).result(),
    pool.submit(order, 1, 2, 3, third=3, fourth=4, fifth=5).result(),
)
""",
        "((1, 'b', (), 3, 'd', {}), (1, 2, (3,), 3, 4, {'fifth': 5}))",
    ),
    Row(
        "a default that is a function",
        """\
def twice(value, scale=lambda value: 2 * value):
    return scale(value)
""",
        "pool.submit(twice, 4).result()",
        "8",
    ),
    Row(
        "a function that reads a global",
        """\
FACTOR = 3
def scale(value):
    return value * FACTOR
""",
        "list(pool.map(scale, range(4)))",
        "[0, 3, 6, 9]",
    ),
    Row(
        "a global that changes between two calls",
        """\
LEVEL = 1
def level():
    return LEVEL
def change(value):
    global LEVEL
    LEVEL = value
""",
        """\
before = pool.submit(level).result()
change(2)
before, pool.submit(level).result()
""",
        "(1, 2)",
    ),
    Row(
        "a function that was defined anew: the newest counts",
        """\
def version():
    return "old"
def make_new():
    global version
    def version():
        return "new"
""",
        """\
before = pool.submit(version).result()
make_new()
before, pool.submit(version).result()
""",
        "('old', 'new')",
    ),
    Row(
        "a helper that was defined anew: the newest counts",
        """\
def helper():
    return "old"
def uses_helper():
    return helper()
def make_new_helper():
    global helper
    def helper():
        return "new"
""",
        """\
before = pool.submit(uses_helper).result()
make_new_helper()
before, pool.submit(uses_helper).result()
""",
        "('old', 'new')",
    ),
    Row(
        "a function that calls itself",
        """\
def factorial(number):
    return 1 if number < 2 else number * factorial(number - 1)
""",
        "pool.submit(factorial, 10).result()",
        "3628800",
    ),
    Row("a lambda", "", "pool.submit(lambda value: value + 1, 2).result()", "3"),
    Row(
        "a lambda in a dict in a global",
        "HANDLERS = {'negate': lambda value: -value, 'same': lambda value: value}\n",
        "pool.submit(HANDLERS['negate'], 5).result(), pool.submit(lambda: HANDLERS['same'](6)).result()",
        "(-5, 6)",
    ),
    Row(
        "map of a lambda",
        "",
        "list(pool.map(lambda first, second: first * second, [1, 2, 3], [4, 5, 6]))",
        "[4, 10, 18]",
    ),
    Row(
        "a closure",
        """\
def adder(base):
    return lambda value: base + value
""",
        "pool.submit(adder(10), 5).result()",
        "15",
    ),
    Row(
        "a closure whose value changes between two calls",
        "",
        """\
base = 1
def closure():
    return base
first = pool.submit(closure).result()
base = 2
first, pool.submit(closure).result()
""",
        "(1, 2)",
    ),
    Row(
        "a closure that calls itself",
        """\
def maker():
    def fibonacci(number):
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)
    return fibonacci
""",
        "pool.submit(maker(), 12).result()",
        "144",
    ),
    Row(
        "two closures that call each other",
        """\
def pair():
    def even(number):
        return True if number == 0 else odd(number - 1)
    def odd(number):
        return False if number == 0 else even(number - 1)
    return even
""",
        "pool.submit(pair(), 10).result()",
        "True",
    ),
    Row(
        "a counter with nonlocal",
        """\
def counter(start):
    def count():
        nonlocal start
        start += 1
        return start
    return count
""",
        "pool.submit(counter(4)).result()",
        "5",
    ),
    Row(
        "a bound method",
        """\
class Account:
    def __init__(self, balance):
        self.balance = balance
    def plus(self, amount, *, times=1):
        return self.balance + amount * times
""",
        "pool.submit(Account(10).plus, 5, times=2).result()",
        "20",
    ),
    Row(
        "class methods and static methods",
        """\
class Makes:
    unit = "m"
    @classmethod
    def label(cls, value):
        return f"{value} {cls.unit} {cls.__name__}"
    @staticmethod
    def double(value):
        return value * 2
""",
        "pool.submit(Makes.label, 3).result(), pool.submit(Makes.double, 3).result()",
        "('3 m Makes', 6)",
    ),
    Row(
        "an inherited method that calls super()",
        """\
class Base:
    def name(self):
        return "base"
class Derived(Base):
    def name(self):
        return "derived of " + super().name()
""",
        "pool.submit(Derived().name).result(), pool.submit(Derived.name, Derived()).result()",
        "('derived of base', 'derived of base')",
    ),
    Row(
        "a method of a local class",
        """\
def local_instance(value):
    class Local:
        def __init__(self, value):
            self.value = value
        def squared(self):
            return self.value**2
    return Local(value)
""",
        "pool.submit(local_instance(7).squared).result()",
        "49",
    ),
    Row(
        "a function in a class in a function",
        """\
def outer():
    class Middle:
        @staticmethod
        def make():
            return lambda value: f"inner {value}"
    return Middle.make()
""",
        "pool.submit(outer(), 1).result()",
        "'inner 1'",
    ),
    Row(
        "a class in a function whose body names globals",
        """\
LIMIT = 10
class Unit:
    name = "m"
def checked(cls):
    return cls
def measure(value):
    class Length(Unit):
        limit = LIMIT
        @checked
        class Error(Unit):
            text = f"over {LIMIT}"
    return Length.name, Length.Error.text if value > Length.limit else value
""",
        "pool.submit(measure, 11).result()",
        "('m', 'over 10')",
    ),
    Row(
        "a callable instance",
        """\
class Multiply:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, value):
        return self.factor * value
""",
        "pool.submit(Multiply(6), 7).result()",
        "42",
    ),
    Row(
        "a class",
        """\
class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y
""",
        """\
point = pool.submit(Point, 1, y=2).result()
type(point) is Point, point.x, point.y
""",
        "(True, 1, 2)",
    ),
    Row("a built-in class", "", "pool.submit(complex, 1, 2).result()", "(1+2j)"),
    Row(
        "an exception class",
        """\
class Odd(Exception):
    pass
""",
        """\
error = pool.submit(Odd, "no error here").result()
type(error) is Odd, error.args
""",
        "(True, ('no error here',))",
    ),
    Row(
        "a property's getter",
        """\
class Circle:
    radius = 3
    @property
    def diameter(self):
        return 2 * self.radius
""",
        "pool.submit(Circle.diameter.fget, Circle()).result()",
        "6",
    ),
    Row(
        "a cached property, read in the task",
        """\
import functools
class Slow:
    def __init__(self, value):
        self.value = value
    @functools.cached_property
    def computed(self):
        return self.value + 1
def read_twice(slow):
    return slow.computed, slow.computed
""",
        "pool.submit(read_twice, Slow(1)).result()",
        "(2, 2)",
    ),
)
