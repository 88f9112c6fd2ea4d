"""A table of what tasks do to their interpreter: what becomes of them, and of the tasks after them.

Every row guards against the same bugs: a worker that fails each task from then on, a task that
fails because of another although its function was never called, a worker that nobody can close.

docs/reliability/hostile.md has the table in words.
"""

import colorsys
import fractions
import logging
import os
import threading
from typing import NamedTuple

import pytest
import wrecks
import wrecks_after
import wrecks_library  # noqa: F401 - its acts are among `wrecks.ACTS`
from wrecks import Boom

import tasks
from subpool import (
    InterpreterPoolExecutor,
    NotTransferableError,
    RemoteError,
    TaskInterrupted,
    TaskTimeout,
    interpreter,
)

STAYS, GOES = "stays", "goes"


class Row(NamedTuple):
    act: str
    # A value, or the class of an exception.
    ends: object
    # What becomes of the worker, once a task has failed in it.
    worker: str
    # Tasks behind it that begin and fail because of it, and with what.
    victims: dict = {}


TABLE = [
    Row("modules_cleared", None, GOES),
    Row("modules_replaced_by_an_empty_dict", None, GOES),
    Row("modules_replaced_by_none", None, GOES),
    Row("modules_deleted", None, GOES),
    Row("modules_without_builtins", None, GOES),
    Row("modules_without_sys", None, GOES),
    Row("modules_without_subpool", None, STAYS),
    Row("modules_without_the_worker", None, GOES),
    Row("modules_without_threading", None, STAYS),
    Row("modules_of_none", None, GOES),
    Row("modules_of_objects", None, GOES),
    Row("modules_without_the_standard_library", None, GOES),
    Row("modules_cleared_and_raised", ValueError, GOES),
    Row("builtins_cleared", None, GOES),
    Row("builtins_cleared_and_raised", ValueError, GOES),
    Row("builtins_without_import", None, GOES),
    Row("builtins_without_len", None, GOES),
    Row("builtins_without_exceptions", NameError, GOES),
    Row("builtins_len_raises", None, GOES),
    Row("builtins_import_raises", None, GOES),
    Row("builtins_isinstance_lies", None, GOES),
    Row("builtins_types_are_none", TypeError, GOES),
    Row("builtins_without_build_class", None, GOES),
    Row("builtins_all_raise", Boom, GOES),
    Row("builtins_all_raise_and_so_does_the_task", Boom, GOES),
    Row("path_deleted", None, GOES),
    Row("path_of_nothing", None, GOES),
    Row("path_cleared", None, GOES),
    Row("path_is_none", None, GOES),
    Row("finders_cleared", None, GOES),
    Row("finders_raise", None, GOES),
    Row("path_hooks_cleared", None, GOES),
    Row("sys_attributes_deleted", None, GOES, {"print": RuntimeError}),
    Row("sys_cleared", None, GOES, {"print": RuntimeError}),
    Row("recursion_limit_low", None, GOES),
    Row("recursion_limit_high", None, STAYS),
    Row("recursion_limit_low_and_raised", ValueError, GOES),
    Row("switch_interval_long", None, STAYS),
    Row("trace_raises", None, STAYS, {"add": Boom}),
    Row("profile_raises", Boom, STAYS),
    Row("trace_of_all_threads_raises", None, STAYS),
    Row("monitoring_raises", None, GOES, {"add": Boom}),
    Row("audit_hook_raises", None, GOES),
    Row("audit_hook_raises_at_imports", None, GOES),
    Row("hooks_raise", None, STAYS),
    Row("hooks_raise_and_one_is_called", None, STAYS),
    Row("int_digits_few", ValueError, STAYS),
    Row("asyncgen_hooks_raise", None, STAYS),
    Row("module_attributes_wiped", None, GOES),
    Row("gc_disabled", None, STAYS),
    Row("gc_frozen", None, STAYS),
    Row("gc_callbacks_raise", None, STAYS),
    Row("gc_keeps_everything", None, STAYS),
    Row("garbage_raises", None, STAYS),
    Row("codecs_forgotten", None, STAYS),
    Row("codecs_search_functions_raise", None, GOES),
    Row("pickle_wiped", None, GOES),
    Row("pickle_raises", None, GOES),
    Row("copyreg_raises", None, STAYS),
    Row("traceback_raises", None, GOES),
    Row("traceback_raises_and_so_does_the_task", ValueError, GOES),
    Row("io_wiped", None, GOES),
    Row("os_wiped", None, GOES),
    Row("warnings_raise", None, STAYS),
    Row("threading_wiped", None, GOES),
    Row("threading_hooks_raise", None, STAYS),
    Row("at_exit_raises", None, STAYS),
    Row("at_exit_registers_itself", None, STAYS),
    Row("at_exit_wiped", None, GOES),
    Row("contextlib_wiped", None, GOES),
    Row("dicts_cleared", None, GOES),
    Row("stdout_closed", None, GOES, {"print": ValueError}),
    Row("stdout_is_none", None, STAYS),
    Row("stdout_deleted", None, GOES, {"print": RuntimeError}),
    Row("stdout_raises", None, STAYS, {"print": Boom}),
    Row("stdout_detached", None, GOES, {"print": ValueError}),
    Row("stdin_closed", None, STAYS),
    Row("exits", SystemExit, STAYS),
    Row("exits_with_an_object", SystemExit, STAYS),
    Row("interrupts", KeyboardInterrupt, STAYS),
    Row("stops", StopIteration, STAYS),
    Row("exits_as_a_generator", GeneratorExit, STAYS),
    Row("loop_left_running", None, STAYS),
    Row("loop_left_with_a_pending_task", None, STAYS),
    Row("thread_left_behind", None, STAYS),
    Row("thread_left_that_raises", None, STAYS),
    Row("thread_left_that_exits", None, STAYS),
    Row("recursion", RecursionError, STAYS),
    Row("recursion_in_c", RecursionError, STAYS),
    Row("recursion_in_c_without_a_limit", RecursionError, STAYS),
    Row("recursion_in_getattr", RecursionError, STAYS),
    Row("recursion_without_a_limit_in_the_error", RemoteError, STAYS),
    Row("memory", MemoryError, STAYS),
    Row("forks", RuntimeError, STAYS),
    Row("replaces_the_process", RuntimeError, STAYS),
    Row("signals_masked", None, STAYS),
    Row("environ_cleared", None, STAYS),
    Row("environ_of_c_replaced", None, STAYS),
    Row("context_changed", None, STAYS),
]

# Much like a row beside them: tried with --long only, since each takes a fifth of a second.
LIKE_OTHERS = {
    *("modules_replaced_by_none", "modules_deleted", "modules_of_objects", "sys_cleared"),
    *("modules_without_threading", "builtins_without_len", "builtins_all_raise", "path_cleared"),
    *("path_is_none", "recursion_limit_low", "trace_of_all_threads_raises", "hooks_raise"),
    *("gc_frozen", "gc_keeps_everything", "codecs_forgotten", "pickle_wiped", "traceback_raises"),
    *("contextlib_wiped", "stdout_detached", "stdin_closed", "exits_with_an_object", "interrupts"),
    *("exits_as_a_generator", "thread_left_that_exits", "recursion_in_c", "at_exit_wiped"),
    *("asyncgen_hooks_raise", "recursion_limit_low_and_raised", "environ_of_c_replaced"),
}

# What comes after the act: between them they use all that a worker does for its tasks.
BATTERY = {
    "add": ((tasks.add, 1, 2), 3),
    "print": ((print, "printed"), None),
    "import": ((colorsys.rgb_to_hsv, 1, 1, 1), (0.0, 0.0, 1)),
    "pickle": ((tasks.identity, fractions.Fraction(1, 3)), fractions.Fraction(1, 3)),
    "raise": ((int, "x"), ValueError),
    "lock": ((threading.Lock,), NotTransferableError),
    "add again": ((tasks.add, 1, 2), 3),
}


def is_error(expected):
    return isinstance(expected, type) and issubclass(expected, BaseException)


def check(future, expected, what):
    error = future.exception(timeout=60)
    if is_error(expected):
        assert type(error) is expected, f"{what} ended with {error!r}"
    else:
        assert error is None, f"{what} ended with {error!r}"
        assert future.result() == expected, what


def harm_told(caplog):
    return [record.getMessage() for record in caplog.records if "has harmed" in record.getMessage()]


def test_each_act_has_a_row():
    assert {row.act for row in TABLE} == set(wrecks.ACTS)
    assert set(wrecks.ACTS) >= LIKE_OTHERS


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.act)
def test_a_wreck(pool, caplog, request, row):
    if row.act in LIKE_OTHERS and not request.config.getoption("long"):
        pytest.skip("with --long")
    caplog.set_level(logging.WARNING, "concurrent.futures")
    before = pool.submit(tasks.interpreter_id).result()
    check(pool.submit(wrecks.perform, row.act), row.ends, row.act)
    for name, (call, expected) in BATTERY.items():
        check(pool.submit(*call), row.victims.get(name, expected), f"{name} after {row.act}")
    after = pool.submit(tasks.interpreter_id).result()
    assert (after == before) is (row.worker == STAYS)
    pool.shutdown()
    told = harm_told(caplog)
    assert len(told) == (row.worker == GOES)
    assert all("or a task before it" in message for message in told)


@pytest.mark.parametrize("name", ["import", "pickle", "lock", "raise"])
def test_what_waits_behind_a_wreck_is_done(pool, gate, name):
    """All of it was accepted before: the harmed worker has it in its queue, or in its batch."""
    call, expected = BATTERY[name]
    blocker = pool.submit(tasks.block, *gate.fds)
    pool.submit(wrecks.perform, "modules_cleared")
    behind = [pool.submit(*call) for _ in range(20)]
    results = pool.map(tasks.add, range(50), range(50))
    gate.open()
    blocker.result()
    for future in behind:
        check(future, expected, name)
    assert list(results) == [2 * number for number in range(50)]


def test_a_wreck_within_a_batch(pool):
    """A worker that goes because of the first call leaves the others to the next worker."""
    act = "builtins_all_raise_and_so_does_the_task"
    results = pool.map(wrecks.perform_or_add, [*range(10), act, *range(30)])
    assert [next(results) for _ in range(10)] == list(range(1, 11))
    with pytest.raises(Boom):
        next(results)
    assert list(pool.map(wrecks.perform_or_add, range(30))) == list(range(1, 31))
    assert pool.stats().outstanding == 0


def test_an_initializer_that_wrecks_is_not_repeated_for_ever(closing, caplog):
    """Each worker in the place of another would be as harmed as that, and replaced in turn."""
    initializer = {"initializer": wrecks.perform, "initargs": ("finders_cleared",)}
    pool = closing(InterpreterPoolExecutor(1, **initializer))
    assert pool.submit(abs, -1).result() == 1
    for _ in range(5):
        check(pool.submit(colorsys.rgb_to_hsv, 1, 1, 1), NotTransferableError, "what has no finder")
        assert pool.submit(abs, -1).result() == 1
    pool.shutdown()
    assert len(harm_told(caplog)) <= 1


def test_an_interrupt_finds_a_call_that_has_moved(pool, pipe):
    """It was started by one worker and is performed by another."""
    reader, writer = pipe
    pool.submit(wrecks.perform, "finders_cleared").result()
    future = pool.submit(wrecks_after.say_and_spin, writer)
    os.read(reader, 1)
    assert future.interrupt()
    with pytest.raises(TaskInterrupted):
        future.result(60)


def test_the_time_limit_of_a_call_that_has_moved(pool):
    """Its deadline goes along."""
    pool.submit(wrecks.perform, "finders_cleared").result()
    future = pool.submit(interpreter(timeout=0.2)(wrecks_after.spin))
    with pytest.raises(TaskTimeout):
        future.result(60)


def test_shutdown_waits_for_a_call_that_has_moved(pool):
    pool.submit(wrecks.perform, "finders_cleared").result()
    future = pool.submit(colorsys.rgb_to_hsv, 1, 1, 1)
    pool.shutdown()
    assert future.result() == (0.0, 0.0, 1)
