"""Ctrl-C reaches a program that waits for a task which does not end."""

import signal
import subprocess
import sys

import pytest

from support import asleep, eventually

# One task runs, and reads standard input: it ends when this test writes there.
PRELUDE = """
import os, signal, sys, tasks, threading
from concurrent import futures
from subpool import InterpreterThreadPoolExecutor, interpreter

signal.signal(signal.SIGINT, signal.default_int_handler)
started_r, started = os.pipe()
ex = InterpreterThreadPoolExecutor(max_interpreters=1, max_pending=4)
future = ex.submit(interpreter(tasks.block), started, 0)
os.read(started_r, 1)
# A signal may go to a thread that is just starting, and then wakes nobody: let all have started.
delivered = threading.Event()
with InterpreterThreadPoolExecutor(max_interpreters=1) as other:
    other.submit(interpreter(tasks.nothing)).add_done_callback(lambda _: delivered.set())
    delivered.wait()

def say(*words):
    print(*words, flush=True)
"""

INTERRUPTED = """
try:
    say("ready")
    {wait}
except KeyboardInterrupt:
    say("interrupted", future.running())
say(future.result())
"""

WAITS = {
    "result": "future.result()",
    "result with a timeout": "future.result(timeout=1000)",
    "exception": "future.exception()",
    "result, listened to": "future.add_done_callback(lambda _: None); future.result()",
    "result of a pending task": "ex.submit(interpreter(tasks.nothing)).result()",
    "shutdown": "ex.shutdown(wait=True)",
    "the end of a with block": "ex.__exit__(None, None, None)",
    "map": "list(ex.map(interpreter(tasks.nothing), range(3)))",
    "wait": "futures.wait([future])",
    "as_completed": "list(futures.as_completed([future]))",
    "thread join": "[thread.join() for thread in ex._pool.threads()]",
    "submit to a full pool": "[ex.submit(interpreter(tasks.nothing)) for _ in range(9)]",
    "map in a full pool": "ex.map(interpreter(tasks.nothing), range(9))",
    "direct call": "tasks.tagged_block(started, 0)",
}


@pytest.fixture
def start(tmp_path, child_env):
    """Start a program; `sleeping` waits for a word of it, and then for its main thread's sleep."""
    children = []

    def start(code):
        file = tmp_path / "program.py"
        file.write_text(PRELUDE + code)
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        children.append(
            subprocess.Popen([sys.executable, str(file)], text=True, env=child_env, **pipes)
        )
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def sleeping(child):
    """Wait until the program says `ready`, and its main thread then sleeps."""
    assert child.stdout.readline() == "ready\n", child.communicate()
    eventually(lambda: asleep(child), "its sleep")


def line(child):
    return child.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("wait", WAITS)
def test_sigint_ends_the_wait(start, wait):
    """A wait in a Rust primitive does not see signals: Ctrl-C waited for the task."""
    child = start(INTERRUPTED.format(wait=WAITS[wait]))
    sleeping(child)
    child.send_signal(signal.SIGINT)
    # Nobody has let the task go: the wait ended without it.
    assert line(child) == "interrupted True", child.communicate("rr")
    out, err = child.communicate("rr", timeout=60)
    assert (child.returncode, out, err) == (0, "released\n", "")


def test_a_handler_that_returns_does_not_end_the_wait(start):
    """`result()` returned early, or failed, after a signal with a harmless handler."""
    child = start("""
signal.signal(signal.SIGUSR1, lambda *_: say("handled"))
say("ready")
say(future.result(), "at last")
""")
    sleeping(child)
    for _ in range(3):
        child.send_signal(signal.SIGUSR1)
        assert line(child) == "handled"
    out, err = child.communicate("r", timeout=60)
    assert (child.returncode, out, err) == (0, "released at last\n", "")


def test_any_exception_of_a_handler_ends_the_wait(start):
    """A SIGALRM handler that raises is how programs bound a wait."""
    child = start("""
signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
say("ready")
try:
    future.result()
except ZeroDivisionError:
    say("bounded")
""")
    sleeping(child)
    child.send_signal(signal.SIGALRM)
    assert line(child) == "bounded"
    assert child.communicate("r", timeout=60) == ("", "")
    assert child.returncode == 0


def test_a_wait_after_an_interrupted_one(start):
    """The interrupted wait left its sleeper behind, which the task's end then touched."""
    child = start("""
try:
    say("ready")
    future.result()
except KeyboardInterrupt:
    say("interrupted")
got, wait = [], lambda: got.append(future.result())
threads = [threading.Thread(target=wait) for _ in range(3)]
[thread.start() for thread in threads]
say("waiting")
[thread.join() for thread in threads]
say(got, future.result(timeout=0))
""")
    sleeping(child)
    child.send_signal(signal.SIGINT)
    assert (line(child), line(child)) == ("interrupted", "waiting")
    out, err = child.communicate("r", timeout=60)
    assert out == f"{['released'] * 3} released\n"
    assert (child.returncode, err) == (0, "")


def test_an_uncaught_interrupt_ends_the_program(start):
    """By the signal and with the usual traceback, when the task has ended."""
    child = start('say("ready")\nfuture.result()\n')
    sleeping(child)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate("r", timeout=60)
    assert child.returncode == -signal.SIGINT
    assert out == ""
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "subinterpreter" not in err


def test_sigint_while_the_program_ends(start):
    """Interrupted at exit, the standard pool leaves interpreters behind, and the end crashes."""
    # Said as the end begins, before the pool's own hook, which was registered earlier.
    child = start('threading._register_atexit(say, "ready")\n')
    sleeping(child)
    child.send_signal(signal.SIGINT)
    eventually(lambda: asleep(child), "its sleep or its end")
    out, err = child.communicate("r", timeout=60)
    assert child.returncode >= 0 or child.returncode == -signal.SIGINT, err
    assert out == ""
    assert "subinterpreter" not in err


def test_sigint_twice_while_the_program_ends(start):
    """A task that never ends held the end of the program against every Ctrl-C."""
    child = start('threading._register_atexit(say, "ready")\n')
    sleeping(child)
    child.send_signal(signal.SIGINT)
    eventually(lambda: asleep(child), "its sleep after the first")
    assert child.poll() is None, "the first Ctrl-C must not end it: the task is in a system call"
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 128 + signal.SIGINT


def test_sigint_while_the_program_ends_cancels_what_waits(start):
    """Who presses Ctrl-C does not want the queue to be worked off."""
    child = start(
        "waiting = ex.submit(interpreter(tasks.block), started, 0)\n"
        'waiting.add_done_callback(lambda f: say("cancelled", f.cancelled()))\n'
        'threading._register_atexit(say, "ready")\n'
    )
    sleeping(child)
    child.send_signal(signal.SIGINT)
    assert line(child) == "cancelled True"
    _, err = child.communicate("r", timeout=60)
    assert "KeyboardInterrupt" in err
    assert "subinterpreter" not in err


def test_sigint_while_the_program_ends_interrupts_what_runs(start):
    """The end waited for an endless task; only a second Ctrl-C ended that, without clean-up."""
    child = start("""
import tasks_interrupt
other = InterpreterThreadPoolExecutor(max_interpreters=1)
other.submit(interpreter(tasks_interrupt.clean_up), started, 1)
os.read(started_r, 1)
threading._register_atexit(say, "ready")
""")
    sleeping(child)
    child.send_signal(signal.SIGINT)
    assert child.stdout.read(1) == "c", "the task's own clean-up"
    _, err = child.communicate("r", timeout=60)
    assert child.returncode != 128 + signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert "subinterpreter" not in err
