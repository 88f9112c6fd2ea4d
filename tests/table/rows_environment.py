"""Rows: what surrounds a task is what surrounds the call."""

# ruff: noqa: E501 - programs, as one writes them

from rows import SCRIPTS, Row

ROWS = (
    Row(
        "sys.path as it is at the call",
        """\
import os, sys
os.makedirs("later_path", exist_ok=True)
with open("later_path/found_later.py", "w") as file:
    file.write("def answer():\\n    return 'found'\\n")
def import_later():
    import found_later
    return found_later.answer()
""",
        """\
pool.submit(len, "").result()
sys.path.append(os.path.abspath("later_path"))
import found_later
pool.submit(import_later).result(), pool.submit(found_later.answer).result()
""",
        "('found', 'found')",
    ),
    Row(
        "sys.argv",
        "import sys\ndef arguments():\n    return sys.argv\n",
        """\
sys.argv[:] = ["program", "--option"]
first = pool.submit(arguments).result()
sys.argv = ["another"]
first, pool.submit(arguments).result()
""",
        "(['program', '--option'], ['another'])",
    ),
    Row(
        "os.environ: what is set, changed and removed",
        """\
import os
def variables():
    return os.environ.get("TABLE_ONE"), os.environ.get("TABLE_TWO"), os.getenv("TABLE_THREE")
""",
        """\
os.environ["TABLE_ONE"] = "1"
first = pool.submit(variables).result()
del os.environ["TABLE_ONE"]
os.environ.update(TABLE_TWO="2", TABLE_THREE="3")
first, pool.submit(variables).result()
""",
        "(('1', None, None), (None, '2', '3'))",
    ),
    Row(
        "what a task adds to its own os.environ stays there",
        """\
import os
def set_own():
    os.environ["TABLE_OWN"] = "task's"
def read_own():
    return os.environ.get("TABLE_OWN")
""",
        """\
pool.submit(set_own).result()
os.environ["TABLE_OTHER"] = "x"
pool.submit(read_own).result(), os.environ.get("TABLE_OWN")
""",
        '("task\'s", None)',
    ),
    Row(
        "warnings filters",
        """\
import warnings
def warn():
    warnings.warn("old", FutureWarning)
    return "went on"
""",
        """\
seen = []
for action in ("error", "ignore"):
    warnings.simplefilter(action)
    future = pool.submit(warn)
    seen.append(future.exception() or future.result())
seen
""",
        "[FutureWarning('old'), 'went on']",
    ),
    Row(
        "the recursion limit",
        "import sys\ndef deep(depth):\n    return depth and 1 + deep(depth - 1)\n",
        """\
sys.setrecursionlimit(4000)
pool.submit(sys.getrecursionlimit).result(), pool.submit(deep, 3000).result()
""",
        "(4000, 3000)",
    ),
    Row(
        "the locale",
        "import locale\n",
        """\
before = locale.setlocale(locale.LC_CTYPE)
try:
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    seen = pool.submit(locale.setlocale, locale.LC_CTYPE).result(), pool.submit(locale.getencoding).result()
finally:
    locale.setlocale(locale.LC_CTYPE, before)
seen
""",
        "('C.UTF-8', 'UTF-8')",
    ),
    Row(
        "print goes where the caller's goes, in order",
        "def talk():\n    print('from the task')\n    return 5\n",
        """\
print("before the task")
result = pool.submit(talk).result()
print("after the task")
result
""",
        "5",
        printed="before the task\nfrom the task\nafter the task\n",
    ),
    Row(
        "print where sys.stdout was replaced, in order",
        """\
import contextlib, io
def talk():
    print("from the task", end="; ")
    return 5
""",
        """\
text = io.StringIO()
with contextlib.redirect_stdout(text):
    print("before", end="; ")
    pool.submit(talk).result()
    list(pool.map(lambda number: print(number, end="; "), range(3)))
    print("after")
text.getvalue()
""",
        r"'before; from the task; 0; 1; 2; after\n'",
    ),
    Row(
        "sys.stderr where it was replaced",
        """\
import contextlib, io, sys, warnings
def complain():
    sys.stderr.write("to stderr\\n")
    warnings.warn("careful", FutureWarning)
""",
        """\
text = io.StringIO()
warnings.simplefilter("always")
with contextlib.redirect_stderr(text):
    pool.submit(complain).result()
text.getvalue()
""",
        r"'to stderr\n...FutureWarning: careful\n...'",
    ),
    Row(
        "a task replaces its own sys.stdout",
        """\
import contextlib, io
def capture():
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print("caught")
    return text.getvalue()
""",
        "pool.submit(capture).result()",
        r"'caught\n'",
    ),
    Row(
        "sys.stdout of a task is a text stream",
        """\
import sys
def about_stdout():
    sys.stdout.flush()
    return sys.stdout.encoding.lower(), sys.stdout.writable(), isinstance(sys.stdout.isatty(), bool)
""",
        "pool.submit(about_stdout).result()",
        "('utf-8', True, True)",
    ),
    Row(
        "a daemon thread",
        """\
import threading
def with_daemon():
    seen = []
    thread = threading.Thread(target=seen.append, args=(1,), daemon=True)
    thread.start()
    thread.join()
    return seen, thread.daemon
""",
        "pool.submit(with_daemon).result()",
        "([1], True)",
    ),
    Row(
        "a daemon thread that a task leaves behind does not keep the pool from closing",
        """\
import threading
def leave_daemon():
    waits = threading.Event()
    threading.Thread(target=waits.wait, daemon=True).start()
    return "left"
""",
        """\
with make() as other:
    result = other.submit(leave_daemon).result()
result
""",
        "'left'",
        forms=SCRIPTS,
    ),
    Row(
        "logging's QueueListener",
        """\
import logging, logging.handlers, queue
def log_through_queue():
    records, lines = queue.Queue(), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    listener = logging.handlers.QueueListener(records, handler)
    listener.start()
    logger = logging.Logger("in a task")
    logger.addHandler(logging.handlers.QueueHandler(records))
    logger.warning("%s lines", 1)
    listener.stop()
    return lines
""",
        "pool.submit(log_through_queue).result()",
        "['1 lines']",
    ),
    Row(
        "multiprocessing's ThreadPool, and a Timer",
        """\
import multiprocessing.pool, threading
def use_threads():
    with multiprocessing.pool.ThreadPool(2) as threads:
        result = threads.map(abs, [-1, -2])
    rang = threading.Event()
    timer = threading.Timer(0, rang.set)
    timer.start()
    return result, rang.wait(10)
""",
        "pool.submit(use_threads).result()",
        "([1, 2], True)",
    ),
    Row(
        "threads of a ThreadPoolExecutor in a task",
        """\
from concurrent.futures import ThreadPoolExecutor
def inner_pool():
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(abs, [-3, 4]))
""",
        "pool.submit(inner_pool).result()",
        "[3, 4]",
    ),
    Row(
        "the thread's name",
        """\
import threading
def thread_names():
    return threading.current_thread().name, threading.current_thread() is threading.main_thread()
""",
        """\
with make(thread_name_prefix="calc") as other:
    result = other.submit(thread_names).result()
result[0]
""",
        "'calc_0'",
    ),
    Row(
        "multiprocessing's process",
        """\
import multiprocessing
def process():
    current = multiprocessing.current_process()
    return current.name, bytes(current.authkey)
""",
        "pool.submit(process).result() == process()",
        "True",
    ),
    Row(
        "a subprocess",
        """\
import subprocess, sys
def run_child():
    command = [sys.executable, "-c", "print('child')"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
""",
        "pool.submit(run_child).result()",
        r"'child\n'",
        forms=SCRIPTS,
    ),
    Row(
        "asyncio in a task: threads and subtasks",
        """\
import asyncio
async def gather_some():
    return await asyncio.gather(asyncio.to_thread(abs, -5), asyncio.sleep(0, "slept"))
def run_gather():
    return asyncio.run(gather_some())
""",
        "pool.submit(run_gather).result()",
        "[5, 'slept']",
    ),
)
