"""Programs that end in every way there is, each with the exit code and the output it must have.

They end by themselves; test_exit_forms.py runs them.
"""

from exit_base import INTERRUPTED, NO_IMPORT, NO_POOL, TOO_LATE, Program

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
    "the lock of a future left behind": Program(
        # As by Ctrl-C within `threading.Condition`, in `wait` or `add_done_callback`.
        """
ex = InterpreterPoolExecutor(1)
(running,) = busy(ex)
futures = [running, ex.submit(tasks.nothing)]
for future in futures:
    future.add_done_callback(lambda future: say("called"))
    future._condition.acquire()
os.write(release, b"1")
""",
        out="called\ncalled\n",
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
        rc=INTERRUPTED,
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
        rc=INTERRUPTED,
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
}
