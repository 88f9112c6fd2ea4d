"""Modules of a web worker that wait until they are used."""

import importlib
import sys
import threading
import types

import pytest

from subpool.integrations.hypercorn import _lazy


@pytest.fixture
def waiting(monkeypatch, tmp_path):
    """Make modules that wait, from their source, and what that sees as `sys.gate`."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def make(name, source, gate=None):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "gate", gate, raising=False)
        monkeypatch.setattr(_lazy, "_LATER", {name})
        monkeypatch.setitem(_lazy._locks, name, threading.RLock())
        names.append(name)
        with _lazy.Later():
            return importlib.import_module(name)

    yield make
    for name in names:
        del sys.modules[name]


def test_threads_wait_for_a_module_that_another_one_loads(waiting, monkeypatch):
    """Two first requests at the same moment met a module without its functions: status 500."""
    asked, got = threading.Event(), []

    def gate():
        second.start()
        assert asked.wait(20)

    def look():
        try:
            got.append(module.late)
        except AttributeError as error:
            got.append(error)
        finally:
            asked.set()

    second = threading.Thread(target=look)
    module = waiting("late_for_threads", "import sys\nsys.gate()\nlate = 2\n", gate)
    lock = _lazy._locks["late_for_threads"]

    class Noting:
        def __enter__(self):
            if threading.current_thread() is second:
                asked.set()
            lock.acquire()

        def __exit__(self, *_):
            lock.release()

    monkeypatch.setitem(_lazy._locks, "late_for_threads", Noting())
    assert module.late == 2
    second.join(20)
    assert got == [2]


def test_what_is_asked_of_a_module_that_waits(waiting):
    """Guards against star imports that take nothing, and libraries that have no version."""
    source = "__version__ = '1.2'\n__all__ = ['late']\nlate = 2\n"
    module = waiting("late_for_star", source)
    assert module.__spec__.name == "late_for_star"
    assert module.__file__.endswith("late_for_star.py")
    assert type(module) is not types.ModuleType  # the import system has loaded nothing
    space = {}
    exec("from late_for_star import *", space)  # noqa: S102 - it may stand in a module only
    assert space["late"] == 2
    assert type(module) is types.ModuleType
    assert waiting("late_for_version", source).__version__ == "1.2"
    assert "late" in dir(waiting("late_for_dir", source))


def test_a_module_that_fails_is_loaded_again(waiting):
    """Guards against half a module that passes for a whole one."""
    tries = []
    module = waiting(
        "late_and_broken",
        "import sys\nearly = 1\nsys.gate.append(1)\nassert len(sys.gate) == 2\nlate = 2\n",
        tries,
    )
    with pytest.raises(AssertionError):
        _ = module.late
    assert module.early == 1
    assert len(tries) == 2
    assert module.late == 2
