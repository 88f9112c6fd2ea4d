"""A table of values that are too deep, too large, lie, block, or change while they are looked at.

Every row guards against the same bugs: a process that dies of a stack overflow, a future that never
ends, a worker that is lost, a lock that is held while somebody's code runs.
"""

import functools
import pickle
import sys
import threading

import bombs
import pytest
from bombs import Boom

import tasks
from subpool import NotTransferableError, TaskTimeout, interpreter

REFUSED = NotTransferableError


@pytest.fixture(autouse=True)
def lives_on(pool):
    """After each row, the same worker still works."""
    before = pool.submit(tasks.interpreter_id).result()
    yield
    assert pool.submit(tasks.interpreter_id).result() == before


def check(future, expected):
    error = future.exception(timeout=60)
    got = future.result() if error is None else error
    if isinstance(expected, type):
        assert type(got) is expected, repr(got)[:200]
    else:
        assert got == expected


ARGUMENTS = [
    ("nested", REFUSED),
    ("linked_list", REFUSED),
    ("cyclic", "list"),
    ("large_int", "int"),
    ("dict_that_grows", REFUSED),
]


@pytest.mark.parametrize(("name", "expected"), ARGUMENTS)
def test_an_argument(pool, name, expected):
    check(pool.submit(bombs.type_name, getattr(bombs, name)()), expected)


RESULTS = [
    ("nested_dict", REFUSED),
    ("nested_without_a_limit", REFUSED),
    ("cyclic", list),
    ("large_int", int),
    # Before 3.14, pickle leaves out without a word what is gone.
    ("list_that_shrinks", REFUSED if sys.version_info >= (3, 14) else list),
    ("dict_that_grows", REFUSED),
    ("dict_reduced_to_its_keys", dict),
    ("give_meta", REFUSED),
    ("view_that_was_released", REFUSED),
    ("view_of_what_changes", memoryview),
    ("a_generator", REFUSED),
]


@pytest.mark.parametrize(("name", "expected"), RESULTS)
def test_a_result(pool, name, expected):
    check(pool.submit(getattr(bombs, name)), expected)


ERRORS = [
    ("chain_of_causes", ValueError),
    ("cycle_of_causes", ValueError),
    ("nested_groups", ExceptionGroup),
    ("error_of_itself", ValueError),
    ("error_of_something_deep", ValueError),
    ("error_with_notes", ValueError),
    ("error_whose_notes_are_none", ValueError),
    ("error_of_a_large_int", ValueError),
    ("error_of_surrogates", ValueError),
    ("deep_traceback", ValueError),
    ("throw_deep_repr", bombs.ErrorReprDeep),
    ("throw_meta", Boom),
]


@pytest.mark.parametrize(("name", "expected"), ERRORS)
def test_an_exception(pool, name, expected):
    check(pool.submit(getattr(bombs, name)), expected)


@pytest.mark.parametrize(("name", "expected"), [("LongList", "=="), ("Dict", REFUSED)])
def test_a_container_that_lies_about_its_content(pool, name, expected):
    lies = getattr(bombs, name)
    check(pool.submit(bombs.type_name, lies()), name if expected == "==" else expected)
    check(pool.submit(bombs.give, name), lies if expected == "==" else expected)


@pytest.mark.parametrize("name", ["EndlessItems", "EndlessInItself"])
def test_a_result_whose_pickling_does_not_end(pool, name):
    """The task is running until its result is encoded, and can be interrupted until then."""
    check(pool.submit(interpreter(timeout=0.2)(bombs.give), name), TaskTimeout)


def test_keys_that_raise_when_they_are_hashed(pool):
    """A dict is built of them on the other side."""
    check(pool.submit(bombs.type_name, bombs.dict_with_such_keys("worker")), REFUSED)
    check(pool.submit(bombs.dict_with_such_keys, "main"), REFUSED)
    check(pool.submit(bombs.type_name, bombs.MetaValue()), REFUSED)
    check(pool.submit(bombs.type_name, bombs.MetaValue), "Meta")


@pytest.mark.parametrize("what", ["raises", "exits", "submits"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_finalizer(pool, what):
    """Of a result and of an argument, in the worker and in main."""
    check(pool.submit(bombs.leave, what), bombs.Leaves)
    check(pool.submit(bombs.type_name, bombs.leave(what)), "Leaves")
    check(pool.submit(bombs.finalized), 3 if what == "submits" else None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_buffers_in_python(pool):
    """Their code runs when a view is made, and when it is released."""
    for how, raised in ("raises", Boom), ("nonsense", TypeError):
        with pytest.raises(raised):
            memoryview(bombs.Exports(how))
        check(pool.submit(bombs.type_name, bombs.Exports(how)), "Exports")
    check(pool.submit(bombs.type_name, memoryview(bombs.Exports("well"))), "memoryview")
    check(pool.submit(bombs.type_name, pickle.PickleBuffer(bombs.Exports("well"))), REFUSED)


def test_wrappers_without_end(pool):
    """The router peels partials and tags off in a loop."""
    flat = tagged = tasks.add
    for _ in range(20_000):
        flat, tagged = functools.partial(flat), interpreter(tagged)
    check(pool.submit(flat, 1, 2), 3)
    check(pool.submit(tagged, 1, 2), 3)
    deep = tasks.add
    for _ in range(50_000):
        deep = functools.partial(deep)
        deep.kept = True  # such a one is not merged with what it wraps
    check(pool.submit(deep, 1, 2), RecursionError)


def test_many_arguments(pool):
    check(pool.submit(bombs.count, *[""] * 100_000), 100_000)


# What blocks or submits where we call it


@pytest.fixture(autouse=True)
def blocking(monkeypatch):
    """Fresh events for what blocks in main."""
    monkeypatch.setattr(bombs, "entered", threading.Event())
    monkeypatch.setattr(bombs, "go_on", threading.Event())


class Blocks:
    """Waits in main until others have submitted and have their results."""

    def __reduce__(self):
        bombs.block_in_main()
        return int, ()


def test_a_reduce_that_blocks_holds_up_its_own_submit_only(pool):
    thread = threading.Thread(target=lambda: pool.submit(tasks.identity, Blocks()).result())
    thread.start()
    bombs.entered.wait()
    check(pool.submit(tasks.add, 1, 2), 3)
    seen = threading.Event()
    pool.submit(tasks.add, 1, 2).add_done_callback(lambda _: seen.set())
    seen.wait()
    bombs.go_on.set()
    thread.join()


@pytest.mark.parametrize("listened", [False, True])
def test_a_result_that_blocks_when_it_is_loaded(pool, *, listened):
    """In the thread that asks for it, or on the completer: others get theirs."""
    future = pool.submit(bombs.blocks_at_load)
    if listened:
        future.add_done_callback(lambda _: None)
    thread = threading.Thread(target=future.result)
    thread.start()
    bombs.entered.wait()
    check(pool.submit(tasks.add, 1, 2), 3)
    seen = threading.Event()
    pool.submit(tasks.add, 1, 2).add_done_callback(lambda _: seen.set())
    seen.wait()
    bombs.go_on.set()
    thread.join()


def test_keys_that_submit_when_a_result_is_loaded(pool, monkeypatch):
    monkeypatch.setattr(bombs.Submits, "call", lambda: pool.submit(tasks.add, 0, 1).result())
    for listened in False, True:
        future = pool.submit(bombs.keys_that_submit)
        if listened:
            future.add_done_callback(lambda _: None)
        assert len(future.result(60)) == 2


def test_a_buffer_that_submits_when_it_is_released(pool):
    """Whoever clears the graveyard runs this, and holds no lock."""
    released = threading.Event()

    class Exporter:
        def __buffer__(self, flags):
            return memoryview(b"content")

        def __release_buffer__(self, view):
            assert pool.submit(tasks.add, 1, 2).result() == 3
            released.set()

    future = pool.submit(bombs.type_name, memoryview(Exporter()))
    check(future, "memoryview")
    released.wait()


# Trust


def test_a_pickle_runs_code_where_it_is_loaded(pool):
    """The trust model: who can make a task return what they like can run code in main.

    docs/reliability/hostile.md says so; pickles from elsewhere are never loaded.
    """
    bombs.RAN.clear()
    future = pool.submit(bombs.give, "RunsCode")
    assert future.result() == threading.get_ident()
    (where,) = bombs.RAN  # in the thread that asked, and not before
    assert where == threading.get_ident()
    check(pool.submit(bombs.count, bombs.RunsCode()), 1)
    assert pool.submit(bombs.ran).result() != bombs.RAN
