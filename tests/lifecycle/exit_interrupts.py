"""Programs whose end is interrupted, with what they must do then. Run by test_exit_interrupted.py.

Each says that it is ready when its end begins. When its main thread sleeps it gets the signals.
"""

from signal import SIGINT, SIGTERM
from typing import NamedTuple

from exit_base import INTERRUPTED
from exit_base import PRELUDE as COMMON

# As long as it takes for what ends, and no longer than it must for what does not.
GENEROUS = "90"

PRELUDE = (
    COMMON
    + """
from subpool import _ending
signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(say, "atexit")

def begin_to_end(patience=GENEROUS):
    _ending.PATIENCE = patience
    threading._register_atexit(end_begins)

def tell_what_is_heard():
    '''A second signal before Python has handled the first would be the same one to it.'''
    interrupt = _ending.interrupt
    def tell_and_interrupt(numbers):
        interrupt(numbers)
        say("heard")
    _ending.interrupt = tell_and_interrupt

def end_begins():
    sys.stdout.write("buffered\\n")
    say("ready")

def tell(future):
    say("cancelled" if future.cancelled() else type(future.exception()).__name__)

def parents(descriptor):
    '''In a process of a fallback: open a pipe that main has.'''
    return os.open(f"/proc/{os.getppid()}/fd/{descriptor}", os.O_WRONLY)

def push(executor):
    '''Occupy a worker with a call in C that nothing can interrupt.'''
    reader, writer = os.pipe()
    future = executor.submit(interpreter(tasks_interrupt.push), writer)
    os.read(reader, 1)
    return future
""".replace("GENEROUS", GENEROUS)
)


class Program(NamedTuple):
    code: str
    rc: int | tuple[int, ...] = 0
    out: str | tuple[str, ...] = "atexit\nbuffered\n"
    err: str = "KeyboardInterrupt"
    signals: tuple[int, ...] = (SIGINT,)


PROGRAMS = {
    "endless tasks, with others behind them": Program(
        """
ex = InterpreterPoolExecutor(2)
for future in spinning(ex, 2):
    future.add_done_callback(tell)
for number in range(50):
    ex.submit(tasks.write, 1, "ran").add_done_callback(tell)
begin_to_end()
""",
        out="TaskInterrupted\n" * 2 + "cancelled\n" * 50 + "atexit\nbuffered\n",
    ),
    "an endless map": Program(
        """
ex = InterpreterPoolExecutor(2)
reader, writer = os.pipe()
results = ex.map(tasks_interrupt.spin, [writer] * 100)
os.read(reader, 1)
begin_to_end()
"""
    ),
    "a task that cleans up": Program(
        """
ex = InterpreterPoolExecutor(1)
reader, writer = os.pipe()
ex.submit(tasks_interrupt.clean_up, writer, 1)
os.read(reader, 1)
begin_to_end()
""",
        out=("catexit\nbuffered\n", "cbuffered\natexit\n"),
    ),
    "the threads' side of an executor": Program(
        """
ex = InterpreterThreadPoolExecutor(2, max_interpreters=1)
spinning(ex)
began = threading.Event()
def endless():
    began.set()
    threading.Event().wait()
ex.submit(endless)
began.wait()
begin_to_end()
"""
    ),
    "an endless call on a fallback's thread": Program(
        """
ex = InterpreterPoolExecutor(1, fallback="thread")
reader, writer = os.pipe()
def endless():
    import readline
    tasks_interrupt.spin(writer)
ex.submit(endless).add_done_callback(tell)
ex.submit(endless)
os.read(reader, 1)
begin_to_end()
""",
        out="TaskInterrupted\natexit\nbuffered\n",
    ),
    "an endless call in a fallback's process": Program(
        """
ex = InterpreterPoolExecutor(1, fallback="process")
reader, writer = os.pipe()
def endless():
    import readline
    tasks_interrupt.spin(parents(writer))
ex.submit(endless).add_done_callback(tell)
os.read(reader, 1)
begin_to_end()
""",
        out="TaskInterrupted\natexit\nbuffered\n",
    ),
    "a call in C": Program("ex = InterpreterPoolExecutor(1)\npush(ex)\nbegin_to_end(0.05)", rc=130),
    "a call in C that was given up": Program(
        """
from subpool import _methods
_methods._WARNING, _methods._GRACE = 100.0, 0.01
ex = InterpreterPoolExecutor(1)
future = push(ex)
future.interrupt()
future.exception()
begin_to_end(0.05)
""",
        rc=130,
    ),
    "a task that does not heed interrupts": Program(
        """
ex = InterpreterPoolExecutor(1)
reader, writer = os.pipe()
def stubborn():
    while True:
        try:
            tasks_interrupt.spin(writer)
        except BaseException:
            pass
ex.submit(stubborn)
os.read(reader, 1)
begin_to_end(0.05)
""",
        rc=130,
    ),
    "an endless initializer": Program(
        """
reader, writer = os.pipe()
ex = InterpreterPoolExecutor(1, initializer=tasks_interrupt.spin, initargs=(writer,))
ex.submit(tasks.nothing)
os.read(reader, 1)
begin_to_end(0.05)
""",
        rc=130,
    ),
    "a worker's thread in a call in C": Program(
        """
ex = InterpreterPoolExecutor(1)
reader, writer = os.pipe()
def leave_one():
    import os, threading
    threading.Thread(target=os.read, args=(reader, 1), daemon=True).start()
ex.submit(leave_one).result()
begin_to_end(0.05)
""",
        rc=130,
    ),
    "a callback that waits": Program(
        """
ex = InterpreterPoolExecutor(1)
began = threading.Event()
def callback(future):
    began.set()
    threading.Event().wait()
ex.submit(tasks.nothing).add_done_callback(callback)
began.wait()
begin_to_end(0.05)
""",
        rc=130,
    ),
    "a handler that raises SystemExit": Program(
        """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
ex = InterpreterPoolExecutor(1)
push(ex)
begin_to_end(0.05)
""",
        rc=143,
        err="SystemExit: 143",
        signals=(SIGTERM,),
    ),
    "a handler that raises SystemExit, and tasks that end": Program(
        """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
ex = InterpreterPoolExecutor(1)
spinning(ex)
begin_to_end()
""",
        err="SystemExit: 143",
        signals=(SIGTERM,),
    ),
    "a handler that returns": Program(
        """
ex = InterpreterPoolExecutor(1)
future, = busy(ex)
def handler(*_):
    say("handled")
    os.write(release, b"r")
signal.signal(signal.SIGINT, handler)
begin_to_end()
""",
        out="handled\natexit\nbuffered\n",
        err="",
    ),
    "twice, with a call in C": Program(
        "ex = InterpreterPoolExecutor(1)\npush(ex)\ntell_what_is_heard()\nbegin_to_end()",
        rc=130,
        out="buffered\n",
        err="",
        signals=(SIGINT, SIGINT),
    ),
    "twice, with a callback that waits": Program(
        """
ex = InterpreterPoolExecutor(1)
began = threading.Event()
def callback(future):
    began.set()
    threading.Event().wait()
ex.submit(tasks.nothing).add_done_callback(callback)
began.wait()
tell_what_is_heard()
begin_to_end()
""",
        rc=130,
        out="buffered\n",
        err="",
        signals=(SIGINT, SIGINT),
    ),
    "twice, with a process that does not react": Program(
        """
ex = InterpreterPoolExecutor(1, fallback="process")
reader, writer = os.pipe()
def endless():
    import readline
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks_interrupt.spin(parents(writer))
ex.submit(endless)
os.read(reader, 1)
tell_what_is_heard()
begin_to_end()
""",
        rc=130,
        out="buffered\n",
        err="",
        signals=(SIGINT, SIGINT),
    ),
    "SIGTERM": Program(
        "ex = InterpreterPoolExecutor(2)\nspinning(ex, 2)\nbegin_to_end()",
        rc=-15,
        out="",
        err="",
        signals=(SIGTERM,),
    ),
    "asyncio.run": Program(
        """
ex = InterpreterPoolExecutor(1)
reader, writer = os.pipe()
async def main():
    asyncio.get_running_loop().call_soon(say, "ready")
    try:
        await ex.run(tasks_interrupt.spin, writer)
    finally:
        sys.stdout.write("buffered\\n")
try:
    asyncio.run(main())
except KeyboardInterrupt as error:
    raise error.with_traceback(None) from None
""",
        rc=INTERRUPTED,
    ),
    # Where somebody else's hook is interrupted, `threading` forgets ours.
    "another hook, with idle workers": Program(
        """
ex = InterpreterPoolExecutor(2)
ex.warm_up()
begin_to_end()
threading._register_atexit(_thread.interrupt_main)
""",
        out="atexit\n",
        signals=(),
    ),
    "another hook, with endless tasks": Program(
        """
ex = InterpreterPoolExecutor(1)
for future in spinning(ex):
    future.add_done_callback(tell)
ex.submit(tasks.write, 1, "ran").add_done_callback(tell)
def waits():
    import time
    # A signal in the moment before a lock's sleep would wake nobody.
    while True:
        time.sleep(0.05)
threading._register_atexit(waits)
begin_to_end()
""",
        out="TaskInterrupted\ncancelled\natexit\nbuffered\n",
    ),
    "another hook, with a call in C": Program(
        """
ex = InterpreterPoolExecutor(1)
push(ex)
begin_to_end(0.05)
threading._register_atexit(_thread.interrupt_main)
""",
        rc=130,
        out="atexit\n",
        signals=(),
    ),
}
