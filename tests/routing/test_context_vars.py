"""Context variables that are carried into interpreters."""

import asyncio
import contextvars
import functools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context

import pytest

import subpool
import tasks
import tasks_context
from subpool import (
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    TaskInterrupted,
    interpreter,
)
from support import fresh
from tasks_context import read, request, user

BOTH = (request, user)


@pytest.fixture
def routing(closing):
    """An executor that routes and carries both variables."""
    return closing(InterpreterThreadPoolExecutor(2, max_interpreters=2, context_vars=BOTH))


def given(value, function, *args):
    """Run in a context with that request."""

    def run():
        request.set(value)
        return function(*args)

    return fresh(run)


def test_without_the_option_nothing_travels(pool, assign):
    """A pool carried what nobody had asked it to."""
    assign(request, "mine")
    assert pool.submit(read).result() == ("nobody", None)


def test_values_travel(carrying, assign):
    """A task saw the defaults instead of the caller's values."""
    assign(request, "mine")
    assign(user, {"name": "Ada", "groups": [1, 2]})
    assert carrying.submit(read).result() == ("mine", {"name": "Ada", "groups": [1, 2]})


def test_values_are_taken_at_submit(carrying, gate, assign):
    """A queued task saw what was set after it was submitted."""
    blocker = carrying.submit(tasks.block, *gate.fds)
    gate.wait()
    assign(request, "first")
    first = carrying.submit(read)
    assign(request, "second")
    second = carrying.submit(read)
    gate.open()
    assert (first.result()[0], second.result()[0]) == ("first", "second")
    assert blocker.result() == "released"


def test_an_unset_variable_is_unset_in_the_task(carrying):
    """A variable that an earlier task in the same worker had set was still set."""
    assert given("mine", carrying.submit, read).result() == ("mine", None)
    assert fresh(carrying.submit, read).result() == ("nobody", None)


def test_what_a_task_sets_is_gone_with_it(carrying):
    """A task's own value leaked into the next task, and into main."""
    assert given("mine", carrying.submit, tasks_context.set_both, "theirs").result() == (
        "mine",
        None,
    )
    assert fresh(carrying.submit, read).result() == ("nobody", None)
    assert read() == ("nobody", None)


def test_what_a_failed_task_sets_is_gone_with_it(carrying):
    """The context of a task that raised was left entered, and its exception lost."""
    future = given("mine", carrying.submit, tasks_context.set_and_fail, "theirs")
    with pytest.raises(LookupError, match="after theirs"):
        future.result()
    assert fresh(carrying.submit, read).result() == ("nobody", None)


def test_falsy_values_are_values(carrying):
    """None was taken for unset."""
    assert given(None, carrying.submit, read).result() == (None, None)
    assert given(0, carrying.submit, read).result() == (0, None)


def test_keyword_arguments_and_closures(carrying, assign):
    """Only one of the three forms of a call carried the context."""
    assign(request, "mine")
    assert carrying.submit(tasks_context.read_for, _item=1).result() == "mine"
    assert carrying.submit(lambda: read()).result() == ("mine", None)
    assert list(carrying.map(lambda _: read()[0], range(2))) == ["mine"] * 2


def test_a_tagged_call(routing, assign):
    """The path through the tag carried nothing."""
    assign(request, "mine")
    assert routing.submit(interpreter(read)).result() == ("mine", None)
    assert routing.submit(tasks_context.tagged_read).result() == ("mine", None)


def test_plain_calls_on_threads_are_the_standard_ones(routing, assign):
    """The option is about interpreters: a thread of the pool has a context of its own."""
    with ThreadPoolExecutor(1) as standard:
        assign(request, "mine")
        expected = standard.submit(read).result()
    assert routing.submit(read).result() == expected


@pytest.mark.parametrize("wrap", [
    lambda context, fn: functools.partial(context.run, fn),
    lambda context, fn: functools.partial(functools.partial(context.run), fn),
    lambda context, fn: functools.partial(copy_context().run, context.run, fn),
], ids=["partial", "partial of partial", "nested"])  # fmt: skip
@pytest.mark.parametrize("kind", ["routing", "carrying"])
def test_context_run_gives_the_context(executor_and_tag, wrap, assign):
    """`partial(ctx.run, fn)`, which asyncio and web frameworks submit, took the caller's values."""
    context = copy_context()
    context.run(request.set, "theirs")
    assign(request, "mine")
    assign(user, "mine too")  # not in the context
    executor, tag = executor_and_tag
    assert executor.submit(wrap(context, tag(read))).result() == ("theirs", None)


@pytest.fixture
def executor_and_tag(kind, closing):
    """Each kind of executor, with how its functions are tagged."""
    if kind == "routing":
        return closing(InterpreterThreadPoolExecutor(1, context_vars=BOTH)), interpreter
    return closing(InterpreterPoolExecutor(1, context_vars=BOTH)), lambda fn: fn


def test_context_run_with_the_function_as_argument(routing, carrying):
    """`submit(ctx.run, fn)` took the caller's values."""
    context = copy_context()
    context.run(request.set, "theirs")
    assert routing.submit(context.run, interpreter(read)).result() == ("theirs", None)
    assert carrying.submit(context.run, read).result() == ("theirs", None)


def test_context_run_needs_no_tag_where_all_calls_run_in_interpreters(pool):
    """A `Context` cannot be sent, so `to_thread` failed on `InterpreterPoolExecutor`."""
    call = functools.partial(copy_context().run, tasks_context.read_for, 1)
    assert pool.submit(call).result() == "nobody"
    assert pool.submit(copy_context().run, tasks_context.read_for, _item=1).result() == "nobody"
    assert list(pool.map(copy_context().run, [read, read])) == [("nobody", None)] * 2


@pytest.mark.parametrize("iterable", [range(100), (i for i in range(3))], ids=["many", "one"])
def test_map_takes_the_values_once(carrying, iterable, assign):
    """The calls of a map saw what was set while its items were taken."""
    assign(request, "mine")
    items = list(iterable)

    def setting():
        for item in items:
            yield item
            request.set("changed on the way")

    results = contextvars.copy_context().run(carrying.map, tasks_context.read_for, setting())
    assert list(results) == ["mine"] * len(items)
    assert set(carrying.map(tasks_context.read_for, items)) == {"mine"}
    assert set(carrying.map(tasks_context.read_for, items, chunksize=2)) == {"mine"}


def test_map_with_a_buffersize_keeps_the_values(carrying, assign):
    """Calls submitted later, while results are taken, saw the taker's values."""
    assign(request, "mine")
    results = carrying.map(tasks_context.read_for, range(6), buffersize=2)
    assign(request, "changed")
    assert list(results) == ["mine"] * 6


def test_map_through_submit_keeps_the_values(routing, assign):
    """The same, where calls are submitted one by one because of arguments in a partial."""
    assign(request, "mine")
    tagged = functools.partial(interpreter(tasks_context.pair), "left")
    results = routing.map(tagged, range(6), buffersize=2)
    assign(request, "changed")
    assert list(results) == ["mine"] * 6


def test_map_through_a_submit_that_sets_a_variable(closing, assign):
    """What a subclass's `submit` had set was there for the calls after it."""

    class Counting(InterpreterPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            request.set(request.get() + 1)
            return super().submit(fn, *args, **kwargs)

    assign(request, 0)
    pool = closing(Counting(1, context_vars=[request]))
    assert list(pool.map(tasks_context.read_for, range(3))) == [1, 1, 1]
    assert request.get() == 0


def test_map_in_a_context(routing):
    """`map(partial(ctx.run, fn), ...)`: the context is the given one."""
    context = copy_context()
    context.run(request.set, "theirs")
    call = functools.partial(context.run, interpreter(tasks_context.read_for))
    assert list(routing.map(call, range(3))) == ["theirs"] * 3


@pytest.mark.parametrize("kind", ["routing", "carrying"])
def test_concurrent_requests_with_to_thread(executor_and_tag):
    """One request's values were seen in the task of another."""
    executor, tag = executor_and_tag

    async def handle(name):
        request.set(name)
        await asyncio.sleep(0)  # the others' turn
        seen = await asyncio.to_thread(tag(read))
        loop = asyncio.get_running_loop()
        again = await loop.run_in_executor(executor, tag(read))
        return seen, again

    async def main():
        asyncio.get_running_loop().set_default_executor(executor)
        return await asyncio.gather(*(handle(f"request {i}") for i in range(50)))

    expected = [((f"request {i}", None),) * 2 for i in range(50)]
    assert asyncio.run(main()) == expected


@pytest.mark.parametrize("kind", ["routing", "carrying"])
def test_concurrent_requests_with_run(executor_and_tag):
    """The await's own path to the pool carried nothing, or another request's values."""
    executor, _ = executor_and_tag
    wrapped = executor.wrap(read)

    async def handle(name):
        request.set(name)
        await asyncio.sleep(0)  # the others' turn
        return await executor.run(read), await wrapped(), await executor.submit(interpreter(read))

    async def main():
        return await asyncio.gather(*(handle(f"request {i}") for i in range(50)))

    assert asyncio.run(main()) == [((f"request {i}", None),) * 3 for i in range(50)]


def test_run_with_a_context(routing):
    """`run(ctx.run, fn)` and a partial of it, without a tag: no interpreter can have a context."""
    context = copy_context()
    context.run(request.set, "theirs")

    async def main():
        return (
            await routing.run(context.run, read),
            await routing.run(functools.partial(context.run, read)),
        )

    assert asyncio.run(main()) == (("theirs", None),) * 2


def test_an_interrupted_task_leaves_its_context(carrying, assign):
    """The interrupt left the task's context entered, with what the task had set."""
    reader, writer = os.pipe()
    try:
        future = carrying.submit(tasks_context.set_and_spin, "theirs", writer)
        os.read(reader, 1)
        assert future.interrupt()
        assert isinstance(future.exception(), TaskInterrupted)
        assert carrying.submit(read).result() == ("nobody", None)
        assign(request, "mine")
        assert carrying.submit(read).result() == ("mine", None)
    finally:
        os.close(reader)
        os.close(writer)


def test_tasks_at_the_same_time(routing):
    """Two workers, each in the midst of its task, must not share a value."""
    (read_one, write_one), (read_two, write_two) = os.pipe(), os.pipe()
    task = interpreter(tasks_context.read_after)
    try:
        one = given("one", routing.submit, task, write_one, read_two)
        two = given("two", routing.submit, task, write_two, read_one)
        assert (one.result()[0], two.result()[0]) == ("one", "two")
    finally:
        for fd in (read_one, write_one, read_two, write_two):
            os.close(fd)


def test_two_pools_with_different_variables(closing, assign):
    """A pool carried another pool's variables."""
    assign(request, "request")
    assign(user, "user")
    requests = closing(InterpreterPoolExecutor(1, context_vars=[request]))
    users = closing(InterpreterPoolExecutor(1, context_vars=iter([user, user])))
    assert requests.submit(read).result() == ("request", None)
    assert users.submit(read).result() == ("nobody", "user")


def test_the_default_pool(default_pool, assign):
    """`configure` refused the option, or a direct call of a tag lost the values."""
    subpool.configure(max_interpreters=1, context_vars=BOTH)
    assign(request, "mine")
    assert tasks_context.tagged_read() == ("mine", None)


def test_a_variable_under_another_name(closing, assign):
    """A variable whose attribute is not called as the variable was not found."""
    pool = closing(InterpreterPoolExecutor(1, context_vars=[tasks_context.oddly_named]))
    assign(tasks_context.oddly_named, 3)
    assert pool.submit(tasks_context.read_odd).result() == 3


def test_what_the_task_starts_can_have_the_context(carrying, assign):
    """Threads and event loops of a task copy its context."""
    assign(request, "mine")
    if sys.version_info >= (3, 14):
        assert carrying.submit(tasks_context.in_thread).result() == ["nobody", "mine"]
    assert carrying.submit(tasks_context.in_loop).result() == ["mine"] * 2


def test_the_initializer_sees_no_values(closing, assign):
    """Nobody knows which caller's values an initializer should see: it sees none, and sets none."""
    assign(request, "mine")
    pool = closing(
        InterpreterPoolExecutor(1, initializer=tasks_context.remember, context_vars=BOTH)
    )
    assert pool.submit(tasks_context.recall).result() == ["nobody"]


def test_what_the_initializer_sets_stays_but_for_the_carried(closing, assign):
    """Other variables of the worker's (the decimal module's) were lost in a fresh context."""
    pool = closing(
        InterpreterPoolExecutor(
            1, initializer=tasks_context.initialize, initargs=("worker",), context_vars=BOTH
        )
    )
    assert pool.submit(tasks_context.read_precision).result() == ("nobody", 5)
    assign(request, "mine")
    assert pool.submit(tasks_context.read_precision).result() == ("mine", 5)


local = [ContextVar("local")]


@pytest.mark.parametrize("executor_class", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor])
@pytest.mark.parametrize("variables, error, words", [
    (local, ValueError, "no module has the context variable 'local' as an attribute"),
    (["tasks_context.request"], TypeError, "takes ContextVars, not str"),
    (request, TypeError, "takes a sequence of ContextVars"),
    (3, TypeError, "not iterable"),
], ids=["local", "a name", "a single one", "no sequence"])  # fmt: skip
def test_what_is_refused(executor_class, variables, error, words):
    """It failed with the first task instead, far from where the mistake is."""
    with pytest.raises(error, match=words):
        executor_class(1, context_vars=variables)


def test_it_is_keyword_only():
    """The standard class may get more positional arguments."""
    with pytest.raises(TypeError, match="positional"):
        InterpreterPoolExecutor(1, "", None, (), [request])
