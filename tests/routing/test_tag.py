"""The tag itself: what it wraps, what it leaves alone, what a direct call does."""

import functools
import inspect
import pickle
from typing import get_args

import pytest

import tasks
from subpool import InterpreterPoolExecutor, PoolError, configure, interpreter
from subpool.routing import Tagged

MAIN = tasks.interpreter_id()


def test_the_function_stays_untouched():
    """The tag was an attribute set on the function, so every use of it was tagged."""

    def fn(x):
        return x

    before = dict(fn.__dict__)
    tagged = interpreter(fn)
    assert fn.__dict__ == before
    assert tagged is not fn
    assert fn(3) == 3


def test_wrapped_is_the_function_and_runs_here():
    """`__wrapped__` gave a wrapper's wrapper, or dispatched."""
    assert interpreter(tasks.add).__wrapped__ is tasks.add
    _, (number, _, in_worker) = tasks.tagged_here.__wrapped__("x")
    assert number == MAIN
    assert in_worker is None


def test_wrapped_of_a_function_that_has_a_wrapped_of_its_own():
    """`update_wrapper` copies `__wrapped__`; the decorator in between was lost."""

    @functools.wraps(tasks.nothing)
    def decorated():
        return "decorated"

    assert interpreter(decorated).__wrapped__ is decorated
    assert interpreter(decorated).__wrapped__() == "decorated"


def test_the_tag_looks_like_the_function():
    """Frameworks inspect the signature and the name of what they are given."""
    tagged = interpreter(tasks.add)
    assert tagged.__name__ == "add"
    assert tagged.__module__ == "tasks"
    assert tagged.__doc__ == tasks.add.__doc__
    assert inspect.signature(tagged) == inspect.signature(tasks.add)
    assert "tasks" in repr(tasks.tagged_here) or "tagged_here" in repr(tasks.tagged_here)


def test_the_tag_copies_what_functools_copies():
    """The tag does this by hand: functools would be an import in every worker."""

    @interpreter
    def fn[T](x: T) -> T:
        """Text."""
        return x

    class Wrapper: ...

    fn.__wrapped__.attribute = 1
    expected = vars(functools.update_wrapper(Wrapper(), fn.__wrapped__))
    assert vars(interpreter(fn.__wrapped__)) == expected


def test_the_tags_class_takes_type_arguments():
    """It is generic for type checkers; annotations that are evaluated failed."""
    assert get_args(Tagged[[int], str]) == ([int], str)


def test_a_tag_on_a_tag_is_one_tag():
    """Two layers made a call from a worker dispatch again."""
    tagged = interpreter(tasks.add)
    assert interpreter(tagged).__wrapped__ is tasks.add


@pytest.mark.parametrize("what", [3, None, "name", object()])
def test_what_is_not_callable_is_refused(what):
    """`interpreter(f(x))`, a likely slip, must fail where it is written."""
    if what is None:
        assert interpreter(what)(tasks.add).__wrapped__ is tasks.add  # the decorator form
        with pytest.raises(TypeError):
            interpreter()(3)
    else:
        with pytest.raises(TypeError, match=type(what).__name__):
            interpreter(what)


@pytest.mark.parametrize("fallback", ["processes", "", 0, ["thread"]])
def test_a_fallback_that_there_is_not(fallback):
    """A misspelled fallback was found out by the first task that needed it."""
    with pytest.raises(ValueError, match="None, 'thread' or 'process', not"):
        interpreter(tasks.add, fallback=fallback)
    with pytest.raises(ValueError, match="None, 'thread' or 'process', not"):
        InterpreterPoolExecutor(fallback=fallback)


def test_a_tag_of_a_tag_keeps_what_it_does_not_change():
    """A time limit on a function with a fallback took the fallback away."""
    tagged = interpreter(interpreter(tasks.add, fallback="thread"), timeout=3)
    assert repr(tagged) == f"interpreter({tasks.add!r}, timeout=3.0, fallback='thread')"
    assert pickle.loads(pickle.dumps(tagged))._subpool_terms == (3.0, "thread")


def test_the_decorator_with_empty_parentheses():
    """`@interpreter()` is the same as `@interpreter`."""

    @interpreter()
    def fn():
        return "here"

    assert fn.__wrapped__() == "here"


def test_a_decorated_function_of_a_module(executor):
    """aiointerpreters: a decorated function cannot be pickled, its name leads to the wrapper."""
    value, (number, _, in_worker) = executor.submit(tasks.tagged_here, "x").result()
    assert value == "x"
    assert number != MAIN
    assert in_worker.interpreter_id == number


def test_a_decorated_function_travels_as_an_argument(executor):
    """A tag inside the arguments arrives as the tag of the worker's own module."""
    assert pickle.loads(pickle.dumps(tasks.tagged_here)) is tasks.tagged_here
    got = executor.submit(interpreter(tasks.identity), tasks.tagged_here).result()
    assert got is tasks.tagged_here


def test_an_inline_tag_travels_as_an_argument(executor):
    """An inline tag carries the name of a function that is not tagged."""
    got = executor.submit(interpreter(tasks.identity), interpreter(tasks.add)).result()
    assert got.__wrapped__ is tasks.add


def test_a_decorated_method(executor):
    """A tag in a class body was called without its instance."""
    total, number = executor.submit(tasks.Accumulator(5).tagged_plus, 2).result()
    assert total == 7
    assert number != MAIN


def test_a_decorated_method_called_directly(default_pool):
    """The direct call of a method is a call of the default pool."""
    total, number = tasks.Accumulator(5).tagged_plus(2)
    assert total == 7
    assert number != MAIN


def test_the_methods_of_a_class(executor):
    """Bound, static and class methods have no importable name of their own."""
    accumulator = tasks.Accumulator(5)
    assert executor.submit(interpreter(accumulator.plus), 1).result()[0] == 6
    assert executor.submit(interpreter(accumulator.static), 2).result()[0] == 2
    assert executor.submit(interpreter(tasks.Accumulator.static), 3).result()[0] == 3
    made = executor.submit(interpreter(tasks.Accumulator.made), 4).result()
    assert made == tasks.Accumulator(4)


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (pow, (2, 10), 1024),
        (len, ([1, 2],), 2),
        ("abc".upper, (), "ABC"),
        (str.upper, ("abc",), "ABC"),
        (int, ("12",), 12),
        (dict, ([(1, 2)],), {1: 2}),
        (tasks.Accumulator, (3,), tasks.Accumulator(3)),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_callables_that_are_no_functions(executor, fn, args, expected):
    """Builtins, methods of builtins and classes are callables like any other."""
    assert executor.submit(interpreter(fn), *args).result() == expected


def test_a_callable_object(executor):
    """An instance with __call__ travels as an object."""
    value, number = executor.submit(interpreter(tasks.Callable()), 3).result()
    assert value == 3
    assert number != MAIN


def test_a_direct_call_runs_in_the_default_pool(default_pool):
    """A tag that only executors see does nothing inside a framework's own threads."""
    _, (number, _, in_worker) = tasks.tagged_here("x")
    assert number != MAIN
    assert in_worker.interpreter_id == number


def test_a_direct_call_raises_what_the_task_raised(default_pool):
    """The error must come out of the call itself."""
    with pytest.raises(LookupError, match="deep inside"):
        interpreter(tasks.fail_in_steps)()


def test_a_direct_call_in_a_worker_runs_inline(executor):
    """A worker that waits for a pool of its own interpreter can not: the extension is not there."""
    (value, inner), outer = executor.submit(interpreter(tasks.nested_call), "x").result()
    assert value == "x"
    assert inner == outer
    assert outer[0] != MAIN


def test_the_default_pool_is_one(default_pool):
    """Two first users made two pools."""
    assert default_pool() is default_pool()
    assert default_pool().submit(interpreter(tasks.add), 1, 2).result() == 3


def test_a_default_pool_that_was_shut_down_is_replaced(default_pool):
    """A tagged function has no executor to complain about."""
    first = default_pool()
    first.shutdown()
    assert tasks.tagged_here("x")[0] == "x"
    assert default_pool() is not first


def test_configure_before_first_use(default_pool):
    """The options did not reach the pool."""
    configure(max_interpreters=3, thread_name_prefix="mine")
    default_pool().warm_up()
    names = [thread.name for thread in default_pool()._pool.threads()]
    assert names == [f"mine-interpreter_{number}" for number in range(3)]


def test_configure_after_first_use_is_refused(default_pool):
    """Options for a pool that exists already would be lost without a word."""
    default_pool()
    with pytest.raises(PoolError, match="before first use"):
        configure(max_interpreters=3)
