"""More of exit_programs.py: garbage, things that go on when the end begins, and other hands."""

from exit_base import NO_POOL, TOO_LATE, Program

# What follows is for a child that goes on to the program's end.
MANY_ENDS = """
for number in range(10):
    if child := os.fork():
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            say("child", number, "ended with", code)
        continue
    signal.alarm(60)
"""

PROGRAMS = {
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
                make=InterpreterThreadPoolExecutor, listdir=os.listdir, set=set):
        before = set(listdir("/proc/self/task"))
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
        if set(listdir("/proc/self/task")) - before:
            say("threads that Python does not expect any more")
gc.disable()  # so that they go at the end
for _ in range(3):
    Bomb()
builtins.bomb = Bomb()  # builtins go last
""",
        out=f"{TOO_LATE}\n{NO_POOL}\n1 False False\n" * 4,
    ),
    # A worker that had failed asked main for the code to examine itself, and main, loading that,
    # came by a finalizer that waited for that worker.
    "finalizers that wait for their pools, in the midst of it all": Program(
        """
gc.set_threshold(2)
class Bomb:
    def __init__(self):
        self.self, self.ex = self, InterpreterPoolExecutor(1)
        self.failed = self.ex.submit(tasks.identity, [InterpreterPoolExecutor])
    def __del__(self):
        self.failed.exception()
        self.ex.shutdown()
for _ in range(20):
    Bomb()
"""
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
    # Each child of a fork ends as a program does, and costs no start of a Python.
    "while workers are replaced, many times": Program(
        f"""{MANY_ENDS}
    kind = (InterpreterPoolExecutor, InterpreterThreadPoolExecutor)[number % 2]
    ex = kind(2, max_tasks_per_interpreter=1)
    write = interpreter(tasks.write)
    futures = [ex.submit(write, 1, f"{{number}}\\n") for _ in range(4)]
    for future in futures[: number % 5]:
        future.result()
    break
""",
        out="".join(f"{number}\n" * 4 for number in range(10)),
    ),
    "as idle workers are about to leave, many times": Program(
        f"""{MANY_ENDS}
    ex = InterpreterPoolExecutor(2, idle_timeout=0.0002 * number + 1e-9)
    for _ in range(3):
        futures = [ex.submit(tasks.write, 1, f"{{number}}\\n") for _ in range(2)]
        futures[number % 2].result()
    break
""",
        out="".join(f"{number}\n" * 6 for number in range(10)),
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
    child = multiprocessing.get_context("spawn").Process(target=tasks_interrupt.pool_and_end)
    child.start()
    child.join()
    say(child.exitcode)
""",
        out="done\n0\n",
    ),
}
