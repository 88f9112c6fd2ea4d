"""Programs that end in every way there is, each with the exit code and the output it must have.

`PROGRAMS` end by themselves. Each runs in a process of its own (test_exit_forms.py), after the
prelude, and prints nothing on standard error unless its row says so.
"""

from typing import NamedTuple

PRELUDE = """
import _thread, asyncio, atexit, builtins, os, signal, sys, tasks, tasks_interrupt, threading
import subpool
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def attempt(call, *args):
    try:
        call(*args)
    except RuntimeError as error:
        say(error)
    else:
        say("accepted")

def busy(executor, tasks=1):
    '''Occupy workers with tasks that end when somebody writes to `release`, and wait for them.'''
    global release
    reader, writer = os.pipe()
    gate, release = os.pipe()
    futures = [executor.submit(interpreter(tasks_.block), writer, gate) for _ in range(tasks)]
    for _ in range(tasks):
        os.read(reader, 1)
    return futures

def spinning(executor, tasks=1):
    '''Occupy workers with tasks that never end.'''
    reader, writer = os.pipe()
    spin = interpreter(tasks_interrupt.spin)
    futures = [executor.submit(spin, writer) for _ in range(tasks)]
    for _ in range(tasks):
        os.read(reader, 1)
    return futures

tasks_ = tasks
"""

TOO_LATE = "cannot schedule new futures after interpreter shutdown"
NO_POOL = (
    "cannot make a pool while the program ends: make it, and wait for its results, before the main "
    "thread comes to its end; or call the function itself (of a tagged one, its __wrapped__)"
)
NO_IMPORT = (
    "cannot load subpool's executors while the program ends: make the pool, and wait for its "
    "results, before the main thread comes to its end"
)


class Program(NamedTuple):
    code: str
    rc: int = 0
    # What it prints, but for the order of its lines; or several such.
    out: str | tuple[str, ...] = ""
    # The last line on standard error. Anything else there must be part of its traceback.
    err: str = ""


PROGRAMS = {
    # By the main thread
    "sys.exit with work queued and running": Program(
        """
ex = InterpreterThreadPoolExecutor(2, max_interpreters=2)
for number in range(20):
    ex.submit(interpreter(tasks.write), 1, f"{number}\\n")
    ex.submit(tasks.write, 1, f"plain {number}\\n")
sys.exit(7)
""",
        rc=7,
        out="".join(f"{number}\nplain {number}\n" for number in range(20)),
    ),
    "an exception with work queued and running": Program(
        """
ex = InterpreterPoolExecutor(2)
for number in range(20):
    ex.submit(tasks.write, 1, f"{number}\\n")
raise LookupError("in main")
""",
        rc=1,
        out="".join(f"{number}\n" for number in range(20)),
        err="LookupError: in main",
    ),
    "an exception in a with block": Program(
        """
with InterpreterPoolExecutor(2) as ex:
    ex.submit(tasks.write, 1, "done\\n")
    raise LookupError("in main")
""",
        rc=1,
        out="done\n",
        err="LookupError: in main",
    ),
    "a task's SystemExit": Program(
        """
ex = InterpreterPoolExecutor(1)
ex.submit(tasks.fail, SystemExit(9)).result()
""",
        rc=9,
    ),
    "KeyboardInterrupt raised in main": Program(
        """
ex = InterpreterPoolExecutor(2)
ex.submit(tasks.write, 1, "done\\n")
raise KeyboardInterrupt
""",
        rc=-2,
        out="done\n",
        err="KeyboardInterrupt",
    ),
    # Without any end
    "os._exit with idle workers": Program(
        "ex = InterpreterPoolExecutor(2)\nex.warm_up()\nos._exit(5)", rc=5
    ),
    "os._exit with busy workers": Program(
        "ex = InterpreterPoolExecutor(2)\nspinning(ex, 2)\nos._exit(5)", rc=5
    ),
    "os._exit while workers start": Program(
        """
ex = InterpreterPoolExecutor(4)
futures = [ex.submit(tasks.nothing) for _ in range(4)]
os._exit(5)
""",
        rc=5,
    ),
    "os._exit while workers end": Program(
        """
ex = InterpreterPoolExecutor(4)
ex.warm_up()
ex.shutdown(wait=False)
os._exit(5)
""",
        rc=5,
    ),
    "os._exit in a done-callback": Program(
        """
ex = InterpreterPoolExecutor(2)
spinning(ex)
ex.submit(tasks.nothing).add_done_callback(lambda future: os._exit(5))
""",
        rc=5,
    ),
    "os._exit in a thread while the end waits": Program(
        """
ex = InterpreterPoolExecutor(1)
spinning(ex)
reader, writer = os.pipe()
def end():
    os.read(reader, 1)
    os._exit(5)
threading.Thread(target=end).start()
threading._register_atexit(os.write, writer, b"x")
""",
        rc=5,
    ),
    "SIGTERM with busy workers": Program(
        "ex = InterpreterPoolExecutor(2)\nspinning(ex, 2)\nos.kill(os.getpid(), signal.SIGTERM)\n"
        "signal.pause()",
        rc=-15,
    ),
    "SIGTERM whose handler raises SystemExit, with busy workers": Program(
        """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
ex = InterpreterPoolExecutor(2)
future = spinning(ex, 2)[0]
try:
    os.kill(os.getpid(), signal.SIGTERM)
    future.result()
finally:
    ex.terminate_workers()
""",
        rc=143,
    ),
    # By threads
    "sys.exit in a thread ends that thread alone": Program(
        """
ex = InterpreterPoolExecutor(1)
def end():
    future = ex.submit(tasks.write, 1, "done\\n")
    sys.exit(3)
thread = threading.Thread(target=end)
thread.start()
thread.join()
say("on")
""",
        out="done\non\n",
    ),
    "interrupt_main while main waits for a result": Program(
        """
ex = InterpreterPoolExecutor(1)
future, = spinning(ex)
try:
    threading.Thread(target=_thread.interrupt_main).start()
    future.result()
finally:
    ex.terminate_workers()
""",
        rc=-2,
        err="KeyboardInterrupt",
    ),
    "interrupt_main while the end waits": Program(
        """
from subpool import _ending
_ending.PATIENCE = 90  # on a busy machine
ex = InterpreterPoolExecutor(1)
spinning(ex)
threading._register_atexit(_thread.interrupt_main)
""",
        err="KeyboardInterrupt",
    ),
    "a daemon thread that submits without end": Program(
        """
ex = InterpreterPoolExecutor(2)
began = threading.Event()
def submit():
    while True:
        try:
            ex.submit(tasks.identity, 1).add_done_callback(lambda future: None)
        except RuntimeError:
            pass
        began.set()
threading.Thread(target=submit, daemon=True).start()
began.wait()
"""
    ),
    "daemon threads that wait for results": Program(
        """
ex = InterpreterPoolExecutor(1)
ready = threading.Barrier(5)
reader, writer = os.pipe()
futures = [ex.submit(tasks.write_when_told, reader, 1, "x\\n") for _ in range(4)]
def wait(future):
    ready.wait()
    future.result()
for future in futures:
    threading.Thread(target=wait, args=[future], daemon=True).start()
ready.wait()
threading._register_atexit(os.write, writer, b"xxxx")
""",
        out="x\n" * 4,
    ),
    "daemon threads that make pools without end": Program(
        """
began = threading.Event()
def make():
    while True:
        try:
            InterpreterPoolExecutor(1).submit(tasks.nothing).result()
        except RuntimeError:
            pass
        began.set()
for _ in range(2):
    threading.Thread(target=make, daemon=True).start()
began.wait()
"""
    ),
    "a thread that goes on after the main thread": Program(
        """
ex = InterpreterPoolExecutor(1)
ended = threading.Event()
def late():
    ended.wait()
    attempt(ex.submit, tasks.nothing)
    attempt(InterpreterPoolExecutor)
threading.Thread(target=late).start()
ex.submit(tasks.nothing).result()
atexit.register(say, "end")
# Threads that are no daemons are waited for after the hooks.
threading._register_atexit(lambda: None)
def let_go():
    threading._threading_atexits.insert(0, ended.set)
let_go()
""",
        out=f"{TOO_LATE}\n{NO_POOL}\nend\n",
    ),
    "an event loop in a daemon thread": Program(
        """
ex = InterpreterPoolExecutor(2)
began = threading.Event()
async def main():
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ex.run(tasks.identity, number))
        began.set()
    while True:
        try:
            await ex.run(tasks.nothing)
        except RuntimeError:
            await asyncio.sleep(0)
threading.Thread(target=asyncio.run, args=[main()], daemon=True).start()
began.wait()
"""
    ),
    # Pools that come too late
    "a pool made by an atexit function": Program(
        """
ex = InterpreterPoolExecutor(1)
ex.submit(tasks.nothing).result()
@atexit.register
def late():
    attempt(InterpreterPoolExecutor, 1)
    attempt(InterpreterThreadPoolExecutor, 1)
    attempt(ex.submit, tasks.nothing)
    attempt(tasks.tagged_here, 1)
""",
        out=f"{NO_POOL}\n{NO_POOL}\n{TOO_LATE}\n{NO_POOL}\n",
    ),
    "a pool made by a hook before ours": Program(
        """
def early():
    ex = InterpreterPoolExecutor(1)
    ex.submit(tasks.write, 1, "done\\n")
threading._register_atexit(early)
""",
        out="done\n",
    ),
    "a pool made by a hook after ours": Program(
        "threading._threading_atexits.insert(0, lambda: attempt(InterpreterPoolExecutor, 1))",
        out=f"{NO_POOL}\n",
    ),
    "a pool made by a finalizer at module teardown": Program(
        """
class Late:
    def __init__(self, ex): self.ex = ex
    def __del__(self, attempt=attempt, make=InterpreterPoolExecutor, nothing=tasks.nothing):
        attempt(make, 1)
        attempt(self.ex.submit, nothing)
late = Late(InterpreterPoolExecutor(1))
late.ex.submit(tasks.nothing).result()
""",
        out=f"{NO_POOL}\n{TOO_LATE}\n",
    ),
    "the first import at the end": Program(
        """
def fresh():
    for name in [name for name in sys.modules if name.startswith("subpool")]:
        del sys.modules[name]
    import subpool
    attempt(lambda: subpool.InterpreterPoolExecutor)
    from subpool import interpreter  # that of task modules
    say(interpreter(len)([1]) if False else "imported")
atexit.register(fresh)
""",
        out=f"{NO_IMPORT}\nimported\n",
    ),
    # Garbage
    "a pool, its futures and callbacks in cycles": Program(
        """
class Node: pass
for kind in (InterpreterPoolExecutor, InterpreterThreadPoolExecutor):
    node = Node()
    node.self, node.ex = node, kind(1)
    node.futures = [node.ex.submit(interpreter(tasks.identity), [number]) for number in range(50)]
    for future in node.futures:
        future.node = node
        future.add_done_callback(lambda future, node=node: None)
    node.ex.node = node
del node, future
"""
    ),
    "a finalizer that does everything with its pool": Program(
        """
class Bomb:
    def __init__(self):
        self.self, self.ex = self, InterpreterThreadPoolExecutor(1, max_interpreters=1)
        self.future = self.ex.submit(interpreter(tasks.identity), 1)
        self.lost = self.ex.submit(interpreter(tasks.identity), [self.ex.__class__])
        self.future.bomb = self.future.result() and self
    def __del__(self, tag=interpreter, nothing=tasks.nothing, say=say, attempt=attempt,
                make=InterpreterThreadPoolExecutor):
        attempt(self.ex.submit, tag(nothing))
        attempt(make, 1)
        self.future.add_done_callback(lambda future: None)
        say(self.future.result(), self.future.cancel(), self.future.interrupt())
        self.lost.cancel(), self.lost.exception(), self.ex.interrupt_all(), self.ex.stats()
        try:
            self.ex.warm_up()
        except RuntimeError:
            pass
        self.ex.terminate_workers()
        self.ex.shutdown()
for _ in range(3):
    Bomb()
builtins.bomb = Bomb()  # builtins go last
""",
        out=f"{TOO_LATE}\n{NO_POOL}\n1 False False\n" * 4,
    ),
    "futures that outlive everything": Program(
        """
ex = InterpreterPoolExecutor(1)
builtins.kept = [ex.submit(tasks.identity, memoryview(bytearray(1 << 17))) for _ in range(9)]
builtins.kept += [ex.submit(tasks.fail, LookupError(number)) for number in range(9)]
builtins.kept.append(ex.map(tasks.identity, range(9)))
class Late:
    def __del__(self, kept=builtins.kept):
        kept[0].result()[0], kept[9].exception().__traceback__, next(kept[-1])
builtins.zz_late = Late()
del ex
"""
    ),
    "finalizers of a worker's objects": Program(
        """
ex = InterpreterPoolExecutor(2)
def plant():
    import os
    class Bomb:
        def __init__(self): self.self = self
        def __del__(self, write=os.write):
            write(1, b"gone\\n")
    import builtins
    builtins.bomb, builtins.other = Bomb(), Bomb()
ex.submit(plant).result()
""",
        out="gone\ngone\n",
    ),
    "finalizers of a worker's objects that start threads": Program(
        """
ex = InterpreterPoolExecutor(1)
def plant():
    import os, threading
    class Bomb:
        def __del__(self, thread=threading.Thread, write=os.write):
            try:
                thread(target=write, args=(1, b"")).start()
            except Exception as error:
                write(1, b"refused\\n")
    import builtins
    builtins.bomb = Bomb()
ex.submit(plant).result()
""",
        out=("refused\n", ""),
    ),
    # While something goes on
    "while workers start": Program(
        """
pools = [InterpreterPoolExecutor(3) for _ in range(2)]
for ex in pools:
    for number in range(3):
        ex.submit(tasks.write, 1, f"{number}\\n")
""",
        out="0\n1\n2\n" * 2,
    ),
    "while a thread warms a pool up": Program(
        """
ex = InterpreterPoolExecutor(4)
begun = threading.Event()
def warm_up():
    begun.set()
    try:
        ex.warm_up()
    except RuntimeError:
        pass
threading.Thread(target=warm_up, daemon=True).start()
begun.wait()
"""
    ),
    "while idle workers leave": Program(
        """
pools = [InterpreterPoolExecutor(2, idle_timeout=1e-9) for _ in range(2)]
for _ in range(3):
    for ex in pools:
        ex.submit(tasks.nothing)
    ex.submit(tasks.nothing).result()
"""
    ),
    "while tasks are interrupted": Program(
        """
ex = InterpreterPoolExecutor(2)
for future in spinning(ex, 2):
    future.interrupt()
futures = [ex.submit(interpreter(tasks_interrupt.spin, timeout=0.01)) for _ in range(4)]
futures[0].add_done_callback(lambda future: say(type(future.exception()).__name__))
""",
        out="TaskTimeout\n",
    ),
    "after terminate_workers, without waiting": Program(
        """
ex = InterpreterPoolExecutor(2)
spinning(ex, 2)
ex.submit(tasks.nothing).add_done_callback(lambda future: say(future.cancelled()))
ex.terminate_workers()
""",
        out="True\n",
    ),
    "after shutdown, without waiting": Program(
        """
pools = [InterpreterPoolExecutor(2), InterpreterThreadPoolExecutor(2, max_interpreters=1)]
for ex in pools:
    for number in range(3):
        ex.submit(interpreter(tasks.write), 1, f"{number}\\n")
    ex.shutdown(wait=False)
""",
        out="0\n1\n2\n" * 2,
    ),
    "while a callback submits": Program(
        """
ex = InterpreterPoolExecutor(1)
def again(future):
    try:
        ex.submit(tasks.nothing).add_done_callback(again)
    except RuntimeError as error:
        say(error)
ex.submit(tasks.nothing).add_done_callback(again)
""",
        out=f"{TOO_LATE}\n",
    ),
    "with calls that are yet to go to a thread": Program(
        """
ex = InterpreterPoolExecutor(1, fallback="thread")
def elsewhere():
    import readline
    say(subpool.worker())
for _ in range(3):
    ex.submit(elsewhere)
""",
        out="None\n" * 3,
    ),
    "with an initializer that failed": Program(
        """
import logging
logging.disable()
ex = InterpreterPoolExecutor(1, initializer=tasks.failing_initializer)
future = ex.submit(tasks.nothing)
future.add_done_callback(lambda future: say(type(future.exception()).__name__))
del ex, future
""",
        out="BrokenInterpreterPool\n",
    ),
    # In other hands
    "a program within a program": Program(
        """
inner = '''
import sys, tasks
from subpool import InterpreterPoolExecutor
ex = InterpreterPoolExecutor(1)
ex.submit(tasks.write, 1, 'done\\\\n').result()
ex.submit(tasks.write, 1, 'late\\\\n')
sys.exit(3)
'''
for _ in range(2):
    try:
        exec(inner, {"__name__": "__main__"})
    except SystemExit as error:
        say(error.code)
""",
        out="done\nlate\n3\n" * 2,
    ),
    "a child of multiprocessing": Program(
        """
import multiprocessing
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=tasks.pool_and_end)
    child.start()
    child.join()
    say(child.exitcode)
""",
        out="done\n0\n",
    ),
}
