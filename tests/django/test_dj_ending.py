"""The end of the program, forks, and other programs than a site's."""

import os
import signal
import subprocess
import sys

from subpool.integrations.django import failures
from subpool.integrations.django.stores import Record
from support import asleep, eventually

SETTLE = """
import os, sys, time, select, signal, threading
import django
django.setup()
from django.tasks import task_backends
from django.tasks.exceptions import TaskResultDoesNotExist
from dj_app import tasks

def finished(result):
    while not result.is_finished:
        select.select([], [], [], 0.005)
        result.refresh()
    return result
"""


def test_what_is_due_runs_before_the_program_ends(dj_check, tmp_path):
    out = tmp_path / "out"
    program = f"for n in range(12): tasks.append.enqueue({str(out)!r}, str(n))"
    dj_check(SETTLE + program)
    assert sorted(map(int, out.read_text().split())) == list(range(12))


def test_sigterm_finishes_what_runs_and_what_is_due(dj_check, dj_script, tmp_path):
    # The program turns SIGTERM into an exit, as servers do.
    out = tmp_path / "out"
    program = f"""
going = threading.Event()
def stop(*_):
    going.set()
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
started, s = os.pipe()
release, r = os.pipe()
one = tasks.hold_until.using(backend="single").enqueue({str(out)!r}, "ran", s, release)
two = tasks.append.using(backend="single").enqueue({str(out)!r}, "was due")
os.read(started, 1)
def let_go():
    going.wait()
    os.write(r, b"r")
threading.Thread(target=let_go).start()
os.kill(os.getpid(), signal.SIGTERM)
signal.pause()
"""
    rc, _, err = dj_script(SETTLE + program)
    assert (rc, err) == (7, "")
    assert out.read_text() == "ran\nwas due\n"


def test_after_the_shutdown_timeout_tasks_are_interrupted_and_losses_told(dj_script, tmp_path):
    out = tmp_path / "out"
    program = f"""
from django.conf import settings
settings.TASKS["single"]["OPTIONS"]["shutdown_timeout"] = 0
started, s = os.pipe()
tasks.endless.using(backend="single").enqueue({str(out)!r}, s)
for n in range(3): tasks.append.using(backend="single").enqueue({str(out)!r}, str(n))
os.read(started, 1)
"""
    rc, _, err = dj_script(SETTLE + program)
    assert rc == 0
    assert out.read_text() == "cleaned up\n"
    assert "1 tasks of 'single' still run after the shutdown_timeout" in err
    assert "3 tasks of 'single' had not run when the program ended" in err


def test_ctrl_c_at_the_end_interrupts_what_runs(dj_env, tmp_path):
    # Nobody waits for the `shutdown_timeout` then.
    out = tmp_path / "out"
    reader, writer = os.pipe()
    program = f"""
from django.conf import settings
settings.TASKS["single"]["OPTIONS"]["shutdown_timeout"] = None
tasks.endless.using(backend="single").enqueue({str(out)!r}, {writer})
"""
    child = subprocess.Popen(
        [sys.executable, "-c", SETTLE + program],
        env=dj_env,
        pass_fds=[writer],
        stderr=subprocess.PIPE,
    )
    os.read(reader, 1)
    eventually(lambda: asleep(child), "the program waits for its task")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    os.close(reader)
    os.close(writer)
    assert b"KeyboardInterrupt" in err
    assert out.read_text() == "cleaned up\n"


def test_a_fork(dj_check):
    program = """
import datetime, warnings
done = finished(tasks.echo.enqueue(1))
if sys.version_info < (3, 14):  # it counts threads when those of the parent run again
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
waits = tasks.echo.using(run_after=later).enqueue()
sys.stdout.flush()
child = os.fork()
# Results are here; tasks are the parent's.
assert tasks.echo.get_result(done.id).return_value == [[1], {}]
if not child:
    try:
        tasks.echo.get_result(waits.id)
    except TaskResultDoesNotExist:
        pass
    else:
        raise AssertionError("the parent's task is in the child")
assert finished(tasks.where.enqueue()).return_value[0] == os.getpid()
if child:
    assert tasks.echo.get_result(waits.id).status == "READY"
    assert os.waitpid(child, 0)[1] == 0
    print("parent")
import logging
logging.disable()  # of the task that is lost
"""
    assert dj_check(SETTLE + program).split() == ["parent"]


def test_interpreters_that_cannot_start_fail_the_task(dj_script):
    # It must not wait for ever.
    program = """
os.environ["DJ_REFUSE"] = "1"
import logging
logging.disable()
result = finished(tasks.echo.enqueue())
assert result.status == "FAILED"
assert "the app refuses" in result.errors[0].traceback, result.errors[0].traceback
assert result.errors[0].exception_class.__name__ == "BrokenInterpreterPool"
"""
    rc, _, err = dj_script(SETTLE + program)
    assert rc == 0, err


def test_a_failure_that_nobody_can_be_told_of(caplog):
    # The settings may not have its backend any more. The dispatcher's thread must go on.
    record = Record(id="a", task="gone.away", backend="gone")
    failures.announce(record, ValueError("why"))
    assert failures.wait(60)
    assert "nobody could be told that task a has failed" in caplog.text
    assert "ValueError: why" in caplog.text


def test_settings_without_a_module(dj_check, monkeypatch):
    program = """
import os, select
del os.environ["DJANGO_SETTINGS_MODULE"]
from django.conf import settings
backend = {"BACKEND": "subpool.integrations.django.InterpreterBackend", "QUEUES": []}
settings.configure(USE_TZ=False, TIME_ZONE="Asia/Tokyo", INSTALLED_APPS=["dj_app"],
                   LOGGING_CONFIG=None, TASKS={"default": backend, "single": backend},
                   GREETING="hello")
import django
django.setup()
from datetime import datetime
from dj_app import tasks
now = datetime.now()
result = tasks.setting.using(run_after=now).enqueue("GREETING")
while not result.is_finished:
    select.select([], [], [], 0.005)
    result.refresh()
assert result.return_value == "hello", result
# Times are as `timezone.now` gives them: naive, and local.
assert result.task.run_after == now
assert now <= result.enqueued_at <= result.started_at <= result.finished_at <= datetime.now()
"""
    dj_check(program)


def test_a_main_without_django_serves_its_interpreters(dj_check):
    # As under `subpool serve`: only the web workers have set it up.
    program = """
import sys
from subpool import InterpreterPoolExecutor
import dj_outside
with InterpreterPoolExecutor(1) as pool:
    number = pool.submit(dj_outside.enqueue).result()
    print(pool.submit(dj_outside.wait_for, number).result())
    print(pool.submit(dj_outside.enqueue_members).result())
assert "django.apps" not in sys.modules
"""
    assert dj_check(program).splitlines() == [
        "SUCCESSFUL",
        """[[['red'], {}], {"model's": 'red', '2': [2]}]""",
    ]
