"""How a program ends that leaves something undone: no hang, no crash, no word on stderr."""

import pytest

PRELUDE = """
import os, sys, tasks, threading
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter
"""


@pytest.fixture
def run(check):
    return lambda code, **options: check(PRELUDE + code, **options)


def test_without_any_shutdown(run):
    """A prototype without an exit hook crashed here: interpreters alive at finalization."""
    assert run("ex = InterpreterPoolExecutor(2)\nprint(ex.submit(tasks.add, 1, 2).result())\n")


def test_with_idle_workers(run):
    """Workers that sleep must be woken to end."""
    run("ex = InterpreterPoolExecutor(2)\nex.warm_up()\n")


def test_with_pending_work(run):
    """The standard pools finish it: so must we."""
    out = run("""
ex = InterpreterPoolExecutor(1)
for number in range(50):
    ex.submit(tasks.write, 1, f"{number} ")
""")
    assert out.split() == [str(number) for number in range(50)]


def test_with_a_task_in_flight(run):
    """The task ends, its result is thrown away."""
    out = run("""
r, w = os.pipe()
ex = InterpreterPoolExecutor(1)
ex.submit(tasks.write_when_told, r, 1, "done")
threading._register_atexit(os.write, w, b"x")  # as the end begins, before the pool's own hook
""")
    assert out == "done"


def test_with_callbacks_to_come(run):
    """The completer delivers what ends while the program does."""
    out = run("""
ex = InterpreterPoolExecutor(1)
for number in range(20):
    ex.submit(tasks.identity, number).add_done_callback(
        lambda future: print(future.result(), flush=True)
    )
""")
    assert out.split() == [str(number) for number in range(20)]


def test_a_callback_that_submits_while_the_program_ends(run):
    """Too late to be accepted: RuntimeError in the callback, and no hang."""
    out = run("""
import logging
logging.disable()
r, w = os.pipe()
ex = InterpreterPoolExecutor(1)
def callback(future):
    try:
        ex.submit(tasks.nothing)
    except RuntimeError as error:
        print(error, flush=True)
ex.submit(tasks.write_when_told, r, 1, "").add_done_callback(callback)
threading._register_atexit(os.write, w, b"x")
""")
    assert out in ("", "cannot schedule new futures after interpreter shutdown\n")


@pytest.mark.parametrize("code", [0, 3])
def test_sys_exit_in_the_middle(script, code):
    """The exit code is the program's."""
    rc, out, err = script(
        PRELUDE
        + "ex = InterpreterThreadPoolExecutor(2)\n"
        + "futures = [ex.submit(interpreter(tasks.add), 1, 2) for _ in range(10)]\n"
        + f"ex.submit(tasks.add, 1, 2)\nsys.exit({code})\n"
    )
    assert (rc, out, err) == (code, "", "")


def test_an_exception_in_the_main_thread(script):
    """Its traceback, and nothing else, is on stderr."""
    rc, _, err = script(
        PRELUDE
        + "ex = InterpreterPoolExecutor(2)\nex.submit(tasks.nothing)\nraise LookupError(3)\n"
    )
    assert rc == 1
    assert err.startswith("Traceback")
    assert err.endswith("LookupError: 3\n")
    assert "subinterpreter" not in err


def test_os_exit(script):
    """An exit that runs no hooks ends at once, with whatever threads."""
    rc, out, err = script(
        PRELUDE
        + "ex = InterpreterPoolExecutor(2)\nex.warm_up()\n"
        + "print('out', flush=True)\nos._exit(5)\n"
    )
    assert (rc, out, err) == (5, "out\n", "")


def test_a_pool_in_a_global_of_a_module(run, tmp_path):
    """Module teardown frees the executor after the hooks have run."""
    (tmp_path / "holder.py").write_text(
        "from subpool import InterpreterPoolExecutor\nex = InterpreterPoolExecutor(2)\n"
    )
    assert run("import holder\nprint(holder.ex.submit(tasks.add, 1, 2).result())\n") == "3\n"


def test_futures_and_a_pool_in_a_cycle(run):
    """Freed by the last garbage collection, which runs late in finalization."""
    run("""
class Node: pass
node = Node()
node.self, node.ex = node, InterpreterPoolExecutor(1)
node.futures = [node.ex.submit(tasks.identity, i) for i in range(10)]
node.futures[0].add_done_callback(lambda future, node=node: None)
""")


def test_a_finalizer_that_uses_the_pool_at_the_end(run):
    """A garbage-collected object that submits while Python finalizes gets an error, no crash."""
    out = run("""
class Bomb:
    def __init__(self, ex): self.ex, self.self = ex, self
    def __del__(self):
        try:
            self.ex.submit(tasks.nothing)
        except RuntimeError as error:
            os.write(1, str(error).encode())
bomb = Bomb(InterpreterPoolExecutor(1))
bomb.ex.submit(tasks.nothing).result()
import builtins
builtins.bomb = bomb
""")
    assert out in ("", "cannot schedule new futures after interpreter shutdown")


def test_a_pool_made_by_an_atexit_function(script):
    """`atexit` runs after the threads' hooks: nobody would wait for a pool that is made there."""
    rc, out, err = script(
        PRELUDE
        + """
import atexit
@atexit.register
def late():
    try:
        with InterpreterPoolExecutor(1) as ex:
            print(ex.submit(tasks.add, 1, 2).result())
    except RuntimeError as error:
        print(error)
"""
    )
    assert (rc, err) == (0, "")
    assert out.startswith("cannot make a pool while the program ends: make it, and wait")


def test_the_default_pool_at_exit(run):
    """A direct call leaves a pool that the program knows nothing of."""
    assert run("print(tasks.tagged_here('x')[0])\n") == "x\n"


def test_an_import_alone(run):
    """`import subpool` without any use, all names looked up."""
    run("import subpool\nfor name in subpool.__all__: getattr(subpool, name)\n")


def test_a_task_that_leaves_a_thread_behind(run):
    """The interpreter's end joins its threads; a short one is waited for."""
    out = run("""
with InterpreterPoolExecutor(1) as ex:
    print(ex.submit(tasks.leave_a_thread, 1).result(), flush=True)
""")
    assert out == "left\nthread\n"


@pytest.mark.parametrize("how", ["-c", "stdin"])
def test_forms_of_a_program(run, how):
    """The end of `-c` and of a piped program is the same end."""
    assert run(
        "ex = InterpreterPoolExecutor(2)\nprint(ex.submit(tasks.add, 1, 2).result())\n", how=how
    )


def test_a_daemon_thread_that_waits_for_a_result(run):
    """A daemon thread in `result()` while Python finalizes must not touch what is gone."""
    run("""
ex = InterpreterPoolExecutor(1)
ready = threading.Event()
def wait_for_ever():
    from subpool import Future
    future = Future()
    ready.set()
    future.result()
threading.Thread(target=wait_for_ever, daemon=True).start()
ready.wait()
ex.submit(tasks.nothing).result()
""")


def test_a_module_that_a_worker_loads_before_main(check):
    """On 3.13 the types of datetime were the worker's then, and main freed its memory: SIGABRT."""
    check("""
from subpool import InterpreterPoolExecutor

def load():
    import datetime

with InterpreterPoolExecutor(1) as ex:
    ex.submit(load).result()
    import datetime
""")
