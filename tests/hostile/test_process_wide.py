"""What a task does to the process that all interpreters share, and what becomes of the pool.

The acts are in process_wide.py; docs/reliability/hostile.md has the table in words.
"""

import json
import signal

import pytest

PROGRAM = """
import asyncio, colorsys, json, sys, threading
sys.path.insert(0, {folder!r})
import process_wide, tasks
from concurrent.futures import as_completed
from subpool import InterpreterPoolExecutor

async def add(pool):
    return await pool.submit(tasks.add, 1, 2)

seen = {{}}

def callback(pool):
    ended = threading.Event()
    pool.submit(tasks.add, 1, 2).add_done_callback(lambda _: ended.set())
    return ended.wait(20)

def uses(pool):
    yield "value", lambda: pool.submit(tasks.add, 1, 2).result(20)
    yield "callback", lambda: callback(pool)
    yield "completed", lambda: [f.result() for f in as_completed([pool.submit(abs, -1)], 20)]
    yield "loop", lambda: asyncio.run(add(pool))
    yield "import", lambda: pool.submit(colorsys.rgb_to_hsv, 1, 1, 1).result(20)

def look(name, use):
    try:
        seen[name] = use()
    except Exception as error:
        seen[name] = type(error).__name__

pool = InterpreterPoolExecutor(2, initializer=tasks.nothing)  # both import the module
pool.warm_up()
for name, use in uses(pool):
    if name != "import":
        use()
try:
    for act in sys.argv[1:]:
        look(act, pool.submit(getattr(process_wide, act)).result)
    for name, use in uses(pool):
        look(name, use)
except KeyboardInterrupt:
    seen["interrupted"] = pool.submit(tasks.add, 1, 2).result()
if "no_more_files" not in sys.argv:
    with InterpreterPoolExecutor(1) as fresh:
        seen["fresh"] = fresh.submit(tasks.add, 1, 2).result()
pool.shutdown()
print(json.dumps(seen))
"""

WELL = {"value": 3, "callback": True, "completed": [1], "loop": 3, "import": [0.0, 0.0, 1]}


@pytest.fixture
def run(script, request):
    def run(*acts):
        return script(PROGRAM.format(folder=str(request.path.parent)), args=acts)

    return run


def test_everything_of_the_process_that_a_pool_lives_on(run):
    """Descriptors (our bells, sockets and pipes among them), directory, umask, environment."""
    acts = ["close_all", "change_directory", "change_environment"]
    rc, out, err = run(*acts)
    assert (rc, err) == (0, "")
    assert json.loads(out) == {**dict.fromkeys(acts), **WELL, "fresh": 3}


def test_no_descriptors_left(run):
    """The module cannot be imported, and no other worker can be started: this one stays."""
    rc, out, err = run("no_more_files")
    assert rc == 0, err
    refused = {"loop": "OSError", "import": "NotTransferableError"}
    assert json.loads(out) == {"no_more_files": None, **WELL, **refused}


@pytest.mark.parametrize("act", ["interrupt_main", "signal_itself"])
def test_a_signal_is_the_main_threads(run, act):
    rc, out, err = run(act)
    assert rc == 0, err
    assert json.loads(out)["interrupted"] == 3


def test_what_ends_the_process_ends_it(run):
    """There is one process. Stated, so that nobody expects anything else."""
    assert run("exit_at_once").rc == 7
    assert run("abort").rc == -signal.SIGABRT
