"""What code in workers asks main, by `subpool._questions`."""

import os

import pytest

from subpool import _questions
from tasks import identity


class Unsendable(Exception):  # noqa: N818
    def __reduce__(self):
        raise TypeError("not this one")


def raise_unsendable():
    raise Unsendable("what it said")


def test_main_answers(pool):
    # In main, with main's modules: a worker's own `support` has no such attribute.
    answer = pool.submit(_questions.ask, "os", "getpid").result()
    assert answer == os.getpid()
    assert pool.submit(_questions.ask, "operator", "add", [1], [2]).result() == [1, 2]


def test_what_main_raises_is_raised_in_the_worker(pool):
    with pytest.raises(ZeroDivisionError):
        pool.submit(_questions.ask, "operator", "truediv", 1, 0).result()
    with pytest.raises(ModuleNotFoundError):
        pool.submit(_questions.ask, "no_such_module", "f").result()
    with pytest.raises(RuntimeError, match="Unsendable: what it said"):
        pool.submit(_questions.ask, __name__, "raise_unsendable").result()
    assert pool.submit(identity, 1).result() == 1


def test_many_workers_ask_at_once(pool2):
    # Each gets its own answer.
    asked = [pool2.submit(_questions.ask, "operator", "neg", n) for n in range(200)]
    assert [future.result() for future in asked] == [-n for n in range(200)]


def test_nobody_answers_outside_of_workers():
    with pytest.raises(RuntimeError, match="does not answer"):
        _questions.ask("os", "getpid")


def test_a_question_is_bytes(pool):
    with pytest.raises(ValueError, match="a question is bytes"):
        pool.submit(ask_wrongly).result()


def ask_wrongly():
    import _subpool_worker

    _subpool_worker.ask_main("text")
