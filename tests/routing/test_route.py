"""Which calls go to an interpreter, and which to a thread."""

import functools
import threading
from concurrent import futures
from contextvars import ContextVar, copy_context
from functools import partial

import pytest

import tasks
from subpool import Future, InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter

KINDS = {
    "inline": interpreter(tasks.echo),
    "partial(tag)": partial(interpreter(tasks.echo)),
    "tag(partial)": interpreter(partial(tasks.echo)),
    "partial(partial(tag))": partial(partial(interpreter(tasks.echo))),
    "tag(partial(tag))": interpreter(partial(interpreter(tasks.echo))),
}


def context_var_is_set():
    return variable.get("unset"), threading.current_thread().name


variable = ContextVar("variable")


def test_a_plain_call_runs_on_a_thread_of_this_interpreter(executor):
    """A plain function was sent to an interpreter, where the caller's state is not."""
    future = executor.submit(tasks.here)
    number, _, in_worker = future.result()
    assert number == tasks.interpreter_id()
    assert in_worker is None
    assert type(future) is futures.Future


def test_a_plain_call_leaves_the_interpreters_alone(executor):
    """Plain work paid for interpreters it never uses."""
    executor.submit(tasks.nothing).result()
    assert executor._pool.threads() == []


def test_plain_calls_run_on_threads_with_the_given_name(closing):
    """The prefix reached only one of the two kinds of threads."""
    executor = closing(InterpreterThreadPoolExecutor(1, "named"))
    name = executor.submit(lambda: threading.current_thread().name).result()
    assert name == "named_0"


def test_a_tagged_call_runs_in_another_interpreter(executor):
    """The tag was ignored: the function ran on a thread in main."""
    future = executor.submit(interpreter(tasks.here))
    number, thread, in_worker = future.result()
    assert number != tasks.interpreter_id()
    assert thread != threading.get_native_id()
    assert in_worker == (0, number)
    assert type(future) is Future


@pytest.mark.parametrize("kind", KINDS)
def test_the_tag_is_found_under_partial(executor, kind):
    """aiointerpreters: `partial(interpreter(f), x)` ran on a thread in main, without a word."""
    future = executor.submit(KINDS[kind], 1, name=2)
    assert type(future) is Future
    assert future.result() == ((1,), {"name": 2})


def test_arguments_come_in_the_order_that_partial_gives_them(executor):
    """Peeling two partials swapped the arguments, or the outer keyword lost to the inner."""
    inner = partial(interpreter(tasks.echo), 1, a="inner", b="inner")
    outer = partial(inner, 2, b="outer", c="outer")
    expected = ((1, 2, 3), {"a": "inner", "b": "outer", "c": "call"})
    assert executor.submit(outer, 3, c="call").result() == expected
    assert tasks.echo(*outer.args, 3, **{**outer.keywords, "c": "call"}) == expected


def test_a_tag_under_a_subclass_of_partial_still_runs_in_an_interpreter(executor, default_pool):
    """A subclass may override __call__, so it is not peeled; the tag dispatches when called."""

    class Loud(partial):
        def __call__(self, *args, **kwargs):
            return "loud", super().__call__(*args, **kwargs)

    word, number = executor.submit(Loud(interpreter(tasks.interpreter_id))).result()
    assert word == "loud"
    assert number != tasks.interpreter_id()


@pytest.mark.skipif(not hasattr(functools, "Placeholder"), reason="Placeholder is new in 3.14")
@pytest.mark.parametrize("nested", [False, True])
def test_placeholders_are_filled(executor, nested):
    """Placeholder objects travelled to the worker as arguments."""
    hole = functools.Placeholder
    call = partial(interpreter(tasks.echo), hole, "b", hole, "d")
    if nested:
        call = partial(call, "a")
        assert executor.submit(call, "c", "e").result() == ("a", "b", "c", "d", "e")
    else:
        assert executor.submit(call, "a", "c", "e").result() == ("a", "b", "c", "d", "e")


@pytest.mark.skipif(not hasattr(functools, "Placeholder"), reason="Placeholder is new in 3.14")
def test_a_missing_placeholder_is_an_error_as_of_partial_itself(executor):
    """Too few arguments gave a StopIteration out of the peeling."""
    call = partial(interpreter(tasks.echo), functools.Placeholder, functools.Placeholder, 3)
    with pytest.raises(TypeError, match="missing positional arguments"):
        executor.submit(call, 1).result()


SHAPES = {
    "partial(run, tag)": lambda run, tag: (partial(run, tag), (1,)),
    "run, tag": lambda run, tag: (run, (tag, 1)),
    "partial(run, partial(tag))": lambda run, tag: (partial(run, partial(tag, 1)), ()),
    "partial(run, run, tag)": lambda run, tag: (partial(run, copy_context().run, tag), (1,)),
    "partial(partial(run), tag)": lambda run, tag: (partial(partial(run), tag), (1,)),
    "partial(run, partial(run, tag))": lambda run, tag: (
        partial(run, partial(copy_context().run, tag)),
        (1,),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_tag_is_found_under_a_context(executor, shape):
    """`asyncio.to_thread` submits this shape; a Context cannot be pickled."""
    tag = interpreter(tasks.Accumulator(10).plus)
    fn, args = SHAPES[shape](copy_context().run, tag)
    future = executor.submit(fn, *args)
    assert type(future) is Future
    total, number = future.result()
    assert total == 11
    assert number != tasks.interpreter_id()


def test_a_plain_call_keeps_its_context(executor):
    """Peeling must not touch what has no tag."""
    context = copy_context()
    context.run(variable.set, "set")
    value, _ = executor.submit(partial(context.run, context_var_is_set)).result()
    assert value == "set"


def test_map_routes_by_tag(executor):
    """`map` passed the tag by, or the plain function to an interpreter."""
    here = tasks.interpreter_id()
    tagged = list(executor.map(interpreter(tasks.Accumulator(0).plus), [1, 2]))
    plain = list(executor.map(tasks.Accumulator(0).plus, [1, 2], chunksize=2))
    assert [total for total, _ in tagged] == [total for total, _ in plain] == [1, 2]
    assert all(number != here for _, number in tagged)
    assert all(number == here for _, number in plain)


def test_map_in_chunks_routes_by_tag(executor):
    """Chunks of a tagged function ran inline, on a thread."""
    results = list(executor.map(interpreter(tasks.Callable()), range(7), chunksize=3))
    assert [value for value, _ in results] == list(range(7))
    assert all(number != tasks.interpreter_id() for _, number in results)


def test_map_in_chunks_finds_the_tag_under_partial(executor):
    """A partial with arguments of its own must not lose them in a chunk."""
    fn = partial(interpreter(tasks.add), 100)
    assert list(executor.map(fn, range(5), chunksize=2)) == [100, 101, 102, 103, 104]


def test_every_call_of_the_interpreter_pool_runs_in_an_interpreter(pool):
    """The drop-in class needs no tag, and a tag does no harm."""
    for fn in (tasks.interpreter_id, interpreter(tasks.interpreter_id)):
        assert pool.submit(fn).result() != tasks.interpreter_id()


def test_a_patched_thread_pool_submit_never_sees_a_tagged_call(executor, monkeypatch):
    """OpenTelemetry, sentry-sdk and ddtrace wrap what `submit` gets in an unpicklable closure."""
    seen = []
    original = futures.ThreadPoolExecutor.submit

    def traced(self, fn, /, *args, **kwargs):
        seen.append(fn)
        return original(self, lambda: fn(*args, **kwargs))

    monkeypatch.setattr(futures.ThreadPoolExecutor, "submit", traced)
    tagged = interpreter(tasks.add)
    assert executor.submit(tagged, 1, 2).result() == 3
    assert executor.submit(partial(tagged, 1), 2).result() == 3
    assert list(executor.map(tagged, [1], [2])) == [3]
    assert seen == []
    assert executor.submit(tasks.add, 3, 4).result() == 7
    assert seen == [tasks.add]


def test_a_patched_submit_does_not_reach_the_interpreter_pool(closing, monkeypatch):
    """The drop-in class is a ThreadPoolExecutor as well."""
    monkeypatch.setattr(
        futures.ThreadPoolExecutor, "submit", lambda *_: pytest.fail("the patched one ran")
    )
    assert closing(InterpreterPoolExecutor(1)).submit(tasks.add, 1, 2).result() == 3


def test_a_tag_buried_in_a_closure_dispatches_when_called(executor, default_pool):
    """What the router cannot see still runs in an interpreter, of the default pool."""
    future = executor.submit(lambda: interpreter(tasks.interpreter_id)())
    assert type(future) is futures.Future
    assert future.result() != tasks.interpreter_id()


def test_the_executors_pass_for_thread_pools(executor, pool):
    """`loop.set_default_executor` insists on a ThreadPoolExecutor."""
    assert isinstance(executor, futures.ThreadPoolExecutor)
    assert isinstance(pool, futures.ThreadPoolExecutor)
