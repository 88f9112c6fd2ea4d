"""`subpool.integrations.aiointerpreters`: programs for aiointerpreters, the import changed."""

import asyncio
import functools
import importlib
import inspect
import os
import pickle
import threading

import pytest

import tasks
import tasks_integrations as jobs
from subpool import InterpreterPoolExecutor, NotTransferableError
from subpool.integrations.aiointerpreters import (
    InterpreterError,
    InterpreterThreadPoolExecutor,
    Runner,
    RunnerError,
    interpreter,
)
from support import interpreters

MAIN = tasks.interpreter_id()


@pytest.fixture
def executor(closing):
    """The executor of this module, with two workers."""
    return closing(InterpreterThreadPoolExecutor(2))


# The shapes of its documentation.


def test_runner_run():
    async def main():
        with Runner(workers=2).start() as runner:
            return [
                await runner.run(jobs.where_and, 7),
                await runner.run(jobs.power, 2, exponent=10),
                await runner.run(len, b"four"),
            ]

    (number, seven), *rest = asyncio.run(main())
    assert number != MAIN
    assert [seven, *rest] == [7, 1024, 4]


def test_runner_wrap():
    """Wrapped once, called many times under a TaskGroup."""

    async def main():
        with Runner(workers=2).start() as runner:
            power = runner.wrap(jobs.power)
            assert inspect.iscoroutinefunction(power)
            assert power.__name__ == "power"
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(power(2, exponent=n)) for n in range(20)]
            return [call.result() for call in calls]

    assert asyncio.run(main()) == [2**n for n in range(20)]


def test_runner_wrap_before_start():
    """A module's global runner, started by the program's main."""
    runner = Runner(workers=1)
    square = runner.wrap(jobs.square)

    async def main():
        with runner.start() as started:
            assert started is runner
            return await square(5)

    assert asyncio.run(main()) == 25
    assert asyncio.run(main()) == 25  # and once more


def test_executor_map(executor):
    assert list(executor.map(interpreter(jobs.square), (n for n in range(10)))) == [
        n * n for n in range(10)
    ]
    assert {number for number, _ in executor.map(jobs.where_and, range(3))} == {MAIN}
    assert MAIN not in {number for number, _ in executor.map(interpreter(jobs.where_and), range(3))}


def test_executor_behind_to_thread(executor):
    async def main():
        executor.set_as_event_loop_default()
        async with asyncio.TaskGroup() as group:
            tagged = group.create_task(asyncio.to_thread(interpreter(jobs.where_and), 1))
            plain = group.create_task(asyncio.to_thread(jobs.where_and, 2))
        return tagged.result(), plain.result()

    (tagged, one), (plain, two) = asyncio.run(main())
    assert tagged != MAIN
    assert plain == MAIN
    assert (one, two) == (1, 2)


def test_executor_as_default_of_a_runner(executor):
    with asyncio.Runner() as runner:
        executor.set_as_event_loop_default(runner)
        assert runner.run(asyncio.to_thread(interpreter(jobs.square), 3)) == 9


# The runner's contract.


def test_runner_starts_its_interpreters_at_once():
    """And is gone with the block."""
    before = interpreters()
    with Runner(workers=3).start() as runner:
        runner._pool.warm_up()
        assert len(interpreters() - before) == 3
    assert interpreters() <= before


def test_runner_does_not_wait_for_its_interpreters(monkeypatch):
    """Twelve of them would stall the loop for a quarter of a second."""
    inside, warm_up = threading.Event(), InterpreterPoolExecutor.warm_up
    waited = []

    def waiting(pool):
        waited.append(inside.wait(20))
        warm_up(pool)

    monkeypatch.setattr(InterpreterPoolExecutor, "warm_up", waiting)
    with Runner(workers=1).start():
        inside.set()
    assert waited == [True]


def test_runner_ends_when_its_calls_have(gate):
    """Calls under way at the end of the block come to their awaits."""

    async def main():
        with Runner(workers=1).start() as runner:
            calls = [asyncio.ensure_future(runner.run(jobs.square, n)) for n in range(5)]
            await asyncio.sleep(0)  # each is submitted
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


def test_runner_outside_of_its_block():
    """aiointerpreters queues such a call, and nobody ever takes it."""
    runner = Runner(workers=1)
    with pytest.raises(RunnerError, match="start"):
        asyncio.run(runner.run(jobs.square, 1))
    with runner.start():
        assert asyncio.run(runner.run(jobs.square, 2)) == 4
        with pytest.raises(RunnerError, match="already"), runner.start():
            pass
    with pytest.raises(RunnerError, match="start"):
        asyncio.run(runner.wrap(jobs.square)(1))


def test_runner_on_two_loops():
    """Its calls come back to the loop that awaits them."""
    with Runner(workers=2).start() as runner:
        found = [None, None]

        async def calls():
            return await asyncio.gather(*(runner.run(jobs.square, n) for n in range(20)))

        def loop(index):
            found[index] = asyncio.run(calls())

        threads = [threading.Thread(target=loop, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [[n * n for n in range(20)]] * 2


@pytest.mark.parametrize("workers", [0, -1])
def test_runner_needs_a_worker(workers):
    """aiointerpreters takes 0, and every await hangs."""
    with pytest.raises(ValueError, match="greater than 0"):
        Runner(workers=workers)


def test_runner_errors():
    """Its one type for all that calls raise, with its text; here the real one is the cause."""

    async def main():
        with Runner(workers=1).start() as runner:
            with pytest.raises(InterpreterError) as caught:
                await runner.run(jobs.fail_with, 7)
            assert str(caught.value) == "WrongNumberError(7)"
            assert isinstance(caught.value.__cause__, jobs.WrongNumberError)

    asyncio.run(main())


def test_runner_cancelled(gate):
    """A cancelled await is no error of the call, and frees the worker."""

    async def main():
        with Runner(workers=1).start() as runner:
            call = asyncio.ensure_future(runner.run(jobs.spin, gate.fds[0]))
            await asyncio.to_thread(gate.wait)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return await runner.run(jobs.square, 3)

    assert asyncio.run(main()) == 9


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Runner.__init__, "self, *, workers"),
        (Runner.start, "self"),
        (Runner.run, "self, fn, *args, **kwargs"),
        (Runner.wrap, "self, fn"),
        (
            InterpreterThreadPoolExecutor.__init__,
            "self, max_workers=None, thread_name_prefix='', initializer=None, initargs=()",
        ),
    ],
)
def test_signatures(ours, theirs):
    """Those of aiointerpreters 0.6, where ours may go on with options of their own."""
    signature = inspect.signature(ours)
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    shown = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    assert shown.startswith(f"({theirs}")


# Its known faults.


def test_a_decorated_function_can_be_sent(executor):
    """aiointerpreters 0.6: `@interpreter` hides the function that its name should lead to."""
    assert pickle.loads(pickle.dumps(jobs.decorated)) is jobs.decorated
    number, value = executor.submit(jobs.decorated, 1).result()
    assert number != MAIN
    assert value == 2


def test_a_partial_of_a_tagged_function_runs_in_an_interpreter(executor):
    """aiointerpreters 0.6: it runs on a thread of main, without a word."""
    call = functools.partial(interpreter(jobs.where_and), 5)
    number, value = executor.submit(call).result()
    assert number != MAIN
    assert value == 5
    nested = functools.partial(functools.partial(interpreter(jobs.power), 2), exponent=3)
    assert executor.submit(nested).result() == 8


def test_context_variables(closing):
    """aiointerpreters 0.6: `to_thread` drops them all. Here those that are named travel."""
    executor = closing(InterpreterThreadPoolExecutor(1, context_vars=[jobs.greeting]))

    async def main():
        executor.set_as_event_loop_default()
        jobs.greeting.set("hello")
        return await asyncio.to_thread(interpreter(jobs.tell_greeting))

    assert asyncio.run(main()) == "hello"


@pytest.mark.parametrize("tagged", [False, True])
def test_the_initializer_runs_once(closing, tagged):
    """aiointerpreters 0.6: each worker runs it in main and again in its interpreter."""
    reader, writer = os.pipe()
    initializer = interpreter(jobs.note_interpreter) if tagged else jobs.note_interpreter
    executor = closing(
        InterpreterThreadPoolExecutor(1, initializer=initializer, initargs=(writer,))
    )
    for _ in range(3):
        executor.submit(jobs.square, 1).result()
        executor.submit(interpreter(jobs.square), 1).result()
    os.close(writer)
    with os.fdopen(reader) as notes:
        (note,) = notes.read().split()
    assert (int(note) != MAIN) == tagged


def test_the_runner_goes_on_after_system_exit():
    """aiointerpreters 0.6: it ends the worker, and every later await hangs."""

    async def main():
        with Runner(workers=1).start() as runner:
            for failing in (functools.partial(tasks.exit_with, 3), tasks.interrupt_self):
                with pytest.raises(InterpreterError) as caught:
                    await runner.run(failing)
                assert isinstance(caught.value.__cause__, SystemExit | KeyboardInterrupt)
            return await runner.run(jobs.square, 4)

    assert asyncio.run(main()) == 16


def test_the_runner_goes_on_after_what_cannot_be_sent():
    """aiointerpreters 0.6: an unshareable result ends the worker, and later awaits hang."""

    async def main():
        with Runner(workers=1).start() as runner:
            with pytest.raises(NotTransferableError):
                await runner.run(jobs.with_a_lock)
            with pytest.raises(NotTransferableError):
                await runner.run(jobs.square, threading.Lock())
            return await runner.run(jobs.square, 4)

    assert asyncio.run(main()) == 16


def test_the_runner_sends_what_is_not_shareable():
    """aiointerpreters: tuples of simple values only, and functions that a module has by name."""

    async def main():
        with Runner(workers=1).start() as runner:
            return await runner.run(lambda data: {"sum": sum(data["numbers"])}, {"numbers": [1, 2]})

    assert asyncio.run(main()) == {"sum": 3}


# What is as wide as there, and what workers see.


def test_as_many_interpreters_as_workers(executor, closing, gate):
    """There `max_workers` bounds both; calls that wait for each other need them all."""
    wide = closing(InterpreterThreadPoolExecutor(4))
    futures = [wide.submit(interpreter(jobs.block_and_tell_where), *gate.fds) for _ in range(4)]
    gate.wait(4)
    gate.open(4)
    assert len({future.result() for future in futures}) == 4
    narrow = closing(InterpreterThreadPoolExecutor(4, max_interpreters=1))
    narrow.warm_up()
    assert len(narrow._pool.threads()) == 1


def test_a_program_in_one_file(check):
    """With its main guard, and without."""
    program = """
import asyncio
from subpool.integrations.aiointerpreters import Runner

def sum_of_squares(num: int) -> int:
    return sum(i * i for i in range(num + 1))

async def main() -> None:
    with Runner(workers=2).start() as runner:
        squares = runner.wrap(sum_of_squares)
        async with asyncio.TaskGroup() as tg:
            calls = [tg.create_task(squares(n)) for n in range(4)]
    print(*(call.result() for call in calls))

"""
    for end in ("asyncio.run(main())\n", "if __name__ == '__main__':\n    asyncio.run(main())\n"):
        assert check(program + end) == "0 1 5 14\n"


def test_the_module_brings_little_into_a_worker(executor, tmp_path, monkeypatch):
    """Programs tag their functions where they define them, so each worker imports it."""
    (tmp_path / "program_of_theirs.py").write_text(
        "from subpool.integrations.aiointerpreters import *\n"
        "from subpool.integrations.fasterapi import *\n"
        "@interpreter\n"
        "def loaded():\n"
        "    import sys\n"
        "    return sorted(sys.modules)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    program = importlib.import_module("program_of_theirs")
    loaded = set(executor.submit(program.loaded).result())
    assert "subpool.integrations.aiointerpreters" in loaded
    unwanted = {"asyncio", "typing", "functools", "contextlib", "concurrent", "subpool.executors"}
    assert loaded & unwanted == set()
