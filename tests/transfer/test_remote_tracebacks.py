"""The traceback of a task stands where tracebacks stand, and every tool can show it."""

import inspect
import io
import logging
import pdb  # noqa: T100 - what is tested
import traceback

import pytest

import tasks
import tasks_exceptions as made
from subpool import InterpreterPoolExecutor


@pytest.fixture(scope="module")
def shared():
    """One worker for all: failing tasks do not harm it."""
    with InterpreterPoolExecutor(1) as pool:
        pool.submit(tasks.nothing).result()
        yield pool


def here(fn, *args):
    """Call it in main; give the exception without this function's frame."""
    try:
        fn(*args)
    except Exception as error:
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError("it did not fail")


def frames(error):
    return [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (made.step, (3,)),
        (made.chain, ()),
        (made.hidden_context, ()),
        (made.missing_file, ()),
        (made.decode, ()),
        (made.parse, ()),
        (made.group, ()),
        (made.misspell, ("name",)),
        (made.misspell, ("attribute",)),
        (made.misspell, ("lock",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_reads_as_in_main(shared, fn, args):
    """Line, function, source, columns, chain, notes, hints: each was lost in some version."""
    remote = shared.submit(fn, *args).exception()
    assert traceback.format_exception(remote) == traceback.format_exception(here(fn, *args))


def test_the_callers_frames_come_first(shared):
    """Without them nobody knows which of many calls failed."""

    def caller():
        return shared.submit(made.step, 1).result()

    error = here(caller)
    assert [frame.f_code.co_name for frame, _ in frames(error)] == ["caller", "step", "step"]
    assert all(frame.f_back is None for frame, _ in frames(error)[1:])


def test_raising_twice_does_not_pile_up(shared):
    """Each `result()` raises the same object, and put its frames before those of the last."""
    future = shared.submit(made.step, 1)
    first = here(future.result)
    for _ in range(3):
        again = here(future.result)
        assert again is first
        assert len(frames(again)) == 2
    with pytest.raises(ZeroDivisionError):
        future.result()


def test_a_recursion_without_end(shared):
    """A thousand frames, in a few lines and in little memory."""
    error = shared.submit(made.recursion).exception()
    assert type(error) is RecursionError
    assert "[Previous line repeated" in "".join(traceback.format_exception(error))
    assert len({id(frame) for frame, _ in frames(error)}) < 5


def test_tools_find_their_way(shared):
    """They look at code objects, lines and globals, not at text."""
    error = shared.submit(made.step, 2).exception()
    innermost = inspect.getinnerframes(error.__traceback__)[-1]
    assert innermost.function == "step"
    assert innermost.code_context == ["    return 1 / number + sum(range(3))\n"]
    code = innermost.frame.f_code
    assert inspect.getsource(code) == inspect.getsource(made.step)
    assert code.co_qualname == "step"
    assert innermost.frame.f_globals["__name__"] == "tasks_exceptions"
    traceback.clear_frames(error.__traceback__)


def test_pdb_goes_through_it(shared):
    """`pdb.post_mortem` walks frames and asks each for its source."""
    error = shared.submit(made.step, 1).exception()
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("where\nlist\np __name__\nup\nq\n"), stdout=out)
    debugger.use_rawinput = False
    debugger.reset()
    debugger.interaction(None, error.__traceback__)
    text = out.getvalue()
    assert "->     return 1 / number + sum(range(3))" in text.replace("\t", " ")
    assert "'tasks_exceptions'" in text


def test_it_is_logged(shared, caplog):
    """`logging.exception` formats the exception being handled."""
    try:
        shared.submit(made.chain).result()
    except ValueError:
        logging.getLogger("some").exception("it failed")
    assert "KeyError: 'key'" in caplog.text
    assert "raise WantsTwo(1, 2) from error" in caplog.text


def test_a_nested_tag_shows_no_frame_of_ours(shared):
    """The tag of a nested call is a function of ours, between two of the user's."""
    error = shared.submit(made.calls_a_tag).exception()
    assert [frame.f_code.co_name for frame, _ in frames(error)] == ["calls_a_tag", "step", "step"]


PROGRAM = """\
import subpool

def fails(x):
    return 1 / x

if True:
    pool = subpool.InterpreterPoolExecutor(1)
    future = pool.submit(fails, 0)
    _ = future.exception(), pool.shutdown()

future.result()
"""


@pytest.mark.parametrize("how", ["file", "-c", "-i"])
def test_source_that_is_in_no_file(script, how):
    """A worker has no source of what was typed; main has."""
    _, _, err = script(PROGRAM, how=how)
    file = {"file": "program.py", "-c": "<string>", "-i": "<stdin>"}[how]
    lines = err[err.rindex('File "') :].splitlines()
    assert file in lines[0]
    assert lines[0].endswith("in fails")
    assert [line.strip() for line in lines[1:4]] == [
        "return 1 / x", "~~^~~", "ZeroDivisionError: division by zero",
    ]  # fmt: skip
    if how != "-i":
        assert "future.result()" in err


def test_a_failure_does_not_import_traceback(pool):
    """Formatting it in the worker cost each worker the import of `traceback` and its like."""
    assert not pool.submit(tasks.is_loaded, "traceback").result()
    pool.submit(made.chain).exception()
    assert not pool.submit(tasks.is_loaded, "traceback").result()
