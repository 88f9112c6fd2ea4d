"""What Django's documents promise of a task backend (docs: ref/tasks), on the memory store."""

import asyncio
import builtins
import enum
import os
import pickle
import threading
from datetime import UTC, datetime, timedelta

import django
import pytest
from dj_app import apps, tasks
from dj_app.models import Color
from django.tasks import TaskResultStatus, default_task_backend, task, task_backends
from django.tasks.exceptions import (
    InvalidTask,
    InvalidTaskBackend,
    TaskResultDoesNotExist,
    TaskResultMismatch,
)
from django.test import override_settings

from subpool import IncompatibleModuleError


def test_a_task_runs_in_an_interpreter_of_this_process(finished):
    result = tasks.where.enqueue()
    assert result.status == TaskResultStatus.READY
    assert result.enqueued_at is not None
    assert (result.started_at, result.finished_at, result.attempts) == (None, None, 0)
    with pytest.raises(ValueError, match="has not finished"):
        _ = result.return_value
    finished(result)
    assert result.status == TaskResultStatus.SUCCESSFUL
    pid, interpreter = result.return_value
    assert pid == os.getpid()
    assert interpreter > 0
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert result.started_at.tzinfo is not None
    # Who has run it, and that it was one attempt.
    assert len(result.worker_ids) == result.attempts == 1
    assert result.worker_ids[0].endswith(
        f".{os.getpid()}.{result.worker_ids[0].split('.')[-2]}.{interpreter}"
    )
    assert result.task == tasks.where
    assert (result.backend, result.errors) == ("default", [])


@pytest.mark.parametrize("one", [tasks.echo, tasks.echo_async], ids=["sync", "async"])
def test_arguments_and_results_are_what_json_holds(finished, one):
    result = one.enqueue(1, (2, "three"), four={"five": None}, six=b"bytes")
    assert result.args == [1, [2, "three"]]
    assert result.kwargs == {"four": {"five": None}, "six": "bytes"}
    finished(result)
    assert result.return_value == [[1, [2, "three"]], {"four": {"five": None}, "six": "bytes"}]


def test_all_of_it_from_an_event_loop(finished):
    async def main():
        result = await tasks.echo_async.aenqueue(1, two=2)
        while not result.is_finished:
            await result.arefresh()
        again = await tasks.echo_async.aget_result(result.id)
        assert again == result
        with pytest.raises(TaskResultDoesNotExist):
            await default_task_backend.aget_result("123")
        return result.return_value

    assert asyncio.run(main()) == [[1], {"two": 2}]


def test_an_argument_that_json_cannot_hold_is_refused_at_once():
    with pytest.raises(TypeError, match="Unsupported type"):
        tasks.echo.enqueue(datetime.now(UTC))


def test_a_result_is_normalized_or_the_task_has_failed(finished):
    good, a_set, nested = finished(
        *(tasks.give.enqueue(kind) for kind in ("tuple", "set", "nested"))
    )
    assert good.return_value == [1, [2, "three"]]
    for bad in (a_set, nested):
        assert bad.status == TaskResultStatus.FAILED
        assert bad.errors[0].exception_class is TypeError
        assert "Unsupported type" in bad.errors[0].traceback
        assert bad._return_value is None


@pytest.mark.parametrize("backend", ["default", "stored"])
def test_values_are_of_no_class_of_the_project(finished, backend):
    # They pass Django's check, and were sent as members of their class, which main may not have.
    Here = enum.StrEnum("Here", "ONE")  # noqa: N806 - a class
    result = tasks.echo.using(backend=backend).enqueue(Here.ONE, color=Color.RED)
    assert [type(result.args[0]), type(result.kwargs["color"])] == [str, str]
    given = tasks.give.using(backend=backend).enqueue("members")
    finished(result, given)
    assert result.return_value == [["one"], {"color": "red"}]
    assert given.status == TaskResultStatus.SUCCESSFUL, given.errors
    assert given.return_value == {"model's": "red", "2": [2]}
    assert type(given.return_value["model's"]) is str


# KeyboardInterrupt: nobody presses keys in an interpreter; the task has raised it.
@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "KeyboardInterrupt", "Mine"])
def test_an_error_is_kept_with_its_class_and_traceback(finished, kind):
    result = finished(tasks.fail.enqueue(kind))
    assert result.status == TaskResultStatus.FAILED
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    (error,) = result.errors
    assert error.exception_class is getattr(builtins, kind, tasks.Mine)
    assert error.traceback.endswith(f"{kind}: it was {kind}\n")
    assert 'tasks.py", line' in error.traceback
    assert "in fail" in error.traceback
    assert result.finished_at >= result.started_at
    # The interpreter lives on.
    assert finished(tasks.echo.enqueue()).status == TaskResultStatus.SUCCESSFUL


def test_an_async_task_fails_the_same(finished):
    (error,) = finished(tasks.fail_async.enqueue()).errors
    assert error.traceback.endswith("ValueError: it was async\n")


def test_wrong_arguments_are_the_task_s_failure(finished):
    (error,) = finished(tasks.where.enqueue(1, 2)).errors
    assert error.exception_class is TypeError


def test_a_library_that_does_not_load_is_named(finished):
    pytest.importorskip("numpy")
    # The interpreter alone knows only that an import has failed.
    (error,) = finished(tasks.import_numpy.enqueue()).errors
    assert error.exception_class is IncompatibleModuleError
    said, way_out = error.traceback.splitlines()[-2:]
    assert "needs the extension module numpy." in said
    assert "give this task to another backend" in way_out
    assert finished(tasks.echo.enqueue()).status == TaskResultStatus.SUCCESSFUL


def test_the_context_has_the_running_result(finished):
    result = finished(tasks.context_of.enqueue(2))
    assert result.return_value == {
        "id": result.id,
        "attempt": 1,
        "status": "RUNNING",
        "stored": "RUNNING",
        "workers": result.worker_ids,
        "started": True,
        "two": 2,
    }


def test_a_running_task_shows_as_running(finished, gate):
    result = tasks.hold.enqueue(*gate.fds)
    gate.wait()
    result.refresh()
    assert result.status == TaskResultStatus.RUNNING
    assert result.attempts == 1
    assert result.started_at is not None
    assert result.started_at == result.last_attempted_at
    assert result.finished_at is None
    gate.open()
    assert finished(result).return_value == "held"


def test_run_after_is_kept_and_the_rest_goes_on(finished):
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    later = tasks.echo.using(run_after=datetime.now(UTC) + timedelta(hours=1)).enqueue()
    due = tasks.echo.using(run_after=soon).enqueue()
    past = tasks.echo.using(run_after=soon - timedelta(hours=1)).enqueue()
    now = tasks.echo.enqueue()
    finished(now, past, due)
    assert soon <= due.started_at
    later.refresh()
    assert later.status == TaskResultStatus.READY
    assert later.task.run_after is not None


def test_priority_then_time_then_order(finished, gate):
    first = tasks.hold.using(backend="single").enqueue(*gate.fds)
    gate.wait()
    past = datetime.now(UTC) - timedelta(hours=1)
    one = tasks.echo.using(backend="single")
    queued = {
        name: one.using(priority=priority, run_after=run_after).enqueue()
        for name, priority, run_after in (
            ("low", -100, None),
            ("second", 0, past),
            ("first", 0, past - timedelta(hours=1)),
            ("third", 0, None),
            ("fourth", 0, None),
            ("high", 100, None),
            ("higher than none", 1, None),
        )
    }
    gate.open()
    finished(first, *queued.values())
    order = sorted(queued, key=lambda name: queued[name].started_at)
    # What was put off goes before what came after its time: else it would never run on a busy site.
    assert order == ["high", "higher than none", "first", "second", "third", "fourth", "low"]
    assert [queued[name].task.priority for name in ("low", "high")] == [-100, 100]


def test_queues(finished):
    assert finished(tasks.preset.enqueue()).task.queue_name == "other"
    with pytest.raises(InvalidTask, match="Queue 'third' is not valid"):
        tasks.echo.using(queue_name="third")
    # QUEUES = []: any.
    result = finished(tasks.echo.using(backend="single", queue_name="third").enqueue())
    assert result.task.queue_name == "third"
    assert single_get(result).task.queue_name == "third"


def single_get(result):
    return task_backends["single"].get_result(result.id)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"priority": 101}, "priority must be a whole number"),
        ({"priority": -101}, "priority must be a whole number"),
        ({"priority": 0.5}, "priority must be a whole number"),
        ({"run_after": datetime(2030, 1, 1)}, "aware datetime"),  # noqa: DTZ001
    ],
)
def test_what_is_not_valid_is_refused(changes, message):
    with pytest.raises(InvalidTask, match=message):
        tasks.echo.using(**changes)


def test_what_an_interpreter_would_not_find_is_refused():
    # It would fail there, with an error that names no reason.
    with pytest.raises(InvalidTask, match="the name of its function"):
        tasks.renamed.enqueue()
    with pytest.raises(InvalidTask, match="module level"):
        task(lambda: None)
    with pytest.raises(InvalidTask, match="first argument of 'context'"):
        task(takes_context=True)(tasks.function)


def test_an_error_of_errors_has_its_traceback(finished):
    (error,) = finished(tasks.fail_nested.enqueue()).errors
    assert error.exception_class is ValueError
    assert "KeyError: 'the cause'" in error.traceback
    assert error.traceback.endswith("ValueError: 'the argument'\n")


def test_results_are_had_by_their_number_everywhere(finished):
    result = finished(tasks.echo.enqueue(1))
    assert tasks.echo.get_result(result.id) == result
    seen = []
    thread = threading.Thread(target=lambda: seen.append(tasks.echo.get_result(result.id)))
    thread.start()
    thread.join()
    assert seen == [result]
    with pytest.raises(TaskResultDoesNotExist):
        tasks.echo.get_result("123")
    with pytest.raises(TaskResultMismatch):
        tasks.fail.get_result(result.id)


def test_a_result_is_a_copy(finished):
    # Who changes what it got must not change what others get.
    result = finished(tasks.echo.enqueue([1]))
    result.return_value[0].append(2)
    result.args[0].append(3)
    assert tasks.echo.get_result(result.id).return_value == [[[1]], {}]
    assert tasks.echo.get_result(result.id).args == [[1]]


@pytest.mark.skipif(django.VERSION < (6, 1), reason="a Task of Django 6.0 does not pickle")
def test_a_result_can_be_pickled(finished):
    result = finished(tasks.echo.enqueue(1))
    assert pickle.loads(pickle.dumps(result)) == result


def test_only_so_many_results_are_kept(finished, gate):
    # 20, by the settings; what waits and what runs does not count.
    running = tasks.hold.using(backend="single").enqueue(*gate.fds)
    gate.wait()
    later = datetime.now(UTC) + timedelta(hours=1)
    waiting = tasks.echo.using(backend="single", run_after=later).enqueue()
    gate.open()
    finished(running)
    results = [tasks.echo.using(backend="single").enqueue(n) for n in range(25)]
    finished(results[-1])
    for result in results[:5]:
        with pytest.raises(TaskResultDoesNotExist):
            single_get(result)
    assert [single_get(result).args for result in results[5:]] == [[n] for n in range(5, 25)]
    assert single_get(waiting).status == TaskResultStatus.READY


def test_django_is_set_up_once_per_interpreter(finished):
    results = finished(*(tasks.ready_and_signals.enqueue("") for _ in range(8)))
    assert {result.return_value[0] for result in results} == {1}


def test_signals(finished):
    result = tasks.echo.using(backend="single").enqueue()
    finished(result)
    enqueued = [entry for entry in apps.signals if entry[2] == result.id]
    sender = "dj_app.backends.Own"  # the backend's class, not the one that it is made of
    assert enqueued == [("task_enqueued", sender, result.id, "READY", None)]
    # The one interpreter of that pool has seen the rest; its other receivers fail, and do no harm.
    # The last entry has what `get_result` gives at that moment.
    _, there = finished(
        tasks.ready_and_signals.using(backend="single").enqueue(result.id)
    ).return_value
    assert there == [
        ["task_started", sender, result.id, "RUNNING", None],
        ["task_finished", sender, result.id, "SUCCESSFUL", "SUCCESSFUL"],
    ]
    failed = finished(tasks.fail.using(backend="single").enqueue("ValueError"))
    _, there = finished(
        tasks.ready_and_signals.using(backend="single").enqueue(failed.id)
    ).return_value
    assert there[-1] == ["task_finished", sender, failed.id, "FAILED", "FAILED"]


def test_what_a_task_activates_ends_with_it(finished):
    one = tasks.language.using(backend="single")
    first = finished(one.enqueue("de")).return_value
    assert first == ["en-us", "UTC"]
    assert finished(one.enqueue()).return_value == first


def test_urls_have_their_prefix_in_each_task(finished):
    # FORCE_SCRIPT_NAME: links in the mails of tasks lost it.
    results = finished(*(tasks.script_prefix.using(backend="single").enqueue() for _ in range(2)))
    assert [result.return_value for result in results] == ["/prefix/"] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_interpreters": 0}, "'max_interpreters' must be a number greater than 0"),
        ({"max_results": None}, "'max_results' must be"),
        ({"store": "redis"}, "'store' must be 'memory' or 'database'"),
        ({"workers": 3}, "there is no option 'workers'"),
        # No lock waits for ever, and no claim was made: OverflowError, each time.
        ({"shutdown_timeout": float("inf")}, "'shutdown_timeout' must be seconds, or None"),
        ({"lease": float("inf"), "store": "database"}, "'lease' must be seconds, not inf"),
        ({"poll_interval": 10**12}, "'poll_interval' must be seconds, not 1000000000000"),
        ({"enqueue_on_commit": "nowhere"}, "not in DATABASES"),
        ({"embedded": False}, "'embedded' cannot be False"),
    ],
)
def test_system_checks(options, message):
    from django.core.checks import run_checks

    backend = "subpool.integrations.django.InterpreterBackend"
    with override_settings(TASKS={"default": {"BACKEND": backend, "OPTIONS": options}}):
        found = [error for error in run_checks() if error.id.startswith("subpool.")]
    assert len(found) == 1
    assert message in found[0].msg
    assert "TASKS['default']" in found[0].msg


def test_the_database_store_needs_its_app():
    from django.core.checks import run_checks

    backend = "subpool.integrations.django.InterpreterBackend"
    here = {"default": {"BACKEND": backend, "OPTIONS": {"store": "database"}}}
    with override_settings(TASKS=here, INSTALLED_APPS=["dj_app"]):
        found = [error for error in run_checks() if error.id.startswith("subpool.")]
    assert [error.id for error in found] == ["subpool.E002"]


def test_the_checks_have_nothing_against_these_settings():
    from django.core.checks import run_checks

    assert [error for error in run_checks() if error.id.startswith("subpool.")] == []


def test_options_that_the_checks_refuse_do_not_run():
    backend = "subpool.integrations.django.InterpreterBackend"
    tasks_of_it = {"default": {"BACKEND": backend, "OPTIONS": {"workers": 3}}}
    with (
        override_settings(TASKS=tasks_of_it),
        pytest.raises(InvalidTaskBackend, match="there is no option 'workers'"),
    ):
        tasks.echo.enqueue()


def test_what_became_invalid_is_refused_when_it_is_enqueued():
    # The module's task was made when other settings held.
    backend = "subpool.integrations.django.InterpreterBackend"
    with (
        override_settings(TASKS={"default": {"BACKEND": backend, "QUEUES": ["third"]}}),
        pytest.raises(InvalidTask, match="Queue 'default' is not valid"),
    ):
        tasks.echo.enqueue()
