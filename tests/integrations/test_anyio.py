"""`subpool.integrations.anyio`, on both of anyio's backends."""

import os
import threading

import anyio
import pytest
from anyio_support import BACKENDS, started

import tasks
import tasks_integrations as jobs
from subpool import NotTransferableError, interpreter
from subpool.integrations import anyio as integration
from subpool.integrations.anyio import current_default_interpreter_limiter, run_sync
from support import eventually, interpreters

MAIN = tasks.interpreter_id()


def test_a_result(run):
    async def main():
        return await run_sync(jobs.where_and, 7)

    number, value = run(main)
    assert number != MAIN
    assert value == 7


def test_a_limiter_of_two_makes_two_interpreters(run, gate):
    """anyio 4.16 made thirty: it gives the token back before it takes an interpreter."""
    before = interpreters()
    used = []

    async def call(limiter):
        used.append(await run_sync(jobs.block_and_tell_where, *gate.fds, limiter=limiter))

    async def main():
        limiter = anyio.CapacityLimiter(2)
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(call, limiter)
            await started(gate, 2)
            assert limiter.borrowed_tokens == 2
            assert limiter.statistics().tasks_waiting == 28
            gate.open(30)
        assert limiter.borrowed_tokens == 0

    run(main)
    assert len(used) == 30
    assert len(set(used)) == 2
    assert interpreters() - before == set(used)


def test_the_width_is_the_limiters_and_not_the_cpus(run, gate):
    """Eight calls that all wait, on a machine with fewer CPUs."""
    used = []

    async def call(limiter):
        used.append(await run_sync(jobs.block_and_tell_where, *gate.fds, limiter=limiter))

    async def main():
        limiter = anyio.CapacityLimiter(8)
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(call, limiter)
            await started(gate, 8)
            gate.open(8)

    run(main)
    assert len(set(used)) == 8


def test_the_default_limiter(run):
    """One per loop, a token for each usable CPU, and it counts."""

    async def main():
        limiter = current_default_interpreter_limiter()
        assert limiter is current_default_interpreter_limiter()
        assert limiter.total_tokens == os.process_cpu_count()
        limiter.total_tokens = 1
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(run_sync, jobs.square, 3)
        return limiter

    before = interpreters()
    assert run(main) is not run(main)
    assert len(interpreters() - before) == 1


def test_calls_share_the_pool_and_reuse_its_interpreters(run):
    """One pool per process: a second loop finds the interpreter of the first."""

    async def main():
        return {(await run_sync(jobs.where_and, 0))[0] for _ in range(20)}

    assert len(run(main) | run(main)) == 1


def test_interpreters_are_not_made_by_the_loops_thread(run):
    """anyio makes them there: 60 ms without the loop. Thread state 1 is that of the maker."""

    async def main():
        return await run_sync(jobs.thread_state_and_thread)

    number, thread = run(main)
    assert number == 1
    assert thread != threading.get_native_id()


@pytest.mark.parametrize("cancellable", [True, False])
def test_an_exception_keeps_its_type(run, cancellable):
    async def main():
        limiter = anyio.CapacityLimiter(1)
        with pytest.raises(jobs.WrongNumberError, match="7"):
            await run_sync(jobs.fail_with, 7, limiter=limiter, cancellable=cancellable)
        assert limiter.borrowed_tokens == 0

    run(main)


def test_what_cannot_be_sent(run):
    """The token must come back when nothing was ever run."""

    async def main():
        limiter = anyio.CapacityLimiter(1)
        for call in ((jobs.square, threading.Lock()), (jobs.with_a_lock,)):
            with pytest.raises(NotTransferableError):
                await run_sync(*call, limiter=limiter)
            assert limiter.borrowed_tokens == 0

    run(main)


def test_a_tag_is_taken_off(run):
    async def main():
        return await run_sync(interpreter(jobs.where_and), 1), await run_sync(jobs.decorated, 1)

    (first, one), (second, two) = run(main)
    assert MAIN not in (first, second)
    assert (one, two) == (1, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_from_other_threads(backend, fresh_pool):
    """`from_thread` enters the loop from a thread, and a portal from outside of it."""

    async def main():
        token, done, found = anyio.lowlevel.current_token(), anyio.Event(), []

        def elsewhere():
            found.append(anyio.from_thread.run(run_sync, jobs.square, 5, token=token))
            anyio.from_thread.run_sync(done.set, token=token)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await done.wait()
        thread.join()
        return found

    assert anyio.run(main, backend=backend) == [25]
    with anyio.from_thread.start_blocking_portal(backend) as portal:
        futures = [portal.start_task_soon(run_sync, jobs.square, n) for n in range(10)]
        assert [future.result() for future in futures] == [n * n for n in range(10)]


def test_several_loops_in_several_threads(fresh_pool):
    """A result must not come to another loop; a limiter belongs to one."""
    before = interpreters()
    found = {}

    async def main(name):
        limiter = anyio.CapacityLimiter(2)
        found[name] = {}

        async def call(n):
            found[name][n] = await run_sync(jobs.square, n, limiter=limiter)

        async with anyio.create_task_group() as group:
            for n in range(50):
                group.start_soon(call, n)

    threads = [
        threading.Thread(target=anyio.run, args=(main, (backend, n)), kwargs={"backend": backend})
        for backend in BACKENDS
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [{n: n * n for n in range(50)}] * 4
    assert len(interpreters() - before) <= 8


def test_idle_interpreters_go_by_time(run, monkeypatch):
    """anyio closes them in the next call: without one they stay for ever."""
    monkeypatch.setattr(integration, "_IDLE_TIMEOUT", 0.01)
    before = interpreters()

    async def main():
        await run_sync(jobs.square, 1)

    run(main)
    eventually(lambda: interpreters() <= before, "the end of the idle interpreter")
    run(main)  # the pool serves on


def test_a_pool_that_was_shut_down_is_replaced(run):
    """Nobody who calls `run_sync` could make a new one."""

    async def main():
        return await run_sync(jobs.square, 3)

    assert run(main) == 9
    integration._the_pool.shutdown()
    assert run(main) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_the_child_of_a_fork_makes_its_own_pool(check):
    """The parent's threads are not there."""
    out = check("""
import os, warnings, anyio
from subpool.integrations import anyio as integration
import tasks_integrations as jobs

warnings.simplefilter("ignore")
first = anyio.run(integration.run_sync, jobs.square, 2)
integration._the_pool.shutdown()
child = os.fork()
if not child:
    print(anyio.run(integration.run_sync, jobs.square, 3), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(first)
""")
    assert out == "9\n4\n"


def test_without_anyio(check):
    """The error must name what to install, not the module that this one imports."""
    out = check("""
import sys
sys.modules["anyio"] = None
try:
    import subpool.integrations.anyio
except ImportError as error:
    print(error)
import subpool.integrations.aiointerpreters, subpool.integrations.fasterapi
""")
    assert out == "subpool.integrations.anyio needs anyio: pip install 'subpool[anyio]'\n"


def test_a_module_of_tasks_may_import_it(run, tmp_path, monkeypatch):
    """Programs define their tasks beside their async functions."""
    (tmp_path / "program_with_anyio.py").write_text(
        "from subpool.integrations.anyio import run_sync\n"
        "def double(value):\n"
        "    return 2 * value\n"
        "async def main():\n"
        "    return await run_sync(double, 21)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import program_with_anyio

    assert run(program_with_anyio.main) == 42


def test_the_signature_is_anyios():
    """A program switches by changing the import."""
    import inspect

    theirs = __import__("anyio.to_interpreter").to_interpreter
    for name in theirs.__all__:
        wanted = inspect.signature(getattr(theirs, name)).parameters
        ours = inspect.signature(getattr(integration, name)).parameters
        for parameter in wanted.values():
            assert ours[parameter.name].kind == parameter.kind
            assert ours[parameter.name].default == parameter.default
