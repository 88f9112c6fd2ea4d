"""A table of objects that misbehave: what each ends as, and that the worker lives on.

Every row guards against the same bugs: a future that never ends, a worker that dies, a process
that aborts, an error that hides the hostile method's own.
"""

import traceback

import hostile_objects as hostile
import pytest

import tasks
from subpool import NotTransferableError

REFUSED = NotTransferableError


@pytest.fixture(autouse=True)
def lives_on(pool):
    """After each row, the same worker still works."""
    before = pool.submit(tasks.interpreter_id).result()
    yield
    assert pool.submit(tasks.interpreter_id).result() == before
    assert pool.submit(tasks.add, 1, 2).result() == 3


def names(rows):
    return [row[0] for row in rows]


def outcome(future):
    """What a future ended as: its value, or its exception."""
    error = future.exception(timeout=60)
    return future.result() if error is None else error


def check(got, expected, texts):
    if isinstance(expected, type) and issubclass(expected, BaseException):
        assert type(got) is expected, got
        for text in texts:
            assert text in str(got)
    else:
        assert got == expected


ARGUMENTS = [
    ("ReduceRaises", REFUSED, ["args[0]", "Boom", "hostile __reduce__"]),
    ("ReduceGivesNonsense", REFUSED, ["args[0]", "__reduce__ must return a string or tuple"]),
    ("ReduceWithoutEnd", REFUSED, ["args[0]"]),
    ("GetstateRaises", REFUSED, ["args[0]", "hostile __getstate__"]),
    ("GetattrRaises", "taken", []),
    ("GetattributeRaises", REFUSED, ["args[0]", "hostile __getattribute__"]),
    ("LoadRaises", REFUSED, ["arguments of hostile_objects.take", "Boom: hostile"]),
    ("LoadRaisesBase", REFUSED, ["arguments of hostile_objects.take", "BoomBase: hostile"]),
    ("LoadExits", REFUSED, ["arguments of hostile_objects.take", "SystemExit: 3"]),
    ("LoadRaisesInWorker", REFUSED, ["arguments", "hostile in the worker"]),
    ("LoadRaisesInMain", "taken", []),
    ("SetstateRaises", REFUSED, ["arguments", "hostile __setstate__"]),
    ("ReprRaises", REFUSED, ["args[0]", "TypeError: not this one"]),
    ("HashRaises", "taken", []),
    ("ClassLies", REFUSED, ["args[0]", "hostile __class__"]),
    ("ReduceRaisesWithoutText", REFUSED, ["args[0]", "StrRaises"]),
    ("LoadRaisesWithoutText", REFUSED, ["arguments", "StrRaises"]),
]


@pytest.mark.parametrize(("name", "expected", "texts"), ARGUMENTS, ids=names(ARGUMENTS))
def test_a_hostile_argument(pool, name, expected, texts):
    """Encoded in main, decoded in the worker."""
    check(outcome(pool.submit(hostile.take, getattr(hostile, name)())), expected, texts)


@pytest.mark.parametrize(("name", "expected", "texts"), ARGUMENTS, ids=names(ARGUMENTS))
def test_a_hostile_keyword_deep_inside(pool, name, expected, texts):
    """The search for the culprit walks past the hostile object's siblings."""
    value = {"harmless": [1, 2], "list": [0, getattr(hostile, name)()]}
    texts = [text.replace("args[0]", "kwargs['key']['list'][1]") for text in texts]
    check(outcome(pool.submit(hostile.take, 1, key=value)), expected, texts)


RESULTS = [
    ("ReduceRaises", REFUSED, ["result of hostile_objects.make", "hostile __reduce__"]),
    ("ReduceRaisesBase", REFUSED, ["hostile_objects.make", "hostile __reduce__"]),
    ("ReduceGivesNonsense", REFUSED, ["result", "__reduce__ must return a string or tuple"]),
    ("ReduceWithoutEnd", REFUSED, ["result"]),
    ("GetstateRaises", REFUSED, ["result", "hostile __getstate__"]),
    ("GetattributeRaises", REFUSED, ["result", "hostile __getattribute__"]),
    ("LoadRaises", REFUSED, ["result of hostile_objects.make", "Boom: hostile"]),
    ("LoadRaisesInMain", REFUSED, ["result of hostile_objects.make", "hostile in main"]),
    ("LoadRaisesInWorker", "main", []),
    ("SetstateRaises", REFUSED, ["result", "hostile __setstate__"]),
    ("ReprRaises", REFUSED, ["result", "TypeError: not this one"]),
    ("ClassLies", REFUSED, ["result", "hostile __class__"]),
    ("ReduceRaisesWithoutText", REFUSED, ["result", "StrRaises"]),
    ("LoadRaisesWithoutText", REFUSED, ["result of hostile_objects.make", "StrRaises"]),
]


@pytest.mark.parametrize(("name", "expected", "texts"), RESULTS, ids=names(RESULTS))
def test_a_hostile_result(pool, name, expected, texts):
    """Encoded in the worker, decoded in main."""
    check(outcome(pool.submit(hostile.make, name)), expected, texts)


@pytest.mark.parametrize("name", ["HashRaises", "GetattrRaises"])
def test_a_result_that_is_hostile_to_touch_only(pool, name):
    """`if result:` or `result == …` in our code would raise."""
    future = pool.submit(hostile.make, name)
    assert type(future.result()) is getattr(hostile, name)
    seen = []
    future.add_done_callback(seen.append)
    assert len(seen) == 1


@pytest.mark.parametrize("listened", [False, True])
@pytest.mark.parametrize("name", ["LoadRaisesBase", "LoadExits"])
def test_a_result_that_exits_when_it_is_unpickled(pool, gate, name, listened):
    """No Exception: it ended the completer, or the program, instead of the future."""
    import threading

    blocker = pool.submit(tasks.block, *gate.fds)
    future = pool.submit(hostile.make, name)
    done = threading.Event()
    if listened:
        future.add_done_callback(lambda _: done.set())
    gate.open()
    blocker.result()
    if listened:
        done.wait()
    check(future.exception(timeout=60), REFUSED, ["result of hostile_objects.make"])


ERRORS = [
    ("InitWants", {"code": 3}, ["wants a code"]),
    ("InitRaises", ["text"], ["text"]),
    ("ErrorReduceRaises", ["t"], ["t"]),
    ("ErrorReduceRaisesBase", ["t"], ["t"]),
    ("ErrorReduceGivesNoException", ["t"], ["t"]),
    ("ErrorStrAndReduceRaise", [], []),
    ("ErrorStrRaisesBase", [], []),
    ("ErrorDictIsHostile", ["t"], ["t"]),
    ("ErrorCauseIsCyclic", ["t"], ["t"]),
    ("ErrorEqRaises", ["t"], ["t"]),
    ("StrRaises", [], []),
    ("ErrorReduceRaisesWithoutText", ["t"], ["t"]),
    ("ErrorLoadRaisesWithoutText", ["t"], ["t"]),
    ("ErrorLoadExits", ["t"], ["t"]),
    ("ErrorReduceGivesAnObject", ["t"], ["t"]),
    ("ErrorReduceGivesALiar", ["t"], ["t"]),
    ("ErrorIsFrozen", [5], ["5"]),
    ("ErrorSetattrRaises", ["t"], ["t"]),
    ("ErrorGetattributeRaises", ["t"], []),
    ("ErrorClassLies", ["t"], ["t"]),
    ("ErrorArgumentsAreHostile", [], []),
    ("ErrorArgumentsGrow", [], []),
    ("Boom", [hostile.boom], ["boom"]),
]


@pytest.mark.parametrize("listened", [False, True])
@pytest.mark.parametrize(("name", "arguments", "texts"), ERRORS, ids=names(ERRORS))
def test_a_hostile_exception(pool, gate, *, name, arguments, texts, listened):
    """Raised in the worker, taken apart there, and rebuilt in main as what it was."""
    expected = getattr(hostile, name)
    kwargs = arguments if isinstance(arguments, dict) else {}
    args = () if kwargs else arguments
    blocker = pool.submit(tasks.block, *gate.fds)
    future = pool.submit(hostile.throw, name, *args, **kwargs)
    seen = []
    if listened:
        future.add_done_callback(seen.append)
    gate.open()
    blocker.result()
    error = future.exception(timeout=60)
    check(error, expected, texts)
    assert traceback.extract_tb(vars(BaseException)["__traceback__"].__get__(error))[-1].name
    with pytest.raises(expected):
        future.result()


@pytest.mark.parametrize(
    "make",
    [hostile.CallRaisesName, hostile.CallWithStrangeName],
    ids=lambda make: make.__name__,
)
def test_a_callable_with_a_hostile_name(pool, make):
    """Its name is asked for each call, and for each error message."""
    got = outcome(pool.submit(make()))
    assert got == "called" or type(got) in (REFUSED, hostile.Boom), got


def test_a_base_exception_out_of_reduce_comes_out_of_submit(pool):
    """KeyboardInterrupt during encoding is the caller's, not the task's."""
    with pytest.raises(hostile.BoomBase):
        pool.submit(hostile.take, hostile.ReduceRaisesBase())


def test_a_tag_around_something_hostile(executor):
    """`update_wrapper` reads the names of what it wraps."""
    from subpool import interpreter

    try:
        tagged = interpreter(hostile.CallRaisesName())
    except hostile.Boom:
        return
    got = outcome(executor.submit(tagged))
    assert got == "called" or type(got) in (REFUSED, hostile.Boom), got


def test_an_argument_that_submits_while_it_is_pickled(pool):
    """Encoding holds no lock that a nested submit would want."""

    class Nested:
        def __reduce__(self):
            return int, (pool.submit(tasks.add, 1, 2).result(),)

    assert pool.submit(tasks.identity, Nested()).result() == 3


def test_an_argument_that_shuts_the_pool_down_while_it_is_pickled(closing):
    """The pool was open when `submit` looked."""
    from subpool import InterpreterPoolExecutor

    pool = closing(InterpreterPoolExecutor(1))
    pool.warm_up()

    class Closes:
        def __reduce__(self):
            pool.shutdown()
            return int, ()

    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(tasks.identity, Closes())
