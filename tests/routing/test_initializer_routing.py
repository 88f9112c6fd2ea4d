"""An initializer routes like any call: plain, in each thread; tagged, in each interpreter."""

import os
from functools import partial

import pytest

import tasks
from subpool import InterpreterPoolExecutor, InterpreterThreadPoolExecutor, interpreter


class Lines:
    """A pipe into which workers write lines."""

    def __init__(self):
        self._reader, self.fd = os.pipe()

    def read(self, count):
        text = b""
        while text.count(b"\n") < count:
            text += os.read(self._reader, 4096)
        return [int(line) for line in text.split()]

    def rest(self):
        os.close(self.fd)
        with os.fdopen(self._reader) as file:
            return file.read()


def test_a_tagged_initializer_runs_once_in_each_interpreter():
    """aiointerpreters runs it twice; run on threads it does nothing for the interpreters."""
    lines = Lines()
    initializer = interpreter(tasks.remember_interpreter)
    with InterpreterThreadPoolExecutor(
        2, initializer=initializer, initargs=(lines.fd,), max_interpreters=2
    ) as ex:
        ex.warm_up()
        ex.submit(tasks.nothing).result()  # a thread, where it must not run
        numbers = lines.read(2)
    assert lines.rest() == ""
    assert len(set(numbers)) == 2
    assert tasks.interpreter_id() not in numbers


def test_a_plain_initializer_runs_in_each_thread_and_no_interpreter():
    """The thread pool's own initializer went to the interpreters as well."""
    lines = Lines()
    with InterpreterThreadPoolExecutor(
        1, initializer=tasks.remember_thread, initargs=(lines.fd,), max_interpreters=1
    ) as ex:
        _, thread, _ = ex.submit(tasks.here).result()
        ex.submit(interpreter(tasks.nothing)).result()
        assert lines.read(1) == [thread]
    assert lines.rest() == ""


def test_an_initializer_under_partial():
    """The tag is peeled from the initializer as from any call."""
    lines = Lines()
    initializer = partial(interpreter(tasks.remember_interpreter), lines.fd)
    with InterpreterThreadPoolExecutor(initializer=initializer, max_interpreters=1) as ex:
        number = ex.submit(interpreter(tasks.interpreter_id)).result()
        assert lines.read(1) == [number]
    assert lines.rest() == ""


@pytest.mark.parametrize("initializer", [tasks.set_global, interpreter(tasks.set_global)])
def test_an_initializer_sets_globals_of_its_module(initializer):
    """The standard pool runs such a function in the worker's __main__, where it does nothing."""
    with InterpreterPoolExecutor(1, initializer=initializer, initargs=(99,)) as pool:
        assert pool.submit(tasks.read_global).result() == 99
    assert tasks.GLOBAL == 41


def test_a_decorated_initializer():
    """By reference, its name leads to the tag."""
    with InterpreterThreadPoolExecutor(
        initializer=tasks.tagged_set_global, initargs=(98,), max_interpreters=1
    ) as ex:
        assert ex.submit(interpreter(tasks.read_global)).result() == 98
        assert ex.submit(tasks.read_global).result() == 41


@pytest.mark.parametrize("kind", [InterpreterPoolExecutor, InterpreterThreadPoolExecutor])
def test_what_is_not_callable_is_refused(kind):
    """As the standard class does, when the executor is made and not when it is used."""
    with pytest.raises(TypeError, match="callable"):
        kind(initializer=3)
