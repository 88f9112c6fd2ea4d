"""Ctrl-C, and signals like it, while the end of a program waits for work."""

import re
from signal import SIGALRM, SIGINT

import pytest
from exit_base import INTERRUPTED
from exit_base import PRELUDE as COMMON
from exit_children import Children, chosen
from exit_interrupts import PRELUDE, PROGRAMS, Program


@pytest.fixture(scope="module")
def children(request, tmp_path_factory, times):
    """Run the programs whose tests were chosen."""
    rows = chosen(request, PROGRAMS)
    children = Children(tmp_path_factory.mktemp("exit"), rows, PRELUDE, times(1, long=100))
    yield children
    children.close()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(children, name):
    """What each must do is in its row; a hundred times with ``--long``."""
    children.check(name, PROGRAMS[name])


AT_ANY_TIME = """
import random, time
from concurrent.futures import wait
dice = random.Random(SEED)
left = dice.randrange(1, 4)
def press(*_):
    global left
    left -= 1
    if left == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, press)
executors = [
    InterpreterPoolExecutor(2, idle_timeout=1e-4),
    InterpreterThreadPoolExecutor(2, max_interpreters=2),
]
if SEED % 2:  # else mostly the first imports are hit
    executors[0].submit(tasks.nothing).exception()
signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-4, 0.2), dice.choice([1e-3, 0.02, 0.1]))
futures = []
for number in range(60):
    ex = dice.choice(executors)
    call = dice.choice([tasks.identity, tasks.fail, tasks_interrupt.spin, time.sleep])
    if call is tasks_interrupt.spin:
        call = interpreter(call, timeout=0.01)
    future = ex.submit(interpreter(call), LookupError(1) if call is tasks.fail else 0)
    futures.append(future)
    if dice.random() < 0.5:
        future.add_done_callback(lambda future: future.cancelled() or future.exception())
    dice.choice([lambda: 0, future.cancel, future.interrupt, ex.interrupt_all])()
dice.choice([lambda: 0, ex.shutdown, ex.terminate_workers, lambda: wait(futures[-3:])])()
"""


def test_at_any_time(tmp_path, times):
    """Ctrl-C, once or again and again, wherever the program is: an end, and no crash."""
    rows = {"": Program(AT_ANY_TIME, signals=())}
    children = Children(tmp_path, rows, COMMON, times(4, long=400))
    try:
        for rc, out, err in children.outcomes(""):
            # SIGALRM itself: Python had left its handlers behind.
            assert rc in (0, *INTERRUPTED, 128 + SIGINT, -SIGALRM), f"{rc}\n{out}\n{err}"
            assert rc != 1 or "KeyboardInterrupt" in err, err
            assert not re.search("Fatal|panicked|subinterpreter|SystemError", err), err
    finally:
        children.close()
