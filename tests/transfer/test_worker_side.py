"""subpool inside a worker: importable, without the extension, and able to tell where it is."""

import _interpreters
import ast
import importlib
import os
import pickle
import subprocess
import sys

import pytest

import subpool
import tasks
from subpool import InterpreterPoolExecutor, WorkerInfo

LOADED = "sorted(__import__('sys').modules)"


def loaded_by_cpython(code):
    """The modules of an interpreter that is no worker, after it has run `code`."""
    number = _interpreters.create("isolated")
    reader, writer = os.pipe()
    try:
        failure = _interpreters.exec(
            number, f"{code}\nimport posix; posix.write({writer}, repr({LOADED}).encode())"
        )
        assert failure is None, failure
        return set(ast.literal_eval(os.read(reader, 1 << 16).decode()))
    finally:
        _interpreters.destroy(number)
        os.close(reader)
        os.close(writer)


def test_a_worker_does_not_load_the_extension(pool):
    """A PyO3 module cannot be imported in a subinterpreter, and every task's module imports us."""
    loaded = pool.submit(tasks.loaded_modules).result()
    assert "subpool" in loaded
    assert "subpool._subpool" not in loaded
    assert "tasks" in loaded


def test_a_worker_imports_no_executor(pool):
    """The executors' own imports (asyncio, logging) cost a worker milliseconds and megabytes."""
    loaded = pool.submit(tasks.loaded_modules).result()
    for module in ("asyncio", "logging", "concurrent.futures", "subpool.executors"):
        assert module not in loaded


# With these CPython imports `warnings` into each interpreter, also into workers. The interpreters
# of `_interpreters`, with which a worker is compared, come to life without them.
as_python_starts = pytest.mark.skipif(
    bool(sys.warnoptions) or sys.flags.dev_mode, reason="-W or -X dev: warnings is imported"
)


@as_python_starts
def test_a_fresh_worker_has_imported_nothing_of_ours(pool):
    """typing, importlib and our own modules took a worker's start more time than CPython did."""
    loaded = set(pool.submit(eval, LOADED, {}).result())
    # What the call itself needs: its arguments may be pickled.
    # Beside that, pytest has filters of warnings that go along.
    ours = {"_subpool_worker", "_subpool_filters"}
    assert loaded <= loaded_by_cpython("import _pickle") | ours
    assert not loaded & {"typing", "re", "enum", "importlib", "subpool", "threading", "traceback"}


@as_python_starts
def test_the_tags_module_brings_nothing_along(pool, tmp_path, monkeypatch):
    """A type parameter or an `overload` in it imports typing in every worker."""
    (tmp_path / "tagged_and_lean.py").write_text(
        "from subpool import InterpreterPoolExecutor, interpreter, worker\n"
        "@interpreter\n"
        "def loaded():\n"
        f"    return {LOADED}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = set(pool.submit(importlib.import_module("tagged_and_lean").loaded).result())
    ours = {"subpool", "subpool._absent", "subpool._bootstrap", "subpool.routing"}
    assert ours < loaded
    assert loaded <= loaded_by_cpython("import _pickle, __future__") | ours | {
        "_subpool_worker",
        "_subpool_filters",
        "tagged_and_lean",
    }


def test_main_imports_no_event_loop(check):
    """asyncio, and ssl with it, cost a program without a loop more than the rest of subpool."""
    out = check(
        "import sys, tasks\n"
        "from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter\n"
        "with InterpreterThreadPoolExecutor() as ex:\n"
        "    ex.submit(interpreter(tasks.nothing)).result()\n"
        "print({'asyncio', 'ssl', 'cloudpickle', 'multiprocessing'} & set(sys.modules))\n"
    )
    assert out == "set()\n"


def test_an_error_after_the_path_was_changed(pool):
    """What encodes failures is imported with the first one, and was not found any more."""
    with pytest.raises(ZeroDivisionError):
        pool.submit(exec, "import sys; sys.path.clear(); 1 / 0", {}).result()
    # The task's own path is put back.
    assert pool.submit(eval, "__import__('sys').path", {}).result() == []


def test_the_tag_at_the_top_of_the_tasks_module(pool):
    """The task reads globals of a module that begins with `from subpool import interpreter`."""
    assert pool.submit(tasks.read_global).result() == 41


def test_globals_of_a_module_stay_in_their_worker(pool):
    """Each interpreter has modules of its own; main's are not touched."""
    pool.submit(tasks.put, "key", "worker").result()
    assert pool.submit(tasks.get, "key").result() == "worker"
    assert tasks.get("key") is None


@pytest.mark.parametrize("name", subpool.__all__)
def test_each_name_of_subpool_can_be_imported_in_a_worker(pool, name):
    """`from subpool import …` at the top of a task's module broke its import in the worker."""
    assert pool.submit(tasks.attribute_of_subpool, name).result() == name


def test_a_module_that_defines_its_tasks_and_runs_them(pool, tmp_path, monkeypatch):
    """The usual module has both: the task, and the function that makes an executor for it."""
    (tmp_path / "both.py").write_text(
        "from subpool import Future, InterpreterPoolExecutor, InterpreterThreadPoolExecutor\n"
        "from subpool import NotTransferableError, configure, default_pool, interpreter\n"
        "def task(x):\n"
        "    return x + 1\n"
        "def run(x):\n"
        "    with InterpreterThreadPoolExecutor(max_interpreters=1) as ex:\n"
        "        return ex.submit(interpreter(task), x).result()\n"
        "class Mine(InterpreterPoolExecutor): ...\n"
        "def wait(future: Future) -> int | None: return future.result()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    both = __import__("both")
    assert both.run(1) == 2
    # In a worker there is no pool to be had, and the error says so.
    error = pool.submit(both.run, 1).exception()
    assert isinstance(error, RuntimeError)
    assert "worker" in str(error) or "interpreter" in str(error)


def test_an_unknown_attribute_of_subpool():
    """The lazy names must not turn a typing error into None."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = subpool.no_such_name
    assert set(subpool.__all__) <= set(dir(subpool))


def test_worker_is_none_in_main():
    """It is how code learns that it does not run in a worker."""
    assert subpool.worker() is None


def test_worker_tells_number_and_interpreter(pool2, gate):
    """Workers are numbered from 0, and the interpreter's number is the one that CPython shows."""
    futures = [pool2.submit(tasks.block_and_tell, *gate.fds) for _ in range(2)]
    gate.wait(2)
    gate.open(2)
    told = [future.result() for future in futures]
    assert {info.id for info, _ in told} == {0, 1}
    assert all(info.interpreter_id == number for info, number in told)
    assert len({info.interpreter_id for info, _ in told}) == 2


def test_worker_info_is_a_tuple_with_names():
    """It is written by hand, for a named tuple would import typing or collections in workers."""
    info = WorkerInfo(3, interpreter_id=7)
    number, interpreter_id = info
    assert (info.id, info.interpreter_id) == (number, interpreter_id) == info == (3, 7)
    copy = pickle.loads(pickle.dumps(info))
    assert type(copy) is WorkerInfo and copy == info
    assert repr(info) == "WorkerInfo(id=3, interpreter_id=7)"
    match info:
        case WorkerInfo(id=3, interpreter_id=other):
            assert other == 7


def test_worker_is_the_same_in_threads_of_a_task(pool):
    """A task may start threads of its own; they run in the same interpreter."""
    inner, outer = pool.submit(tasks.worker_in_thread).result()
    assert inner == outer is not None


def test_a_task_may_start_threads_and_loops(pool):
    """The isolated configuration allows threads, and so a loop with its executor."""
    assert pool.submit(tasks.run_a_loop).result() == [0, 1, 4]


def test_a_plain_subinterpreter_can_import_subpool():
    """Somebody else's subinterpreters import the tasks' modules too."""
    code = (
        "import _interpreters as i; n = i.create('isolated'); "
        "r = i.exec(n, 'import subpool; assert subpool.worker() is None; "
        "from subpool import interpreter; import tasks'); print(r); i.destroy(n)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(tasks.__file__.rpartition("/")[0])},
    )
    assert (done.stdout, done.returncode) == ("None\n", 0), done.stderr


def test_prefix_and_path_are_the_programs(pool):
    """A virtual environment's interpreter must stay in it."""
    assert pool.submit(tasks.system, "prefix").result() == sys.prefix
    assert pool.submit(tasks.system, "path").result() == sys.path


def test_argv_is_inherited(check):
    """A task that asks which program it belongs to gets the same answer."""
    out = check(
        "import sys, tasks\n"
        "from subpool import InterpreterPoolExecutor\n"
        "with InterpreterPoolExecutor(1) as ex:\n"
        "    print(ex.submit(tasks.system, 'argv').result() == sys.argv, sys.argv[1:])\n",
        args=("-x", "y"),
    )
    assert out == "True ['-x', 'y']\n"


def test_two_workers_do_not_share_a_module():
    """A shared module object between two interpreters is a crash in waiting."""
    with InterpreterPoolExecutor(1) as first, InterpreterPoolExecutor(1) as second:
        first.submit(tasks.put, "who", "first").result()
        assert second.submit(tasks.get, "who").result() is None
