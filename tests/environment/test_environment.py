"""A task finds the caller's environment as it was when the call was submitted."""

import json
import os
import sys
import warnings

import pytest

import tasks
import tasks_environment as around


def first(pool, function, *args):
    return pool.submit(function, *args).result()


@pytest.fixture
def started(pool):
    """A pool whose worker runs: what comes now, it has not been started with."""
    pool.submit(around.path).result()
    return pool


def test_a_directory_added_later(started, tmp_path, monkeypatch):
    # Guards against sys.path as it was when the worker was started (#126714).
    (tmp_path / "added_later.py").write_text("ANSWER = 42")
    monkeypatch.syspath_prepend(tmp_path)
    assert first(started, around.import_it, "added_later") == 42


@pytest.mark.parametrize(
    "edit",
    [
        lambda path: path.insert(0, "/new"),
        lambda path: path.append("/new"),
        lambda path: path.__setitem__(1, "/new"),
        lambda path: path.pop(),
        lambda path: path.reverse(),
        lambda path: path.append("/lone/\udcff"),
    ],
    ids=["insert", "append", "replace", "remove", "reverse", "surrogate"],
)
@pytest.mark.parametrize("in_place", [True, False])
def test_edits_of_the_path(started, monkeypatch, edit, in_place):
    # Guards against changes that are noticed by the list's length or identity alone.
    changed = sys.path[:]
    monkeypatch.setattr(sys, "path", changed if not in_place else sys.path[:])
    first(started, around.path)
    edit(sys.path)
    if not in_place:
        monkeypatch.setattr(sys, "path", sys.path[:])
    assert first(started, around.path) == sys.path


def test_each_call_has_the_path_of_its_own_submit(pool, monkeypatch, gate):
    # Guards against a worker that takes what is there when it comes to the call.
    monkeypatch.setattr(sys, "path", sys.path[:])
    blocked = pool.submit(tasks.block, *gate.fds)
    expected, futures = [], []
    for number in range(3):
        sys.path.append(f"/number/{number}")
        expected.append(sys.path[:])
        futures.append(pool.submit(around.path))
    sys.path.clear()
    gate.open()
    assert blocked.result() == "released"
    assert [future.result() for future in futures] == expected


def test_what_a_task_has_added_itself_stays(started, monkeypatch):
    # Guards against setting all of it anew with each change in main.
    monkeypatch.setattr(sys, "path", sys.path[:])
    first(started, around.edit_path, "/own/front", "/own/back")
    first(started, around.remove_from_path, sys.path[-1])
    first(started, around.setenv, "SUBPOOL_TEST_OWN", "mine")
    try:
        gone = sys.path[-1]
        sys.path.insert(0, "/of/main")
        monkeypatch.setenv("SUBPOOL_TEST", "1")
        expected = ["/own/front", "/of/main", *sys.path[1:-1], "/own/back"]
        assert first(started, around.path) == expected
        assert gone not in expected
        assert first(started, around.getenv, "SUBPOOL_TEST_OWN") == "mine"
    finally:
        first(started, os.unsetenv, "SUBPOOL_TEST_OWN")


def test_argv(started, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["new", "lone \udcff"])
    assert first(started, around.argv) == ["new", "lone \udcff"]
    sys.argv[1:] = ["--flag"]
    assert first(started, around.argv) == ["new", "--flag"]


def test_variables(started, monkeypatch):
    # Guards against os.environ as it was when the interpreter was made.
    monkeypatch.setenv("SUBPOOL_TEST", "1")
    assert first(started, around.getenv, "SUBPOOL_TEST") == "1"
    monkeypatch.setenv("SUBPOOL_TEST", "2 ü \udcff")
    assert first(started, around.getenv, "SUBPOOL_TEST") == "2 ü \udcff"
    monkeypatch.delenv("SUBPOOL_TEST")
    assert first(started, around.getenv, "SUBPOOL_TEST") is None


def test_another_mapping_in_place_of_the_variables(started, monkeypatch):
    monkeypatch.setattr(os, "environ", {"SUBPOOL_TEST": "replaced"})
    assert first(started, around.getenv, "SUBPOOL_TEST") == "replaced"
    assert first(started, around.getenv, "PATH") is None
    monkeypatch.undo()
    assert first(started, around.getenv, "PATH") == os.environ["PATH"]


def test_recursion_limit(started):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 77)
    try:
        assert first(started, around.recursion_limit) == before + 77
    finally:
        sys.setrecursionlimit(before)
    assert first(started, around.recursion_limit) == before


def test_back_and_forth(started, monkeypatch):
    # Guards against a change that is taken for an older one, and the other way round.
    monkeypatch.setattr(sys, "argv", ["a"])
    for turn in range(50):
        sys.argv[:] = ["a" if turn % 2 else "b"]
        assert first(started, around.argv) == sys.argv


def test_more_changes_than_are_kept(pool, monkeypatch, gate):
    # Guards against a worker that fails over, or waits for, an environment nobody knows any more.
    monkeypatch.setattr(sys, "argv", ["first"])
    blocked = pool.submit(tasks.block, *gate.fds)
    old = pool.submit(around.argv)
    futures = []
    for number in range(1100):
        sys.argv[:] = [str(number)]
        futures.append(pool.submit(around.argv))
    gate.open()
    assert blocked.result() == "released"
    assert old.result() == ["first"]  # the one that the worker was at
    assert [future.result() for future in futures[-1000:]] == [[str(n)] for n in range(100, 1100)]


def test_map_has_the_environment_of_its_call(started, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mapped"])
    results = started.map(around.getenv, ["SUBPOOL_TEST"] * 3)
    monkeypatch.setenv("SUBPOOL_TEST", "later")
    assert list(results) == [None] * 3


def test_filters(started):
    # Guards against filters that only main has.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first(started, around.warned) == "raised UserWarning"
        warnings.filterwarnings("ignore", message="quiet, .*please")
        assert first(started, around.warned, "quiet, PLEASE") == []
        assert first(started, around.warned, "loud") == "raised UserWarning"
        # Functions' modules are patterns, too.
        warnings.filterwarnings("ignore", module="tasks_environ")
        assert first(started, around.warned, "loud") == []
        warnings.simplefilter("always")
        assert first(started, around.warned, "loud") == ["loud"]
    assert first(started, around.warned, "once more") == first(started, around.warned, "once more")


def test_a_category_of_a_module_that_the_worker_has_not(started):
    # Guards against importing it there, and against leaving the filter out.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", around.HomeMadeWarning)
        warnings.simplefilter("error", pytest.PytestWarning)
        assert first(started, around.warned) == []
        assert first(started, around.warned_at_home) == "raised HomeMadeWarning"
        assert not {"pytest", "_pytest"} & first(started, around.loaded)


def test_a_worker_keeps_its_own_filters(started):
    first(started, around.add_filter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert first(started, around.warned, "the worker's own") == "raised UserWarning"
        assert first(started, around.warned) == []


def test_interrupts_leave_the_filters_complete(started):
    # Guards against a change that an interrupt cuts short and nobody makes good.
    for _ in range(20):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            future = started.submit(around.warned)
            future.interrupt()
            future.exception()
            assert first(started, around.warned) == "raised UserWarning"


OPTIONS = """
import json, sys, warnings
import subpool, tasks_environment as around
sys.path.append("/before/the/start")
with subpool.InterpreterPoolExecutor(1) as pool:
    seen = pool.submit(around.observe).result()
    assert seen[0] == sys.path, (seen[0], sys.path)
    assert seen[1] == sys.argv
    warned = [pool.submit(around.warned, text).result() for text in ("one", "two")]
    loaded = pool.submit(around.loaded).result()
print(json.dumps([warned, sorted(loaded & {"re", "_subpool_filters", "subpool._environment"})]))
"""


def test_filters_of_the_command_line(tmp_path, child_env):
    # Guards against a worker that knows -W only, or only once it imports `warnings`, and in
    # another order; and against patterns compiled at each worker's start.
    import subprocess

    words = ["-W", "error", "-W", "ignore:one", "-c", OPTIONS, "--some", "argument"]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=60, env=child_env
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[[], "raised UserWarning"], ["_subpool_filters", "re"]]


def test_nothing_is_imported_for_an_ordinary_environment(check):
    # Guards against a slow start of each worker.
    code = """
import subpool, tasks_environment as around
with subpool.InterpreterPoolExecutor(1) as pool:
    print("_subpool_filters" in pool.submit(around.loaded).result())
"""
    assert check(code) == "False\n"


def test_a_program_that_took_all_watchers(check):
    # Guards against relying on a watcher that CPython did not give us.
    code = """
import ctypes, os, sys
add = ctypes.pythonapi.PyDict_AddWatcher
add.argtypes = [ctypes.c_void_p]
callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)
try:
    while True:
        add(ctypes.cast(callback, ctypes.c_void_p))
except RuntimeError:
    pass
import subpool, tasks_environment as around
with subpool.InterpreterPoolExecutor(1) as pool:
    for number in range(3):
        os.environ["SUBPOOL_TEST"] = str(number)
        sys.argv = [str(number)]
        print(pool.submit(around.getenv, "SUBPOOL_TEST").result(), end=" ")
        print(pool.submit(around.argv).result())
"""
    assert check(code) == "0 ['0']\n1 ['1']\n2 ['2']\n"
