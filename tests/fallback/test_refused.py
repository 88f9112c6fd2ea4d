"""Calls that no interpreter can run, without a fallback: the error, and what is not one."""

import pytest

import tasks
import tasks_late
import tasks_numpy
from subpool import (
    IncompatibleModuleError,
    InterpreterPoolExecutor,
    NotTransferableError,
    interpreter,
)

numpy = pytest.importorskip("numpy")
EXTENSION = "numpy._core._multiarray_umath"


@pytest.mark.parametrize(
    ("task", "how"),
    [
        pytest.param(tasks_numpy.total, "its module imports it", id="module"),
        pytest.param(tasks_late.late, "its body imports it", id="body"),
        pytest.param(lambda numbers: int(numpy.sum(numbers)), "by value", id="lambda"),
    ],
)
def test_the_error_says_what_and_what_to_do(pool, task, how):
    """The user got `ImportError: numpy._core.multiarray failed to import`, and no idea why."""
    with pytest.raises(IncompatibleModuleError) as caught:
        pool.submit(task, [1, 2]).result()
    error = caught.value
    assert isinstance(error, ImportError)
    assert (error.name, error.distribution, error.version) == (
        EXTENSION, "numpy", numpy.__version__,
    )  # fmt: skip
    assert error.path.endswith(".so")
    assert error.function.endswith(task.__qualname__)
    for words in (task.__qualname__, EXTENSION, numpy.__version__, 'fallback="process"'):
        assert words in str(error)
    assert "does not support loading in subinterpreters" in str(error.__cause__)
    assert pool.submit(tasks.add, 1, 2).result() == 3
    assert pool.stats()[2:4] == (0, 0)


def test_an_argument_that_needs_it(pool):
    """An array as an argument gave `could not be unpickled`."""
    with pytest.raises(
        IncompatibleModuleError, match=r"tasks\.add needs the extension module numpy"
    ):
        pool.submit(tasks.add, numpy.arange(3), 1).result()


def test_a_task_may_do_without(pool):
    """A task that handles the failed import was taken for one that had failed."""
    assert pool.submit(tasks_late.unless_there_is_none).result() == "ImportError"


def test_the_second_call_does_not_import_it_again(pool):
    """Each call paid for an import that was bound to fail."""
    task = pool.submit
    for _ in range(2):
        with pytest.raises(IncompatibleModuleError, match=EXTENSION):
            task(tasks_numpy.total, [1]).result()
    # Nothing of the package was run for this one, or its module would be there while it is.
    seen = pool.submit(tasks_late.modules_seen_by_an_import).result()
    assert seen == []


def test_in_map(pool):
    """A batch came back without the error, or with one for all of its calls."""
    results = pool.map(tasks_late.late_if, [False, True, False])
    assert next(results) == "no"
    with pytest.raises(IncompatibleModuleError, match=r"tasks_late\.late_if"):
        next(results)


def test_an_initializer_that_needs_it():
    """The pool broke without a word on what had refused."""
    with InterpreterPoolExecutor(1, initializer=tasks_numpy.remember, initargs=(1,)) as pool:
        with pytest.raises(Exception, match="initializer failed") as caught:
            pool.submit(tasks.add, 1, 2).result()
        assert EXTENSION in str(caught.value.__cause__)


# The user's own module, sent by value, since it needs not what its import needs.


@pytest.mark.parametrize("of", ["increment", "step"])
def test_a_function_that_does_not_use_it(pool2, of):
    """A helper beside the FastAPI application could not be run."""
    task = getattr(tasks_numpy, of)
    assert [pool2.submit(task, n).result() for n in range(4)] == [1, 2, 3, 4]
    assert list(pool2.map(task, range(4))) == [1, 2, 3, 4]


def test_its_classes_stay_the_same(pool):
    """What came back was of another class of the same name."""
    moved = pool.submit(tasks_numpy.move, tasks_numpy.Point(1)).result()
    assert type(moved) is tasks_numpy.Point
    assert moved == tasks_numpy.Point(2)


def test_one_of_its_objects_as_an_argument(pool):
    """Only functions were sent by value, not what they are given."""
    assert pool.submit(tasks.identity, tasks_numpy.Point(3)).result() == tasks_numpy.Point(3)


def test_an_initializer_that_does_not_use_it(closing):
    """An initializer was not tried by value."""
    pool = closing(InterpreterPoolExecutor(1, initializer=tasks_numpy.increment, initargs=(1,)))
    assert pool.submit(tasks.add, 1, 2).result() == 3


def test_through_a_tag(executor):
    """The tag of such a module's function was sent in place of the function."""
    assert executor.submit(interpreter(tasks_numpy.increment), 1).result() == 2


def test_one_that_cannot_go_by_value_either(pool):
    """The error said what its module needs, and not why the function alone could not be sent."""
    for _ in range(2):  # the second is known before it is sent
        with pytest.raises(IncompatibleModuleError, match=r"tasks_numpy\.locked needs") as caught:
            pool.submit(tasks_numpy.locked, 1).result()
        (note,) = caught.value.__notes__
        assert "cannot pickle '_thread.lock' object" in note
    with pytest.raises(NotTransferableError, match=r"args\[0\]"):
        pool.submit(tasks_numpy.increment, tasks_numpy.lock).result()
