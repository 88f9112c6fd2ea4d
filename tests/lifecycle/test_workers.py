"""Workers: their names, how many there are and when they come."""

import os
import sys
import threading

import pytest

import tasks
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter
from support import eventually, interpreters, os_threads


def test_threads_are_named_for_the_operating_system():
    """#125920: threads of interpreters are called Dummy-1; top and htop show comm, 15 bytes."""
    with InterpreterPoolExecutor(2, "mine") as pool:
        pool.warm_up()
        assert [thread.name for thread in pool._pool.threads()] == ["mine_0", "mine_1"]
        assert {"mine_0", "mine_1"} <= set(os_threads().values())
        assert pool.submit(tasks.thread_name).result() in {"mine_0", "mine_1"}


def test_names_without_a_prefix_hold_the_number(closing):
    """Cut to 15 bytes, every thread of `InterpreterPoolExecutor-0_0` is called the same."""
    executor = closing(InterpreterThreadPoolExecutor(max_interpreters=2))
    executor.warm_up()
    names = [thread.name for thread in executor._pool.threads()]
    assert len({name[:15] for name in names}) == 2
    assert {name[:15] for name in names} <= set(os_threads().values())


@pytest.mark.parametrize("prefix", ["with\0nul", "ünïcödé" * 3, "x" * 1000, " "])
def test_strange_prefixes(closing, prefix):
    """A NUL in a thread's name is a panic in Rust."""
    pool = closing(InterpreterPoolExecutor(1, prefix))
    assert pool.submit(tasks.add, 1, 2).result() == 3
    assert pool._pool.threads()[0].name == f"{prefix}_0"


def test_nothing_is_started_before_the_first_call():
    """An executor in a module's global must cost nothing."""
    before, threads = interpreters(), set(os_threads())
    for kind in (InterpreterPoolExecutor, InterpreterThreadPoolExecutor):
        with kind(2) as executor:
            assert executor._pool.threads() == []
            # What earlier tests left behind may still be ending.
            assert interpreters() <= before
            assert set(os_threads()) <= threads


def test_calls_one_after_another_use_one_worker(closing):
    """Each interpreter costs megabytes: sequential work needs one."""
    pool = closing(InterpreterPoolExecutor(8))
    numbers = {pool.submit(tasks.interpreter_id).result() for _ in range(50)}
    assert len(numbers) == 1
    assert len(pool._pool.threads()) == 1


def test_as_many_workers_as_tasks_up_to_the_most(closing, gate):
    """Two tasks that wait for each other need two workers; a third worker nobody."""
    pool = closing(InterpreterPoolExecutor(2))
    futures = [pool.submit(tasks.block_and_tell, *gate.fds) for _ in range(4)]
    gate.wait(2)
    assert len(pool._pool.threads()) == 2
    gate.open(4)
    assert {future.result()[0].id for future in futures} == {0, 1}


@pytest.mark.parametrize(("count", "expected"), [(None, 3), (1, 1), (0, 0), (99, 3)])
def test_warm_up(count, expected):
    """The number is a wish; the most is the most."""
    with InterpreterPoolExecutor(3) as pool:
        before = interpreters()
        pool.warm_up(count)
        assert len(pool._pool.threads()) == expected
        assert len(interpreters() - before) == expected


def test_warm_up_waits_for_the_initializers(closing):
    """A warmed pool whose first task still waits is not warm."""
    with InterpreterPoolExecutor(2, initializer=tasks.set_global, initargs=(5,)) as pool:
        pool.warm_up()
        assert pool.submit(tasks.read_global).result() == 5


def test_warm_up_from_several_threads():
    """Two threads that grow the pool at once made too many workers."""
    with InterpreterPoolExecutor(2) as pool:
        threads = [threading.Thread(target=pool.warm_up) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pool._pool.threads()) == 2


@pytest.mark.parametrize("count", [0, -1])
def test_max_workers_is_at_least_one(count):
    """The standard error, for each of the three numbers."""
    for make in (
        lambda: InterpreterPoolExecutor(count),
        lambda: InterpreterThreadPoolExecutor(count),
        lambda: InterpreterThreadPoolExecutor(max_interpreters=count),
    ):
        with pytest.raises(ValueError, match="greater than 0"):
            make()


@pytest.mark.parametrize("count", ["2", 2.5])
def test_max_workers_is_a_number(count):
    """A string compared with a number says nothing of max_workers; but it is a TypeError."""
    for make in (
        lambda: InterpreterPoolExecutor(count),
        lambda: InterpreterThreadPoolExecutor(max_interpreters=count),
    ):
        with pytest.raises(TypeError):
            make()


def test_defaults_follow_the_cpus():
    """`process_cpu_count` respects affinity; `cpu_count` does not."""
    with InterpreterPoolExecutor() as pool, InterpreterThreadPoolExecutor() as executor:
        assert pool._max_workers == os.process_cpu_count()
        for each in (pool, executor):
            each.warm_up()
            assert len(each._pool.threads()) == os.process_cpu_count()


def test_the_worker_threads_of_the_interface(closing):
    """CPython's own tests, and some programs, read `_threads` and join them."""
    pool = closing(InterpreterPoolExecutor(2))
    pool.warm_up()
    assert len(pool._threads) == 2
    (first, _) = pool._pool.threads()
    assert first.is_alive()
    first.join(timeout=0)
    assert first.is_alive()
    assert "started" in repr(first)
    pool.shutdown()
    first.join()
    assert not first.is_alive()
    assert "stopped" in repr(first)


def test_tasks_run_in_parallel_in_interpreters_of_their_own(pool2, gate):
    """Two tasks that both run at the same time, each with a GIL of its own."""
    futures = [pool2.submit(tasks.block_and_tell, *gate.fds) for _ in range(2)]
    gate.wait(2)
    gate.open(2)
    assert len({future.result()[1] for future in futures}) == 2


def test_the_main_interpreter_runs_on_while_a_worker_computes(pool):
    """A worker that took the main GIL would hold this thread up for ever."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    future = pool.submit(tasks.spin_until_readable, reader)
    eventually(future.running, "the start of the task")
    os.write(writer, b"x")
    assert future.result() == "seen"
    os.close(reader)
    os.close(writer)


def test_the_plain_and_the_tagged_queue_do_not_block_each_other(executor, gate):
    """A full set of busy interpreters must not hold up the threads, nor the other way round."""
    held = [executor.submit(interpreter(tasks.block), *gate.fds) for _ in range(2)]
    gate.wait(2)
    assert executor.submit(tasks.add, 1, 2).result() == 3
    gate.open(2)
    assert [future.result() for future in held] == ["released"] * 2
    plain = [executor.submit(tasks.block, *gate.fds) for _ in range(2)]
    gate.wait(2)
    assert executor.submit(interpreter(tasks.add), 1, 2).result() == 3
    gate.open(2)
    assert [future.result() for future in plain] == ["released"] * 2


def test_interpreters_come_side_by_side_where_that_is_safe(check, child_env, tmp_path):
    """On 3.13 "Failed to import encodings module": the counter of type versions has no lock there.

    Each interpreter runs this `sitecustomize` while it is made, and looks for others that do.
    """
    within = tmp_path / "within"
    (tmp_path / "sitecustomize.py").write_text(f"""
import os, sys, time
if os.path.isdir({str(within)!r}):
    mine = os.path.join({str(within)!r}, str(time.monotonic_ns()))
    open(mine, "x").close()
    # Where they must not meet there is nothing to wait for: long enough to be met.
    end = time.monotonic() + (30 if sys.version_info >= (3, 14) else 0.3)
    while time.monotonic() < end:
        if len(os.listdir({str(within)!r})) > 1:
            open({str(tmp_path / "met")!r}, "w").close()
        if os.path.exists({str(tmp_path / "met")!r}):
            break
        time.sleep(0.001)
    os.remove(mine)
""")
    child_env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), child_env["PYTHONPATH"]])
    code = f"""
import os
from subpool import InterpreterPoolExecutor
with InterpreterPoolExecutor(2) as pool:
    os.mkdir({str(within)!r})
    pool.warm_up()
    print(pool.stats().interpreters)
"""
    assert check(code) == "2\n"
    assert (tmp_path / "met").exists() == (sys.version_info >= (3, 14))
