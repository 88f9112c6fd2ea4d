"""Fork with every pool shut down. With a living one CPython's child crashes (#139759)."""

import sys

import pytest

PRELUDE = """
import os, sys, tasks, threading, warnings
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter
# The completer's threads live on, and Python warns of threads at a fork.
warnings.simplefilter("ignore", DeprecationWarning)

def child(body):
    pid = os.fork()
    if pid == 0:
        try:
            body()
            sys.stdout.flush()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

def use():
    with InterpreterThreadPoolExecutor(2, max_interpreters=2) as ex:
        print(ex.submit(interpreter(tasks.add), 1, 2).result(), end=" ")
        print(ex.submit(tasks.add, 3, 4).result(), end=" ")
        done = threading.Event()
        ex.submit(interpreter(tasks.nothing)).add_done_callback(lambda _: done.set())
        done.wait()
        print("called back", flush=True)
"""
USED = "3 7 called back\n"


@pytest.fixture
def run(check):
    return lambda code, **options: check(PRELUDE + code, **options)


def test_a_child_after_shutdown_makes_a_pool_of_its_own(run):
    """The child inherits a completer whose thread is not there, and locks in any state."""
    assert run("use()\nchild(use)\nuse()\n") == f"{USED}{USED}status 0\n{USED}"


def test_a_child_of_a_process_that_never_used_a_pool(run):
    """The fork hooks are there from the import on."""
    assert run("child(use)\nuse()\n") == f"{USED}status 0\n{USED}"


def test_a_grandchild(run):
    """The hooks run in each generation."""
    out = run("use()\nchild(lambda: (use(), child(use)))\n")
    assert out == f"{USED}{USED}{USED}status 0\nstatus 0\n"


def test_a_child_that_ends_in_the_ordinary_way(run):
    """The child's exit hook must not wait for threads that only the parent has."""
    out = run("""
use()
pid = os.fork()
if pid:
    print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")
    assert out.endswith("status 0\n")


def test_a_child_with_an_unused_executor_of_its_parent(run):
    """An executor that has started nothing has nothing to lose by a fork."""
    out = run("""
ex = InterpreterPoolExecutor(1)
child(lambda: print(ex.submit(tasks.add, 1, 2).result()))
print(ex.submit(tasks.add, 3, 4).result())
""")
    assert out == "3\nstatus 0\n7\n"


@pytest.mark.slow
def test_multiprocessing_by_fork(run):
    """A common way to fork, with a shut-down pool behind."""
    out = run("""
import multiprocessing
use()
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply(tasks.add, (5, 6)))
""")
    assert out == f"{USED}11\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the fork server is not everywhere")
@pytest.mark.slow
def test_multiprocessing_by_spawn_with_a_living_pool(run):
    """Spawned children start afresh, so a living pool is no danger to them."""
    out = run("""
import multiprocessing
if __name__ == "__main__":
    ex = InterpreterPoolExecutor(1)
    ex.warm_up()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(tasks.add, (5, 6)))
    print(ex.submit(tasks.add, 1, 2).result())
""")
    assert out == "11\n3\n"


def test_subprocess_with_a_living_pool(run):
    """Plain `subprocess` execs at once: fine in main, with interpreters alive."""
    out = run("""
import subprocess
ex = InterpreterPoolExecutor(1)
ex.warm_up()
print(subprocess.run([sys.executable, "-c", "print(5)"], capture_output=True, text=True).stdout)
print(ex.submit(tasks.add, 1, 2).result())
""")
    assert out == "5\n\n3\n"


def test_a_fork_while_another_thread_listens(run):
    """The fork comes while the completer's lock may be held: it must be whole in the child."""
    out = run("""
stop = threading.Event()
def churn():
    from concurrent.futures import wait
    from subpool import Future
    while not stop.is_set():
        future = Future()
        future.add_done_callback(lambda _: None)
        future.set_result(1)
use()
thread = threading.Thread(target=churn)
thread.start()
for _ in range(5):
    child(use)
stop.set()
thread.join()
""")
    assert out == USED + f"{USED}status 0\n" * 5
