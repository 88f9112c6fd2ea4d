"""A function that changed is not served from what was sent before."""

import importlib
import os

import pytest

import tasks
from subpool import interpreter


def write(folder, name, text):
    """Write a module that is newer than any cached bytecode of it."""
    file = folder / f"{name}.py"
    old = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(text)
    os.utime(file, ns=(old + 10**10, old + 10**10))


def test_a_reloaded_module_gets_a_new_number(pool, tmp_path, monkeypatch):
    """Main's cache holds the old function; the worker's module is older still, and stays."""
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "reloaded", "def fn(): return 1\n")
    module = importlib.import_module("reloaded")
    old = module.fn
    assert pool.submit(old).result() == 1
    write(tmp_path, "reloaded", "def fn(): return 22\n")
    importlib.reload(module)
    # The old function has lost its name and travels by value; the new one is found by name, in a
    # module that the worker itself has not reloaded.
    assert pool.submit(old).result() == 1
    assert pool.submit(lambda: importlib.reload(importlib.import_module("reloaded")).fn()).result()
    assert pool.submit(module.fn).result() == 22


def test_a_function_replaced_in_its_module(pool, monkeypatch):
    """By name, the worker finds its own function; main's replacement must not be taken for it."""
    assert pool.submit(tasks.add, 1, 2).result() == 3
    original = tasks.add

    def add(first, second):
        return "replacement"

    add.__module__, add.__qualname__ = "tasks", "elsewhere"
    monkeypatch.setattr(tasks, "add", add)
    assert pool.submit(tasks.add, 1, 2).result() == "replacement"
    assert pool.submit(original, 1, 2).result() == 3
    monkeypatch.undo()
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_a_function_tagged_after_it_was_sent(executor, monkeypatch):
    """The name leads to the tag now, and the tag to the same function."""
    fn = tasks.interpreter_id
    assert executor.submit(interpreter(fn)).result() != tasks.interpreter_id()
    monkeypatch.setattr(tasks, "interpreter_id", interpreter(fn))
    assert executor.submit(tasks.interpreter_id).result() != fn()


def test_functions_that_die_and_whose_address_is_used_again(pool):
    """A cache by address without a reference serves a dead function's name for a new one."""
    for number in range(200):
        namespace = {}
        exec(f"def fn(): return {number}", {"__name__": "nowhere"}, namespace)  # noqa: S102
        assert pool.submit(namespace.pop("fn")).result() == number


@pytest.mark.slow
def test_more_functions_than_main_remembers(pool, monkeypatch):
    """The table of known functions is emptied when it is full."""
    for number in range(4200):
        monkeypatch.setattr(tasks, f"fn{number}", make_named(number), raising=False)
    refused = pool.submit(tasks.fn0).exception()
    assert "tasks.fn0" in str(refused)
    futures = [pool.submit(getattr(tasks, f"fn{number}")) for number in range(4200)]
    assert all(future.exception() is not None for future in futures)
    assert pool.submit(tasks.add, 1, 2).result() == 3


def make_named(number):
    def fn():
        return number

    fn.__module__, fn.__qualname__ = "tasks", f"fn{number}"
    return fn
