"""`max_tasks_per_interpreter`: a fresh interpreter in the place of one that has run its tasks."""

import asyncio
import logging
import math
from collections import Counter
from itertools import pairwise

import pytest

import subpool
import tasks
import tasks_interrupt
import tasks_recycling
from subpool import (
    BrokenInterpreterPool,
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    TaskInterrupted,
    _methods,
    interpreter,
)
from support import causes, eventually, interpreters


@pytest.fixture
def recycling(closing):
    """Give an executor of one worker that runs so many tasks in each interpreter."""
    return lambda most, **more: closing(
        InterpreterPoolExecutor(1, max_tasks_per_interpreter=most, **more)
    )


@pytest.fixture
def beginning(recycling, tmp_path):
    """The same with an initializer that fails some times; and the interpreters it ran in."""
    path = tmp_path / "begun"

    def beginning(most, *failing):
        initargs = (str(path), failing)
        return recycling(most, initializer=tasks_recycling.begin, initargs=initargs)

    beginning.interpreters = lambda: [int(line) for line in path.read_text().split()]
    return beginning


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(_methods, "_RETRIES", (0.001, 0.002, 0.003))


@pytest.fixture
def logged(caplog):
    """What was logged, as (level, text)."""
    caplog.set_level(logging.WARNING, "concurrent.futures")
    return lambda: [(record.levelno, record.getMessage()) for record in caplog.records]


def runs(numbers):
    """How often each comes, in order of their first."""
    return list(Counter(numbers).values())


@pytest.mark.parametrize("most", [1, 3])
def test_an_interpreter_runs_so_many_tasks(recycling, most):
    """Never one more, and no fewer."""
    pool = recycling(most)
    futures = [pool.submit(tasks.interpreter_id) for _ in range(2 * most + 1)]
    assert runs(future.result() for future in futures) == [most, most, 1]


def test_one_after_another(recycling):
    """The task that comes as the interpreter leaves ran in it, or nowhere."""
    pool = recycling(2)
    assert [pool.submit(tasks_recycling.count).result() for _ in range(6)] == [1, 2] * 3


def test_calls_of_a_map(recycling):
    """A batch was one task; and what was left of it, lost."""
    assert runs(recycling(3).map(tasks.interpreter_id_of, range(8))) == [3, 3, 2]


def test_chunks_of_a_map(recycling):
    """They were left behind by the interpreter that had taken their chunk."""
    pool = recycling(2)
    assert runs(pool.map(tasks.interpreter_id_of, range(7), chunksize=3)) == [2, 2, 2, 1]


def test_await(recycling):
    pool = recycling(2)

    async def main():
        return [await pool.run(tasks.interpreter_id) for _ in range(5)]

    assert runs(asyncio.run(main())) == [2, 2, 1]


def test_failed_tasks_count_and_cancelled_ones_do_not(recycling, gate):
    pool = recycling(3)
    held = pool.submit(tasks.block_and_tell, *gate.fds)
    cancelled = pool.submit(tasks.nothing)
    failed = pool.submit(tasks.fail, LookupError("no"))
    third, fourth = [pool.submit(tasks.interpreter_id) for _ in range(2)]
    gate.wait()
    assert cancelled.cancel()
    gate.open()
    first = held.result()[0].interpreter_id
    assert type(failed.exception()) is LookupError
    assert third.result() == first != fourth.result()


def test_the_next_one_is_ready_before_the_last_task_ends(recycling, gate):
    """A pool of one worker stood still for as long as an interpreter takes to start."""
    pool = recycling(1)
    before = interpreters()
    held = pool.submit(tasks.block_and_tell, *gate.fds)
    gate.wait()
    eventually(lambda: len(interpreters() - before) == 2, "the next interpreter")
    there = interpreters()
    assert len(pool._pool.threads()) == 1
    gate.open()
    assert held.result()[0].interpreter_id in there
    assert pool.submit(tasks.interpreter_id).result() in there


def test_its_initializer_has_run_before_the_last_task_ends(beginning, gate):
    """And in each interpreter once."""
    pool = beginning(1)
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    eventually(lambda: len(beginning.interpreters()) == 2, "the second initializer")
    gate.open()
    assert held.result() == "released"
    found = [pool.submit(tasks_recycling.begun_in).result() for _ in range(3)]
    assert all(begun == here for begun, here in found)
    pool.shutdown()
    begun = beginning.interpreters()
    assert len(set(begun)) == len(begun)
    assert [here for _, here in found] == begun[1:4]


def test_no_two_with_one_number_are_at_work(closing):
    """Two tasks that write to `file_<worker().id>` met."""
    pool = closing(InterpreterPoolExecutor(2, max_tasks_per_interpreter=2))
    for worker in (0, 1):
        found = [
            times
            for number, *times in pool.map(tasks_recycling.when, range(24))
            if number == worker
        ]
        assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(found)))


def test_the_width_is_kept(closing):
    """The pool was narrower until the next submit."""
    pool = closing(InterpreterPoolExecutor(2, "kept", max_tasks_per_interpreter=1))
    pool.warm_up()
    for _ in range(4):
        assert pool.submit(tasks_recycling.where).result()[1] in {0, 1}
        assert [thread.name for thread in pool._pool.threads()] == ["kept_0", "kept_1"]
    assert pool.stats().interpreters == 2


def test_a_buffer_outlives_the_interpreter(recycling):
    """It was the old interpreter's memory."""
    pool = recycling(1)
    content = bytearray(b"abcdef")
    parts = [pool.submit(tasks.part, memoryview(content), 1, 4, 1) for _ in range(3)]
    views = [part.result()["part"][0] for part in parts]
    assert [bytes(view) for view in views] == [b"bcd"] * 3
    pool.shutdown()
    content[1] = ord("B")
    assert [bytes(view) for view in views] == [b"Bcd"] * 3


def test_with_idle_timeout(closing):
    """The one that stood by for a worker that left stayed for ever."""
    before = interpreters()
    pool = closing(InterpreterPoolExecutor(2, max_tasks_per_interpreter=1, idle_timeout=0.03))
    for _ in range(3):
        assert pool.submit(tasks.add, 1, 2).result() == 3
        eventually(lambda: interpreters() <= before, "the end of all")
    assert pool._pool.threads() == []


@pytest.mark.parametrize("how", ["shutdown", "cancel", "terminate"])
def test_shut_down_with_one_standing_by(recycling, gate, how):
    """It waited for a place that it would never have, and `shutdown` for it."""
    pool = recycling(1)
    before = interpreters()
    pool.submit(tasks.block, *gate.fds)
    rest = [pool.submit(tasks.identity, number) for number in range(2)]
    gate.wait()
    eventually(lambda: len(interpreters()) > len(before), "the next interpreter")
    if how == "shutdown":
        gate.open()
        pool.shutdown()
        assert [future.result() for future in rest] == [0, 1]
    else:
        # Before the gate opens, or the next task may begin.
        if how == "terminate":
            pool.terminate_workers()
        else:
            pool.shutdown(wait=False, cancel_futures=True)
        gate.open()
        pool.shutdown(cancel_futures=True)
        assert all(future.cancelled() for future in rest)
    assert interpreters() <= before


def test_a_stuck_one_is_replaced_by_the_one_that_stands_by(recycling, gate, monkeypatch):
    """Another was made, and the first waited for ever."""
    monkeypatch.setattr(_methods, "_WARNING", 9.0)
    monkeypatch.setattr(_methods, "_GRACE", 0.02)
    pool = recycling(1)
    before = interpreters()
    held = pool.submit(tasks.block_and_tell, *gate.fds)
    gate.wait()
    eventually(lambda: len(interpreters() - before) == 2, "the next interpreter")
    there = interpreters()
    (thread,) = pool._pool.threads()
    assert held.interrupt()
    assert type(held.exception()) is TaskInterrupted
    assert pool.submit(tasks.interpreter_id).result() in there
    gate.open()
    thread.join()


def test_interrupts_and_limits(recycling):
    """An interrupt that was meant for the last task hit the one that came after."""
    pool = recycling(1)
    for _ in range(3):
        future = pool.submit(tasks_interrupt.spin)
        eventually(future.running, "its start")
        assert future.interrupt()
        assert type(future.exception()) is TaskInterrupted
        assert pool.submit(tasks.add, 1, 2).result() == 3


def test_of_the_executor_that_routes(closing):
    executor = closing(
        InterpreterThreadPoolExecutor(max_interpreters=1, max_tasks_per_interpreter=2)
    )
    numbers = [executor.submit(interpreter(tasks.interpreter_id)).result() for _ in range(4)]
    assert runs(numbers) == [2, 2]
    assert executor.submit(tasks.interpreter_id).result() == 0


def test_of_the_default_pool(default_pool):
    subpool.configure(max_interpreters=1, max_tasks_per_interpreter=1)
    tagged = interpreter(tasks.interpreter_id)
    assert len({tagged() for _ in range(3)}) == 3


@pytest.mark.parametrize("kind", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor])
def test_it_is_a_number_of_at_least_one(kind):
    for most in (0, -1, -(10**30)):
        with pytest.raises(ValueError, match="max_tasks_per_interpreter must be greater than 0"):
            kind(1, max_tasks_per_interpreter=most)
    for most in ("1", 1.0, math.inf):
        with pytest.raises(TypeError):
            kind(1, max_tasks_per_interpreter=most)
    kind(1, max_tasks_per_interpreter=10**30).shutdown()


# Starts that fail


def test_the_next_one_fails_while_it_stands_by(beginning, logged, gate):
    """Nobody needed it yet: tasks that another interpreter could run were failed."""
    pool = beginning(2, 2)
    pool.submit(tasks_recycling.count)
    held = pool.submit(tasks.block, *gate.fds)
    gate.wait()
    eventually(logged, "the failure")
    gate.open()
    assert held.result() == "released"
    assert [pool.submit(tasks_recycling.count).result() for _ in range(4)] == [1, 2] * 2
    ((level, text),) = logged()
    assert level == logging.WARNING
    assert "a worker's initializer failed; the next try comes when its place is free" in text
    assert "LookupError: not this time" in text


def test_it_fails_again_and_then_not(beginning, logged, quick_retries):
    """The pool broke, and every task that waited was lost."""
    pool = beginning(1, 2, 3, 4)
    futures = [pool.submit(tasks_recycling.count) for _ in range(3)]
    assert [future.result() for future in futures] == [1] * 3
    found = logged()
    assert len(found) == 3
    assert all(level == logging.WARNING for level, _ in found)
    assert sum("the next try comes in 0.0 s" in text for _, text in found) >= 2


@pytest.mark.parametrize("last", [False, True])
def test_it_fails_and_the_one_before_is_harmed(beginning, logged, quick_retries, gate, last):
    """The harmed one stayed: no other was tried, or it ran more tasks than it may."""
    pool = beginning(2, 2, 3) if last else beginning(20, 2)
    for _ in range(1 if last else 2):
        pool.submit(tasks_recycling.count).result()
    harmful = pool.submit(tasks_recycling.harm, *gate.fds)
    gate.wait()
    eventually(logged, "the failure of the one that stands by")
    gate.open()
    assert type(harmful.exception()) is ValueError
    assert pool.submit(tasks_recycling.count).result() == 1
    # By the worker that goes, which the one that has taken its place does not wait for.
    named = lambda: sum("tasks_recycling.harm" in text for _, text in logged())  # noqa: E731
    eventually(named, "its warning")
    assert named() == 1


def test_it_fails_for_good(beginning, logged, quick_retries):
    """Then the tasks that wait end, with the reason."""
    pool = beginning(1, *range(2, 99))
    futures = [pool.submit(tasks_recycling.count) for _ in range(3)]
    assert futures[0].result() == 1
    for future in futures[1:]:
        assert type(future.exception()) is BrokenInterpreterPool
        assert "LookupError: not this time" in causes(future.exception())[0]
    assert [level for level, _ in logged()][-1] == logging.CRITICAL
    with pytest.raises(BrokenInterpreterPool):
        pool.submit(tasks.nothing)


def test_one_that_comes_back_after_idleness_fails_once(closing, tmp_path, logged, quick_retries):
    """The pool broke for a database that was away for a moment."""
    before = interpreters()
    pool = closing(
        InterpreterPoolExecutor(
            1,
            idle_timeout=0.01,
            initializer=tasks_recycling.begin,
            initargs=(str(tmp_path / "begun"), (2,)),
        )
    )
    assert pool.submit(tasks_recycling.count).result() == 1
    eventually(lambda: interpreters() <= before, "the end of the idle interpreter")
    assert pool.submit(tasks_recycling.count).result() == 1
    assert len(logged()) == 1


def test_shut_down_while_a_start_is_tried_again(beginning, logged, monkeypatch):
    """`shutdown` waited for the next try, of something that nobody needs."""
    monkeypatch.setattr(_methods, "_RETRIES", (30.0,))
    pool = beginning(1, *range(2, 99))
    assert pool.submit(tasks_recycling.count).result() == 1
    waiting = pool.submit(tasks_recycling.count)
    eventually(lambda: any("comes in 30.0 s" in text for _, text in logged()), "the failure")
    pool.shutdown(cancel_futures=True)
    assert waiting.cancelled()


def test_without_a_thread_to_be_had(check):
    """The pool had one worker less, and a pool of one none."""
    check("""
import resource, tasks_recycling
from subpool import InterpreterPoolExecutor
with InterpreterPoolExecutor(1, max_tasks_per_interpreter=2) as pool:
    first = pool.submit(tasks_recycling.count_on_thread).result()
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    for_ever = resource.RLIM_INFINITY
    # A stack has 16 MiB.
    resource.setrlimit(resource.RLIMIT_AS, (size + (14 << 20), for_ever))
    rest = [pool.submit(tasks_recycling.count_on_thread).result() for _ in range(7)]
    counts, threads = zip(first, *rest)
    assert counts == (1, 2) * 4, counts
    assert len(set(threads)) == 1, threads  # each new interpreter on the thread that there was
    assert len(pool._pool.threads()) == 1
    resource.setrlimit(resource.RLIMIT_AS, (for_ever, for_ever))
    assert [pool.submit(tasks_recycling.count).result() for _ in range(4)] == [1, 2] * 2
""")


def test_programs_that_end(check):
    """With workers that leave, that come, and that stand by."""
    check("""
import tasks_recycling
from subpool import InterpreterPoolExecutor
pools = [InterpreterPoolExecutor(2, max_tasks_per_interpreter=most) for most in (1, 1, 2, 3)]
for pool in pools:
    for _ in range(3):
        pool.submit(tasks_recycling.count)
dropped = InterpreterPoolExecutor(1, max_tasks_per_interpreter=1)
future = dropped.submit(tasks_recycling.count)
del dropped
assert future.result() == 1
""")
