"""`manage.py subpool_worker`: what happens to tasks when their workers come, go, and are killed."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from dj_app import tasks
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from subpool.integrations.django import InterpreterBackend
from subpool.integrations.django.stores import Record, utc_now
from support import eventually as soon

BACKEND = "subpool.integrations.django.InterpreterBackend"
LONG = 60

# What the database has no part in is tried on one, to save time.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)


@pytest.fixture
def start(database, child_env, tmp_path):
    """Start a worker on the database; it is killed at the test's end if it still is."""
    settings = connections[database].settings_dict
    place = (
        {"DJ_STORED_SQLITE": str(settings["NAME"])}
        if connections[database].vendor == "sqlite"
        else {"DJ_STORED_POSTGRES": settings["HOST"]}
    )
    path = [str(tmp_path), str(Path(__file__).parent.parent), child_env["PYTHONPATH"]]
    env = (
        child_env
        | place
        | {
            "PYTHONPATH": os.pathsep.join(path),
            "DJANGO_SETTINGS_MODULE": "dj_stored_settings",
        }
    )
    with contextlib.ExitStack() as ends:

        def start(*args, fds=(), **more):
            command = [sys.executable, "-m", "django", "subpool_worker", *args]
            worker = subprocess.Popen(
                command,
                env=env | more,
                pass_fds=fds,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            ends.callback(end, worker)
            return worker

        yield start


def end(worker):
    """Kill what a failed test has left, and what that has started: it would hold the pipe open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate()


@pytest.fixture
def enqueue(store):
    """Enqueue calls of a task; give their ids."""

    def enqueue(task, calls, **fields):
        ids = [f"{task} {number}" for number in range(len(calls))]
        for one, args in zip(ids, calls, strict=True):
            store.add(
                Record(id=one, task=f"dj_app.tasks.{task}", backend="default", args=args, **fields)
            )
        return ids

    return enqueue


@pytest.fixture
def enqueue_task(database):
    """Enqueue calls of a task as a project does: through the backend."""
    backend = InterpreterBackend(
        "default",
        {
            "QUEUES": ["default", "other"],
            "OPTIONS": {"store": "database", "database": database, "enqueue_on_commit": False},
        },
    )

    def enqueue_task(task, calls):
        return [backend.enqueue(task, args, {}) for args in calls]

    return enqueue_task


@pytest.fixture
def holding(enqueue, gate):
    """Enqueue tasks that wait to be let go; give their ids."""
    return lambda count, **fields: enqueue("hold", [list(gate.fds)] * count, **fields)


def eventually(condition, what):
    """As the others' one, but not on the core that the workers need."""
    soon(lambda: condition() or select.select([], [], [], 0.01)[0], what)


def ends(worker, code=0):
    out, _ = worker.communicate(timeout=LONG)
    assert worker.returncode == code, out
    return out


def states(rows):
    return Counter(rows.values_list("status", flat=True))


def test_two_processes_share_one_queue(start, enqueue_task, holding, rows, gate, times):  # noqa: PLR0917 - fixtures
    """Each of 2,000 tasks (--long) is run once, by one of them, and both have work."""
    count = len(times(300, long=2000))
    enqueue_task(tasks.echo, [[number] for number in range(count)])
    holding(4, priority=1)  # as many as they have interpreters: both begin at the same time
    workers = [start("--batch", fds=gate.fds) for _ in range(2)]
    gate.wait(4)
    gate.open(4)
    for worker in workers:
        ends(worker)
    assert states(rows) == {"SUCCESSFUL": count + 4}
    assert set(rows.values_list("attempts", flat=True)) == {1}
    by_process = Counter(row.worker_ids[0].rpartition(".")[0] for row in rows.only("worker_ids"))
    assert len(by_process) == 2
    echoes = rows.filter(task="dj_app.tasks.echo")
    assert all(row.return_value == [row.args, {}] for row in echoes)


def test_killed_in_the_middle(start, enqueue_task, holding, rows, gate, tmp_path, times):  # noqa: PLR0917 - fixtures
    """kill -9 of one while another is at work, then of that one, and a third: every task ends."""
    seen = tmp_path / "seen"
    count = len(times(300, long=1000))
    enqueue_task(tasks.append, [[str(seen), str(number)] for number in range(count)])
    holding(
        4, priority=-1
    )  # so that it is never too late: these end when nobody is killed any more
    orphans = 0
    workers = [start(fds=gate.fds, DJ_STORED_LEASE="1.5") for _ in range(2)]
    for part, worker in zip((5, 2), workers, strict=True):
        eventually(lambda n=count // part: states(rows)["SUCCESSFUL"] >= n, f"1 in {part} tasks")
        mine = rows.filter(claimant__contains=f".{worker.pid}.")
        eventually(mine.exists, "work of its own")
        worker.kill()
        assert worker.wait() == -signal.SIGKILL
        orphans += mine.count()
    gate.open(4)
    last = start(fds=gate.fds, DJ_STORED_LEASE="1.5")
    eventually(lambda: states(rows) == {"SUCCESSFUL": count + 4}, "the end of all tasks")
    last.send_signal(signal.SIGTERM)
    ends(last)
    assert set(seen.read_text().split()) == {str(number) for number in range(count)}
    again = rows.filter(attempts__gt=1).count()
    assert again <= orphans, "a task was run again that nobody had when its process was killed"


@on_postgres
def test_connections_are_cut(start, enqueue, rows, database):
    """As by a restart of the server, again and again: each task ends well, as does the worker."""
    enqueue("echo", [[number] for number in range(300)])
    worker = start()
    for count in (50, 100, 150, 200):
        eventually(lambda n=count: states(rows)["SUCCESSFUL"] >= n, f"the end of {count} tasks")
        with connections[database].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
    eventually(lambda: states(rows) == {"SUCCESSFUL": 300}, "the end of all tasks")
    worker.send_signal(signal.SIGTERM)
    ends(worker)


@on_postgres
def test_sigterm_drains(start, enqueue, holding, rows, gate):
    """What runs ends, what waits stays for others, and the process says that all is well."""
    holding(2)
    worker = start(fds=gate.fds)
    gate.wait(2)
    enqueue("echo", [[]])
    worker.send_signal(signal.SIGTERM)
    assert "interpreters for tasks" in worker.stdout.readline()
    assert worker.stdout.readline().startswith("SIGTERM: finishing what runs")
    gate.open(2)
    ends(worker)
    assert states(rows.filter(task="dj_app.tasks.hold")) == {"SUCCESSFUL": 2}
    waiting = rows.get(task="dj_app.tasks.echo")
    assert (waiting.status, waiting.claimant, waiting.attempts) == ("READY", "", 0)


@on_sqlite
def test_what_was_claimed_in_advance_is_given_back(start, enqueue, holding, rows, gate):
    """A process that has claimed many small tasks, and then runs a long one, holds up nobody."""
    enqueue("echo", [[number] for number in range(300)], priority=1)
    holding(2)
    enqueue("echo_async", [[number] for number in range(20)], priority=-1)
    first = start(fds=gate.fds)
    gate.wait(2)
    ends(start("--max-tasks", "20"))
    assert states(rows.filter(task="dj_app.tasks.echo_async")) == {"SUCCESSFUL": 20}
    first.send_signal(signal.SIGTERM)
    gate.open(2)
    ends(first)


@on_sqlite
def test_second_signal_gives_back_what_runs(start, enqueue, rows, tmp_path, pipe):
    """An endless task is interrupted, and another process may try it; the exit code says so."""
    reader, writer = pipe
    enqueue("endless", [[str(tmp_path / "log"), writer]])
    worker = start(fds=[writer])
    assert os.read(reader, 1)
    worker.send_signal(signal.SIGINT)
    worker.stdout.readline()
    assert worker.stdout.readline().startswith("SIGINT: finishing what runs")
    worker.send_signal(signal.SIGTERM)
    assert "interrupting" in ends(worker, 4)
    assert (tmp_path / "log").read_text() == "cleaned up\n"
    row = rows.get()
    assert (row.status, row.claimant, row.attempts) == ("READY", "", 1)


@on_sqlite
def test_deleted_while_it_runs(start, enqueue, rows, tmp_path, pipe):
    """In the admin, say: the task is interrupted, and the process goes on."""
    reader, writer = pipe
    enqueue("endless", [[str(tmp_path / "log"), writer]])
    worker = start("--max-tasks", "1", fds=[writer], DJ_STORED_LEASE="1.5")
    assert os.read(reader, 1)
    rows.all().delete()
    ends(worker)
    assert (tmp_path / "log").read_text() == "cleaned up\n"


@on_sqlite
def test_max_tasks_and_queues(start, enqueue, rows):
    """It runs so many, of its queue, and failures count; for what is due later it waits."""
    enqueue("echo", [[]] * 3)
    enqueue("fail", [["ValueError"]] * 3, queue="other")
    when = utc_now() + timedelta(seconds=2)
    enqueue("echo_async", [[]] * 2, queue="other", run_after=when)
    ends(start("--queue", "other", "--max-tasks", "4"))
    assert states(rows) == {"READY": 4, "FAILED": 3, "SUCCESSFUL": 1}
    assert not rows.filter(queue="default").exclude(status="READY").exists()
    assert rows.get(status="SUCCESSFUL").started_at >= when
    (error,) = rows.filter(status="FAILED").first().errors
    assert error[0] == "builtins.ValueError"
    assert "it was ValueError" in error[1]


@on_sqlite
def test_reload(start, store, rows, tmp_path):
    """Changed code is run by the next task, without anybody's doing."""
    code = "from django.tasks import task\n\n@task\ndef version():\n    return {!r}\n"
    module, fresh = tmp_path / "changing.py", tmp_path / "changing.new"

    def run(name):
        store.add(Record(id=name, task="changing.version", backend="default"))
        eventually(lambda: rows.filter(pk=name, status="SUCCESSFUL").exists(), f"task {name}")
        return rows.get(pk=name).return_value

    def is_new():
        # Again and again: Django looks once a second, and takes what it sees first for the old one.
        fresh.write_text(code.format("a new one"))
        fresh.replace(module)
        return select.select([worker.stdout], [], [], 0.05)[0]

    module.write_text(code.format("old"))
    worker = start("--reload")
    assert worker.stdout.readline().startswith("subpool worker")
    assert run("first") == "old"
    eventually(is_new, "the new process")
    assert worker.stdout.readline().startswith("subpool worker")
    assert run("second") == "a new one"
    worker.send_signal(signal.SIGTERM)
    ends(worker)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--backend", "none"], "none"),
        (["--backend", "dummy"], "is a DummyBackend"),
        (["--backend", "memory"], "OPTIONS={'store': 'database'}"),
        (["--queue", "nope"], "has no queue 'nope'; its QUEUES are 'default'"),
        (["--max-tasks", "0"], "greater than 0"),
    ],
)
def test_arguments(args, text):
    stored = {"store": "database", "max_interpreters": 1}
    tasks = {
        "default": {"BACKEND": BACKEND, "OPTIONS": stored},
        "memory": {"BACKEND": BACKEND},
        "dummy": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
    }
    with override_settings(TASKS=tasks), pytest.raises(CommandError) as caught:
        call_command("subpool_worker", *args)
    assert text in str(caught.value)
