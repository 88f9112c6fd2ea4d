"""What a task raises arrives as what it is, with the story of how it came about."""

import json
import pickle
import traceback

import pytest

import tasks
from subpool import InterpreterPoolExecutor
from support import causes


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text"),
        KeyError("key"),
        OSError(2, "No such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        tasks.CustomError(1, "one"),
        StopIteration(5),
        StopAsyncIteration(),
        GeneratorExit(),
        ImportError("no", name="module", path="path"),
        ZeroDivisionError(),
        MemoryError(),
        RecursionError("deep"),
        TimeoutError("a task's own"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_arrives_with_type_and_arguments(pool, error):
    """The standard pool: an exception without a round trip arrives as a bare ExecutionFailed."""
    got = pool.submit(tasks.fail, error).exception()
    assert type(got) is type(error)
    assert got.args == error.args
    assert str(got) == str(error)
    with pytest.raises(type(error)):
        pool.submit(tasks.fail, error).result()


def test_attributes_and_notes_arrive(pool):
    """An exception's __dict__ holds its notes, and whatever the task put there."""
    got = pool.submit(tasks.raise_custom).exception()
    assert (got.code, got.extra) == (7, {"any": ["thing"]})
    assert got.__notes__ == ["a note from the worker"]
    assert isinstance(got, tasks.CustomError)


def test_an_exception_that_is_false(pool):
    """`if error:` in place of `is not None` made a success of it."""
    future = pool.submit(tasks.raise_falsey)
    assert type(future.exception()) is tasks.FalseyError
    with pytest.raises(tasks.FalseyError):
        future.result()


def test_a_group_arrives_with_its_parts(pool):
    """An ExceptionGroup pickles by its constructor."""
    got = pool.submit(tasks.raise_group).exception()
    assert [type(part) for part in got.exceptions] == [ValueError, LookupError]


def test_the_remote_traceback_is_in_its_place(pool):
    """The traceback ended in `result()`: nobody saw where the task failed."""
    error = pool.submit(tasks.fail_in_steps).exception()
    text = "".join(traceback.format_exception(error))
    assert "inner_step_of_the_task" in text
    assert 'raise LookupError("deep inside")' in text
    assert error.__cause__ is None
    # Ours are no frames of the user's.
    assert "_bootstrap" not in text
    assert "run_chunk" not in text


def test_the_chain_is_kept(pool):
    """`raise … from …` in the task: the cause is an exception, and the task's own."""
    error = pool.submit(tasks.fail_with_chain).exception()
    assert type(error) is ValueError
    assert type(error.__cause__) is OSError
    assert causes(error) == ["the first cause"]


def test_chunks_show_no_frames_of_ours(pool):
    """`map` with a chunksize runs the calls through a function of ours."""
    with pytest.raises(LookupError) as caught:
        list(pool.map(tasks.fail, [LookupError("in a chunk")], chunksize=2))
    assert "run_chunk" not in "".join(traceback.format_exception(caught.value))


def test_a_traceback_with_source_by_value(pool):
    """A function that came as code has its file's lines all the same."""

    def fails():
        raise LookupError("by value")

    error = pool.submit(fails).exception()
    assert 'raise LookupError("by value")' in "".join(traceback.format_tb(error.__traceback__))


def test_an_exception_that_cannot_be_pickled(pool):
    """One attribute that cannot travel must not cost the exception."""
    error = pool.submit(tasks.raise_unpicklable).exception()
    assert type(error) is ValueError
    assert str(error) == "holds a lock"
    assert "_thread.lock" in repr(error.lock)


def test_an_exception_that_cannot_be_rebuilt(pool):
    """An __init__ that wants more than `args` holds: unpickling raises TypeError in main."""
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(tasks.UnrebuildableError(1, 2)))
    error = pool.submit(tasks.raise_unrebuildable).exception()
    assert type(error) is tasks.UnrebuildableError
    assert error.args == ("one and two",)


@pytest.mark.slow
def test_an_exception_of_a_local_class(pool):
    """A class that came by value goes back by value, and is the class it was."""

    class LocalError(Exception):
        pass

    def fails():
        raise LocalError("local")

    with pytest.raises(LocalError, match="local"):
        pool.submit(fails).result()


def test_an_exception_of_the_standard_library_with_more_than_args(pool):
    """JSONDecodeError has a __reduce__ of its own."""
    error = pool.submit(json.loads, "{").exception()
    assert type(error) is json.JSONDecodeError
    assert (error.doc, error.pos) == ("{", 1)


@pytest.mark.parametrize(
    ("fn", "args", "kind"),
    [
        (tasks.exit_with, (3,), SystemExit),
        (tasks.exit_with, (None,), SystemExit),
        (tasks.interrupt_self, (), KeyboardInterrupt),
        (tasks.fail, (BaseException("base"),), BaseException),
    ],
)
def test_what_is_no_exception_ends_the_task_only(pool, fn, args, kind):
    """SystemExit ended the worker's thread, and every later task waited for ever."""
    before = pool.submit(tasks.interpreter_id).result()
    future = pool.submit(fn, *args)
    assert type(future.exception()) is kind
    with pytest.raises(kind):
        future.result()
    assert pool.submit(tasks.interpreter_id).result() == before


def test_the_exit_code_arrives():
    """The code is an argument of SystemExit."""
    with InterpreterPoolExecutor(1) as pool:
        assert pool.submit(tasks.exit_with, 3).exception().code == 3


def test_calling_with_the_wrong_arguments(pool):
    """The TypeError comes from the call, in the worker, and names the function."""
    with pytest.raises(TypeError, match=r"add\(\)"):
        pool.submit(tasks.add).result()
    with pytest.raises(TypeError, match="unexpected keyword"):
        pool.submit(tasks.add, 1, third=3).result()
