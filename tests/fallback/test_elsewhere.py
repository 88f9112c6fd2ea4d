"""Calls that no interpreter can run, with a fallback: they give what they would give anywhere."""

import os
import threading
import time
from functools import partial

import pytest

import tasks
import tasks_late
import tasks_numpy
import tasks_swallowing
from subpool import (
    IncompatibleModuleError,
    InterpreterPoolExecutor,
    InterpreterThreadPoolExecutor,
    NotTransferableError,
    PoolError,
    TaskInterrupted,
    TaskTimeout,
    _fallback,
    _methods,
    interpreter,
)
from support import eventually

numpy = pytest.importorskip("numpy")
KINDS = ("thread", "process")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def elsewhere(kind, closing):
    return closing(InterpreterPoolExecutor(1, fallback=kind))


def went(pool, kind):
    return pool.stats()[2 + KINDS.index(kind)]


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(tasks_numpy.total, id="module"),
        pytest.param(tasks_late.late, id="body"),
        pytest.param(tasks_late.later, id="helper's body"),
        pytest.param(lambda numbers: int(numpy.sum(numbers)), id="lambda"),
        pytest.param(partial(tasks_numpy.total, [1, 2]), id="partial"),
    ],
)
def test_the_right_answer(elsewhere, kind, task):
    """With a fallback the call failed all the same, or ran twice."""
    args = () if isinstance(task, partial) else ([1, 2],)
    assert [elsewhere.submit(task, *args).result() for _ in range(3)] == [3, 3, 3]
    assert went(elsewhere, kind) == 3
    assert list(elsewhere.map(task, *([args[0]] * 2 for _ in args))) == [3] * (2 * len(args))


def test_what_an_interpreter_can_run_stays(elsewhere, kind):
    """Everything went to the fallback after the first call that had to."""
    elsewhere.submit(tasks_numpy.total, [1]).result()
    assert elsewhere.submit(tasks.interpreter_id).result() > 0
    assert elsewhere.submit(tasks_numpy.increment, 1).result() == 2  # by value
    assert went(elsewhere, kind) == 1


def test_where(elsewhere, kind):
    """The process was a fork, or the thread one of the user's."""
    pid, thread, in_worker = elsewhere.submit(tasks_numpy.place).result()
    if kind == "thread":
        assert (pid, thread, in_worker) == (os.getpid(), "subpool-thread", False)
    else:
        assert (pid != os.getpid(), thread, in_worker) == (True, "MainThread", True)


def test_a_tag_goes_before_the_executor(closing):
    """The executor's fallback was used although the tag said another."""
    ex = closing(InterpreterThreadPoolExecutor(1, max_interpreters=1, fallback="process"))
    pid, *_ = ex.submit(interpreter(tasks_numpy.place, fallback="thread")).result()
    assert pid == os.getpid()
    pid, *_ = ex.submit(interpreter(tasks_numpy.place)).result()
    assert pid != os.getpid()


def test_what_cannot_go_by_value_goes_there(elsewhere, kind):
    """Once its module went by value, a function with a lock could not be sent anywhere."""
    assert [elsewhere.submit(tasks_numpy.locked, n).result() for n in range(3)] == [0, 1, 2]
    assert went(elsewhere, kind) == 3


def test_arrays_come_back(elsewhere):
    """A result that no interpreter could have was lost on its way."""
    doubled = elsewhere.submit(tasks_numpy.double, numpy.arange(3)).result()
    assert doubled.tolist() == [0, 2, 4]


def test_memory_by_reference_becomes_a_copy_in_a_process(closing):
    """A memoryview argument cannot be pickled."""
    pool = closing(InterpreterPoolExecutor(1, fallback="process"))
    view = memoryview(bytearray(range(6))).cast("B", (2, 3))
    assert pool.submit(tasks_numpy.double, view).result().tolist() == [[0, 2, 4], [6, 8, 10]]


def test_exceptions(elsewhere):
    """An exception lost its attributes, or showed frames of ours."""
    with pytest.raises(tasks_numpy.PartError, match="1 of 2") as caught:
        elsewhere.submit(tasks_numpy.fail, 1, whole=2).result()
    assert type(caught.value) is tasks_numpy.PartError
    assert caught.value.part == 1


def test_interrupts(elsewhere, pipe):
    """`interrupt` said False for a task that ran elsewhere."""
    future = elsewhere.submit(tasks_numpy.spin, pipe[1] if elsewhere is None else None)
    while not future.interrupt():
        time.sleep(0)
    with pytest.raises(TaskInterrupted, match=r"tasks_numpy\.spin was interrupted"):
        future.result()
    assert not future.interrupt()
    assert elsewhere.submit(tasks_numpy.total, [1]).result() == 1


def test_interrupt_all(elsewhere):
    """Only what ran in interpreters was interrupted."""
    elsewhere.submit(tasks_numpy.total, [1]).result()
    future = elsewhere.submit(tasks_numpy.spin)
    while elsewhere.interrupt_all() == 0:
        time.sleep(0)
    assert isinstance(future.exception(), TaskInterrupted)


def test_a_time_limit(elsewhere):
    """The limit held in interpreters only."""
    with pytest.raises(TaskTimeout, match=r"its timeout of 0\.05 s and was interrupted"):
        elsewhere.submit(interpreter(tasks_numpy.spin, timeout=0.05)).result()


def test_a_time_limit_that_passes_before_the_call_goes_elsewhere(elsewhere):
    """It went there as an interrupt that somebody had asked for, and raised TaskInterrupted."""
    with pytest.raises(TaskTimeout, match=r"its timeout of 0\.05 s and was interrupted"):
        elsewhere.submit(interpreter(tasks_swallowing.endless, timeout=0.05)).result()


def test_an_interrupt_that_comes_before_the_call_goes_elsewhere(elsewhere):
    """The worker that hands it over has seen the interrupt; without that it would run for ever."""
    future = elsewhere.submit(tasks_swallowing.endless)
    while not future.interrupt():
        time.sleep(0)
    assert type(future.exception()) is TaskInterrupted


def test_one_that_does_not_react(kind, closing, pipe, monkeypatch):
    """A call of a C function blocked its lane for ever."""
    monkeypatch.setattr(_methods, "_WARNING", 100.0)
    monkeypatch.setattr(_methods, "_GRACE", 0.1)
    pool = closing(InterpreterPoolExecutor(1, fallback=kind))
    task, brief = {"thread": (tasks_numpy.stay, pipe[0]), "process": (tasks_numpy.nap, 0)}[kind]
    os.write(pipe[1], b"x")
    pool.submit(task, brief).result()  # the first call takes time to find out where it goes
    future = pool.submit(interpreter(task, timeout=0.05), brief or 3600)
    said = {"thread": "still runs 0.1 s later", "process": "its process was ended"}[kind]
    with pytest.raises(TaskTimeout, match=said):
        future.result()
    assert pool.submit(tasks_numpy.total, [1, 2]).result() == 3
    os.write(pipe[1], b"x")  # lets the thread go


def test_cancelling_what_waits(elsewhere, kind):
    """What waited for a lane could not be cancelled."""
    elsewhere.submit(tasks_numpy.total, [1]).result()
    most = os.process_cpu_count() or 1
    holding = [elsewhere.submit(tasks_numpy.spin) for _ in range(most)]
    while sum(run.has_begun for run in _fallback._of(elsewhere._pool.number)) < most:
        time.sleep(0)
    waiting = elsewhere.submit(tasks_numpy.total, [1])
    assert waiting.cancel()
    last = elsewhere.submit(tasks_numpy.total, [2])
    elsewhere.shutdown(wait=False, cancel_futures=True)
    assert last.cancelled()
    for future in holding:
        future.cancel() or future.interrupt()
    elsewhere.shutdown()
    assert all(future.done() for future in holding)


def test_context_variables(kind, closing):
    """The values of `context_vars` did not go along."""
    pool = closing(InterpreterPoolExecutor(1, fallback=kind, context_vars=[tasks_numpy.request]))
    token = tasks_numpy.request.set("r1")
    try:
        assert [pool.submit(tasks_numpy.value_of_request).result() for _ in range(2)] == ["r1"] * 2
    finally:
        tasks_numpy.request.reset(token)
    assert pool.submit(tasks_numpy.value_of_request).result() is None


def test_the_initializer_runs_there_too(kind, closing):
    """A task found that its initializer had not run where it did."""
    before = len(tasks_numpy.seen)
    pool = closing(
        InterpreterPoolExecutor(
            1, fallback=kind, initializer=tasks_numpy.remember, initargs=("ready",)
        )
    )
    assert pool.submit(tasks_numpy.remembered).result()[before if kind == "thread" else 0 :] == [
        "ready"
    ]
    assert pool.submit(tasks_numpy.remembered).result()[-1] == "ready"


def test_a_task_whose_body_has_begun_is_not_run_again(elsewhere, kind, pipe):
    """A task that wrote to a file before it met the module wrote twice."""
    future = elsewhere.submit(tasks_late.by_name, "numpy", pipe[1])
    with pytest.raises(IncompatibleModuleError, match="its body had begun"):
        future.result()
    assert os.read(pipe[0], 9) == b"x"
    if kind == "thread":  # a process does not have the pipe
        assert elsewhere.submit(tasks_late.by_name, "numpy", pipe[1]).result() == 6
        assert os.read(pipe[0], 9) == b"x"
    assert went(elsewhere, kind) == (kind == "thread")


def test_on_a_thread_the_objects_are_the_caller_s(closing):
    """The first call of a function got copies, and later ones did not."""
    pool = closing(InterpreterPoolExecutor(1, fallback="thread"))
    numbers = [1]
    for _ in range(2):
        assert pool.submit(tasks_numpy.grow, numbers).result() is numbers
    assert numbers == [1, 4, 4]


def test_to_a_process_go_copies_of_the_moment(closing):
    """What the caller changed after `submit` was sent."""
    pool = closing(InterpreterPoolExecutor(1, fallback="process"))
    for _ in range(2):
        numbers = [1]
        future = pool.submit(tasks_numpy.grow, numbers)
        numbers.append(2)
        assert future.result() == [1, 4]


def test_what_cannot_go_to_a_process(closing):
    """The error spoke of an interpreter, or did not name the part."""
    pool = closing(InterpreterPoolExecutor(1, fallback="process"))
    pool.submit(tasks_numpy.total, [1]).result()
    with pytest.raises(
        NotTransferableError, match=r"args\[0\]\[1\] of tasks_numpy\.total"
    ) as caught:
        pool.submit(tasks_numpy.total, [1, threading.Lock()]).result()
    assert "args[0][1]" in caught.value.path
    with pytest.raises(NotTransferableError, match=r"result\['a'\]\[1\]: _thread\.lock"):
        pool.submit(tasks_numpy.unpicklable).result()


def test_a_process_that_dies(closing):
    """The call's future stayed pending, or the next call was lost with it."""
    pool = closing(InterpreterPoolExecutor(1, fallback="process"))
    with pytest.raises(PoolError, match=r"tasks_numpy\.vanish ran has ended: exit status 3"):
        pool.submit(tasks_numpy.vanish, 3).result()
    assert pool.submit(tasks_numpy.total, [1, 2]).result() == 3


def test_awaited(elsewhere):
    """`run` and its like knew nothing of the fallback."""
    import asyncio

    async def main():
        results = await asyncio.gather(
            *(elsewhere.run(tasks_numpy.total, [n]) for n in range(5)),
            elsewhere.submit(tasks_numpy.total, [7]),
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(elsewhere.run(tasks_numpy.spin), 0.05)
        return results

    assert asyncio.run(main()) == [0, 1, 2, 3, 4, 7]


def test_callbacks(elsewhere):
    """Nobody told the listeners of a call that ended elsewhere."""
    heard = threading.Event()
    future = elsewhere.submit(tasks_numpy.total, [1, 2])
    future.add_done_callback(lambda _: heard.set())
    assert heard.wait(30)
    assert future.result() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_is_not_run_again(check, kind):
    """The process ran the script, which has no guard, from its beginning."""
    out = check(f"""
from subpool import InterpreterPoolExecutor
import numpy as np
print("top")
class Answer:
    def __init__(self, n): self.n = n
def work(n):
    return Answer(int(np.arange(n).sum()))
with InterpreterPoolExecutor(1, fallback={kind!r}) as ex:
    answer = ex.submit(work, 4).result()
    print(answer.n, type(answer) is Answer)
    ex.submit(work, 5)
""")
    assert out == "top\n6 True\n"


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_the_program_waits_for_it(check, kind):
    """What ran elsewhere was lost when the program ended without a shutdown."""
    out = check(f"""
from subpool import InterpreterPoolExecutor
import numpy as np, os, sys
def work(n):
    text = f"{{np.arange(n).sum()}}\\n"
    os.write(1, text.encode())
ex = InterpreterPoolExecutor(1, fallback={kind!r})
ex.submit(work, 4)
ex.submit(work, 5)
""")
    assert sorted(out.split()) == ["10", "6"]


def test_a_bound_on_what_waits(closing, pipe):
    """Calls that go elsewhere at once were not counted, and their queue ate the memory."""
    reader, writer = pipe
    ex = closing(InterpreterPoolExecutor(1, fallback="thread", max_pending=2))
    stay = partial(ex.submit, tasks_numpy.stay, reader)
    os.write(writer, b"x")
    assert stay().result() == b"x"  # now it is known where they go
    held = [stay() for _ in range(os.process_cpu_count() + 2)]
    thread = threading.Thread(target=lambda: held.append(stay()))
    thread.start()
    try:
        eventually(lambda: ex._pool.lined_up == 1, "the third that waits")
    finally:
        os.write(writer, b"x" * (len(held) + 1))
    thread.join()
    assert [future.result() for future in held] == [b"x"] * len(held)
