"""The fault list: what goes wrong around a pool, as programs that any pool can run.

Each is the body of a function. `Pool` makes an executor, `tag` marks a function for it. It says
with `judge` how it went; whether it ended well is seen from outside (faults.py).
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    what: str
    right: str
    code: str
    # Ctrl-C, once it has said "ready".
    interrupt: bool = False
    options: tuple[str, ...] = ()
    limit: float = 15
    # The exit code that it may have beside 0.
    rc: int = 0


IDLE = "global ex\nex = Pool(2)\nex.submit(tag(nothing)).result()\n"
FORKED = """
pid = os.fork()
if pid == 0:
    os._exit(0)
judge(not (how := ended(pid)), f"the child {how}")
"""
BUSY = """
global ex
ex = Pool(1)
reader, writer = os.pipe()
"""
ON = """
again = outcome(ex.submit(tag(add), 1, 2).result, 5)
judge(again == 3, again)
"""

FAULTS = (
    Fault("fork beside an idle pool", "the child runs", IDLE + FORKED),
    Fault(
        "fork beside a busy pool",
        "the child runs",
        BUSY + "ex.submit(tag(nap), writer, 0.3)\nos.read(reader, 1)\n" + FORKED,
    ),
    Fault(
        "a pool in the child of a fork",
        "it works",
        IDLE
        + """
pid = os.fork()
if pid == 0:
    os._exit(0 if outcome(ex.submit(tag(add), 1, 2).result, 4) == 3 else 9)
judge(not (how := ended(pid)), f"the child: {how}")
""",
    ),
    Fault(
        "multiprocessing with fork, beside an idle pool",
        "the child runs",
        IDLE
        + """
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=nothing)
child.start()
child.join(5)
code = child.exitcode
if code is None:
    child.kill()
judge(code == 0, "the child hangs" if code is None else f"the child {told(code)}")
""",
    ),
    Fault(
        "subprocess with a preexec_fn, beside an idle pool",
        "the child runs",
        IDLE
        + """
import subprocess
done = outcome(lambda: subprocess.run(["true"], preexec_fn=nothing, timeout=5).returncode)
judge(done == 0, done)
""",
    ),
    Fault(
        "the program ends with work queued",
        "it is done",
        """
global ex
ex = Pool(1)
for _ in range(5):
    ex.submit(tag(slow), 0.02)
judge(True)
""",
    ),
    Fault(
        "Ctrl-C while the end waits for an endless task",
        "the program ends within a second",
        BUSY + "ex.submit(tag(spin), writer)\nos.read(reader, 1)\nready()\n",
        interrupt=True,
        rc=130,
    ),
    Fault(
        "Ctrl-C while the end waits for a call in C",
        "the program ends within a second",
        BUSY + "ex.submit(tag(nap), writer, 60)\nos.read(reader, 1)\nready()\n",
        interrupt=True,
        rc=130,
    ),
    Fault(
        "Ctrl-C while the end waits for a callback",
        "the program ends within a second",
        BUSY
        + """
ex.submit(tag(nothing)).add_done_callback(lambda future: nap(writer, 60))
os.read(reader, 1)
ready()
""",
        interrupt=True,
        rc=130,
    ),
    Fault(
        "Ctrl-C in somebody else's hook at the end, beside an idle pool",
        "the program ends as it would without the pool",
        IDLE
        + """
def interrupted():
    raise KeyboardInterrupt
threading._register_atexit(interrupted)
judge(True)
""",
        interrupt=True,
    ),
    Fault(
        "os._exit with an endless task",
        "ends at once",
        BUSY + "ex.submit(tag(spin), writer)\nos.read(reader, 1)\njudge(True)\nos._exit(0)\n",
    ),
    Fault(
        "submit while Python finalizes",
        "RuntimeError",
        IDLE
        + """
def late():
    found = outcome(ex.submit, tag(nothing))
    judge(isinstance(found, RuntimeError), found)
atexit.register(late)
""",
    ),
    Fault(
        "a pool made while Python finalizes",
        "a RuntimeError, or it works",
        IDLE
        + """
def late():
    found = outcome(lambda: Pool(1).submit(tag(add), 1, 2).result(5))
    judge(isinstance(found, RuntimeError) or found == 3, found)
atexit.register(late)
""",
    ),
    Fault(
        "cycles of pools, futures and finalizers at the end",
        "the program ends",
        """
class Bomb:
    def __init__(self, attribute):
        self.self, self.ex = self, Pool(1)
        self.future = self.ex.submit(tag(nothing))
        self.future.result()
        self.future.bomb = self
    def __del__(self, outcome=outcome, tag=tag, nothing=nothing):
        outcome(self.ex.submit, tag(nothing))
import builtins
builtins.bombs = [Bomb(number) for number in range(3)]
judge(True)
""",
    ),
    Fault(
        "tracemalloc",
        "tasks run, the program ends",
        IDLE + ON,
        options=("-X", "tracemalloc"),
    ),
    Fault(
        "an initializer that fails, the executor dropped",
        "the future ends",
        """
logging.disable()
def start():
    return Pool(1, initializer=tag(fail_to_start)).submit(tag(nothing))
found = outcome(start().result, 5)
judge(isinstance(found, BaseException) and not isinstance(found, TimeoutError), found)
""",
    ),
    Fault(
        "a result that cannot be sent",
        "an error that names it; the next task runs",
        IDLE
        + """
found = outcome(ex.submit(tag(lock)).result, 5)
if "lock" in str(found):
    again = outcome(ex.submit(tag(add), 1, 2).result, 5)
    judge(again == 3, again)
else:
    judge(False, found)
""",
    ),
    Fault(
        "an exception that pickle cannot make again",
        "`except` catches its class",
        IDLE
        + """
found = outcome(ex.submit(tag(raise_picky)).result, 5)
judge(type(found) is Picky and found.code == 7, found)
""",
    ),
    Fault(
        "a closure as task",
        "it runs",
        IDLE
        + """
step = 2
found = outcome(lambda: ex.submit(tag(lambda value: value + step), 1).result(5))
judge(found == 3, found)
""",
    ),
    Fault(
        "sys.exit in a task",
        "SystemExit from result(); the next task runs",
        IDLE
        + """
found = outcome(ex.submit(tag(leave), 3).result, 5)
if isinstance(found, SystemExit) and found.code == 3:
    again = outcome(ex.submit(tag(add), 1, 2).result, 5)
    judge(again == 3, again)
else:
    judge(False, found)
""",
    ),
    Fault(
        "an endless task that shall stop",
        "it stops; the next task runs",
        BUSY
        + """
future = ex.submit(tag(spin), writer)
os.read(reader, 1)
stopped = outcome(getattr(future, "interrupt", future.cancel))
if stopped is True:
    outcome(future.result, 5)
    again = outcome(ex.submit(tag(add), 1, 2).result, 5)
    judge(again == 3, again)
else:
    judge(False, "no way to stop it")
os._exit(0)
""",
    ),
    Fault(
        "endless recursion in a task",
        "RecursionError; the next task runs",
        IDLE
        + """
found = outcome(ex.submit(tag(recurse), 0).result, 10)
if isinstance(found, RecursionError):
    again = outcome(ex.submit(tag(add), 1, 2).result, 5)
    judge(again == 3, again)
else:
    judge(False, found)
""",
    ),
    Fault(
        "a result that is nested 100,000 deep",
        "an error; the next task runs",
        IDLE
        + """
found = outcome(ex.submit(tag(nested), 100_000).result, 10)
again = outcome(ex.submit(tag(add), 1, 2).result, 5)
judge(again == 3 and isinstance(found, Exception), again)
""",
    ),
    Fault(
        "a task that closes all descriptors from 3 on",
        "the next task runs, also awaited",
        """
global ex
import asyncio
async def main():
    global ex
    ex = Pool(1)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(ex, tag(add), 1, 2)
    ex.submit(tag(nothing)).result()
    return 3
found = outcome(lambda: asyncio.run(main()))
ex.submit(tag(close_descriptors)).result(5)
"""
        + ON,
    ),
    Fault(
        "a task that empties sys.modules",
        "the next task runs",
        IDLE.replace("Pool(2)", "Pool(1)")
        + "logging.disable()\noutcome(ex.submit(tag(wreck_modules)).result, 5)\n"
        + ON,
    ),
    Fault(
        "a task that deletes builtins",
        "the next task runs",
        IDLE.replace("Pool(2)", "Pool(1)")
        + "logging.disable()\noutcome(ex.submit(tag(wreck_builtins)).result, 5)\n"
        + ON,
    ),
    Fault(
        "a task that lowers the recursion limit",
        "the next task runs",
        IDLE.replace("Pool(2)", "Pool(1)")
        + "outcome(ex.submit(tag(lower_limit)).result, 5)\n"
        + ON,
    ),
    Fault(
        "a task that leaves a daemon thread behind",
        "it runs, the program ends",
        IDLE
        + """
found = outcome(ex.submit(tag(daemon_thread)).result, 5)
judge(found is None, found)
""",
    ),
    Fault(
        "a done-callback that raises",
        "the others are called",
        IDLE
        + """
logging.disable()
called = threading.Event()
future = ex.submit(tag(nothing))
future.add_done_callback(lambda future: 1 / 0)
future.add_done_callback(lambda future: called.set())
judge(called.wait(5), "the second one was not called")
""",
    ),
    Fault(
        "the program ends while workers start",
        "what was submitted is done",
        """
global ex
ex = Pool(4)
for _ in range(4):
    ex.submit(tag(nothing))
judge(True)
""",
    ),
    Fault(
        "CYCLES pools, one after the other",
        "less than 10 MB more memory",
        """
def cycle():
    with Pool(1) as ex:
        ex.submit(tag(nothing)).result()
for _ in range(10):
    cycle()
before = memory()
for _ in range(CYCLES):
    cycle()
grown = memory() - before
judge(grown < 10, f"{grown:.0f} MB more")
""",
        limit=400,
    ),
    Fault(
        "RESTARTS pools whose workers import what h11 does",
        "less than 10 MB more memory",
        """
def cycle():
    with Pool(1) as ex:
        ex.submit(tag(own_metaclass)).result()
for _ in range(5):
    cycle()
before = memory()
for _ in range(RESTARTS):
    cycle()
grown = memory() - before
judge(grown < 10, f"{grown:.0f} MB more")
""",
        limit=400,
    ),
)
