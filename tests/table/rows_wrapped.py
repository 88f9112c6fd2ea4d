"""Rows: callables made of others, and what a program's functions see of the program."""

from rows import Row

ROWS = (
    Row(
        "partial",
        """\
from functools import partial
def power(base, exponent, *, plus=0):
    return base**exponent + plus
""",
        "pool.submit(partial(power, 2, plus=1), 10).result()",
        "1025",
    ),
    Row(
        "a partial of a partial of a method",
        """\
from functools import partial
class Joiner:
    def __init__(self, mark):
        self.mark = mark
    def join(self, *parts, end=""):
        return self.mark.join(parts) + end
""",
        "pool.submit(partial(partial(Joiner('-').join, 'a'), 'b', end='!'), 'c').result()",
        "'a-b-c!'",
    ),
    Row(
        "a partial with a placeholder",
        """\
import functools
def minus(first, second):
    return first - second
""",
        "pool.submit(functools.partial(minus, functools.Placeholder, 1), 10).result()",
        "9",
        since=(3, 14),
    ),
    Row(
        "a partial of a lambda",
        "from functools import partial\n",
        "pool.submit(partial(lambda first, second: first / second, 1), 2).result()",
        "0.5",
    ),
    Row(
        "a built-in function",
        "",
        "pool.submit(sorted, [3, 1, 2], reverse=True).result()",
        "[3, 2, 1]",
    ),
    Row(
        "a method of a built-in object",
        "",
        "pool.submit('-'.join, ['a', 'b']).result(), pool.submit([1, 2, 2].count, 2).result()",
        "('a-b', 2)",
    ),
    Row(
        "a method that changes its object: main's stays",
        "",
        """\
numbers = [1]
pool.submit(numbers.append, 2).result(), numbers
""",
        "(None, [1])",
    ),
    Row(
        "what the module operator makes",
        """\
import operator
class Named:
    name = "by attribute"
    def greet(self, whom):
        return f"{self.name} to {whom}"
""",
        """\
(
    pool.submit(operator.attrgetter("name"), Named()).result(),
    pool.submit(operator.itemgetter(1, -1), "abc").result(),
    pool.submit(operator.methodcaller("greet", "all"), Named()).result(),
)
""",
        "('by attribute', ('b', 'c'), 'by attribute to all')",
    ),
    Row(
        "functools.reduce over an operator",
        "import functools, operator\n",
        "pool.submit(functools.reduce, operator.mul, range(1, 6)).result()",
        "120",
    ),
    Row(
        "a function decorated with functools.wraps",
        """\
import functools
def loud(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs).upper()
    return wrapper
@loud
def greet(name):
    return f"hello {name}"
""",
        "pool.submit(greet, 'you').result(), greet.__name__",
        "('HELLO YOU', 'greet')",
    ),
    Row(
        "a decorator that is a class and hides the function",
        """\
class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0
    def __call__(self, *args):
        self.calls += 1
        return self.calls, self.function(*args)
@Counted
def halve(value):
    return value / 2
""",
        "pool.submit(halve, 3).result(), halve.calls",
        "((1, 1.5), 0)",
    ),
    Row(
        "a function with an lru_cache",
        """\
import functools
@functools.lru_cache(maxsize=8)
def square(value):
    return value * value
""",
        "pool.submit(square, 5).result()",
        "25",
    ),
    Row(
        "a function that calls one with an lru_cache",
        """\
import functools
@functools.cache
def steps(number):
    return 0 if number == 1 else 1 + steps(number // 2 if number % 2 == 0 else 3 * number + 1)
def longest(limit):
    return max(range(1, limit), key=steps)
""",
        "pool.submit(longest, 30).result()",
        "27",
    ),
    Row(
        "a singledispatch function",
        """\
import functools
@functools.singledispatch
def show(value):
    return "something"
@show.register
def _(value: int):
    return "an int"
@show.register
def _(value: list):
    return "a list of " + ", ".join(map(show, value))
""",
        "pool.submit(show, [1, 'a']).result()",
        "'a list of an int, something'",
    ),
    Row(
        "a generator's function, its values collected",
        """\
def countdown(start):
    while start:
        yield start
        start -= 1
def collect(start):
    return list(countdown(start))
""",
        "pool.submit(collect, 3).result()",
        "[3, 2, 1]",
    ),
    Row(
        "a coroutine run by the task",
        """\
import asyncio
async def later(value):
    await asyncio.sleep(0)
    return value
def run_later(value):
    return asyncio.run(later(value))
""",
        "pool.submit(run_later, 'ran').result()",
        "'ran'",
    ),
    Row(
        "a generic function, with type parameters",
        """\
def first_of[T](values: list[T]) -> T:
    return values[0]
""",
        "pool.submit(first_of, ['a', 'b']).result()",
        "'a'",
    ),
    Row(
        "a function with an attribute",
        """\
def tuned(value):
    return value * tuned.factor
tuned.factor = 4
""",
        "pool.submit(tuned, 2).result()",
        "8",
    ),
    Row(
        "globals that are modules, under another name and in a package",
        """\
import os.path as paths
import xml.dom.minidom
def join_and_parse(first, second):
    return paths.join(first, second), xml.dom.minidom.parseString("<a/>").documentElement.tagName
""",
        "pool.submit(join_and_parse, 'x', 'y').result()",
        "('x/y', 'a')",
    ),
    Row(
        "a global that is a context variable",
        """\
import contextvars
request = contextvars.ContextVar("request", default="nobody's")
def read_request():
    return request.get()
""",
        "pool.submit(read_request).result()",
        '"nobody\'s"',
    ),
    Row(
        "the names that a program knows itself by",
        """\
def who_am_i():
    return __name__, who_am_i.__module__, who_am_i.__qualname__
""",
        "pool.submit(who_am_i).result()",
        "('__main__', '__main__', 'who_am_i')",
    ),
    Row(
        "a task of a program that has a file reads __file__",
        """\
import os
def where():
    return os.path.basename(__file__)
""",
        "pool.submit(where).result() == os.path.basename(__file__)",
        "True",
        forms=("guarded", "bare", "-m"),
    ),
    Row(
        "a task sets a global: main's stays",
        """\
STATE = []
def remember(value):
    STATE.append(value)
    return STATE
""",
        "pool.submit(remember, 1).result(), STATE",
        "([1], [])",
    ),
    Row(
        "an initializer sets a global for the tasks",
        """\
LIMIT = None
def initialize(limit):
    global LIMIT
    LIMIT = limit
def limited(value):
    return min(value, LIMIT)
""",
        """\
with make(initializer=initialize, initargs=(5,)) as other:
    result = other.submit(limited, 9).result()
result, LIMIT
""",
        "(5, None)",
    ),
    Row(
        "an initializer runs once in each worker",
        """\
RUNS = []
def initialize_once():
    RUNS.append(1)
def runs():
    return RUNS
""",
        """\
with make(initializer=initialize_once) as other:
    results = [other.submit(runs).result() for _ in range(2)]
results
""",
        "[[1], [1]]",
    ),
    Row(
        "a decorator that tags the function for interpreters",
        """\
import _interpreters
@tag
def tagged_at_once(value):
    return value, _interpreters.get_current()[0] == 0
""",
        "pool.submit(tagged_at_once, 1).result()",
        "(1, False)",
    ),
    Row(
        "a partial of a tagged function runs in an interpreter",
        """\
import _interpreters
from functools import partial
def where_run(value):
    return value, _interpreters.get_current()[0] == 0
""",
        "pool.submit(partial(tag(where_run), 1)).result()",
        "(1, False)",
    ),
    Row(
        "context variables that the pool was told to carry",
        """\
import contextvars
user = contextvars.ContextVar("user", default="nobody")
def read_user():
    return user.get()
""",
        """\
with make(context_vars=(user,)) as other:
    token = user.set("someone")
    result = other.submit(read_user).result()
    user.reset(token)
result, read_user()
""",
        "('someone', 'nobody')",
        own=True,
    ),
    Row(
        "asyncio.to_thread, with the pool as the loop's executor",
        """\
import asyncio
def add_up(*values):
    return sum(values)
async def through_thread(executor):
    asyncio.get_running_loop().set_default_executor(executor)
    return await asyncio.to_thread(add_up, 1, 2, 3)
""",
        """\
import asyncio
import threading
# A notebook's thread has a loop already.
seen = []
thread = threading.Thread(target=lambda: seen.append(asyncio.run(through_thread(make()))))
thread.start()
thread.join()
seen
""",
        "[6]",
    ),
    Row(
        "the program is not run again by a worker",
        """\
with open("starts.txt", "a") as starts:
    starts.write("run ")
STARTED = "once"
def how_often():
    return STARTED
""",
        """\
seen = pool.submit(how_often).result()
with open("starts.txt") as starts:
    begun = starts.read()
seen, begun
""",
        "('once', 'run ')",
    ),
)
