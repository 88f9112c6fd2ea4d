"""`manage.py subpool_serve`: a reload replaces what serves pages and what runs tasks."""

import contextlib
import json
import os
import signal
import threading
import types

import pytest

from serve_support import Served

pytest.importorskip("django", "6.0")

MANAGE = """
import sys
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""

SETTINGS = """
SECRET_KEY = "not one"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["subpool.integrations.django"]
ROOT_URLCONF = "dj_urls"
MIDDLEWARE = []
USE_TZ = True
TASKS = {
    "default": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "OPTIONS": {"max_interpreters": 1},
    }
}
"""

TASKS = """
import os
from django.tasks import task
from dj_word import WORD

ME = os.urandom(8).hex()

@task
def tell():
    return [WORD, ME]
"""

URLS = """
import asyncio
from django.http import JsonResponse
from django.urls import path
from dj_tasks import ME, WORD, tell

async def page(request):
    result = await tell.aenqueue()
    while not result.is_finished:
        await asyncio.sleep(0.01)
        await result.arefresh()
    return JsonResponse({"page": [WORD, ME], "task": result.return_value})

urlpatterns = [path("", page)]
"""


@pytest.mark.slow
def test_reloads_replace_the_interpreters_of_pages_and_of_tasks(tmp_path):
    """Guards against tasks that run the code of before, and a `--reload` that sees no change."""
    word = tmp_path / "dj_word.py"
    word.write_text("WORD = 'first'")
    for name, text in (("manage", MANAGE), ("dj_settings", SETTINGS), ("dj_tasks", TASKS)):
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "dj_urls.py").write_text(URLS)

    def ask():
        status, body = served.get()
        assert status == 200, served.log
        answer = json.loads(body)
        assert answer["page"][1] != answer["task"][1]
        return answer

    command = ["manage.py", "subpool_serve"]
    env = {"DJANGO_SETTINGS_MODULE": "dj_settings"}
    with Served(None, "--reload", command=command, cwd=tmp_path, env=env) as served:
        served.up()
        first = ask()
        assert ask() == first
        served.reload()
        second = ask()
        word.write_text("WORD = 'third, by its file'")
        served.wait_for("dj_word.py changed")
        served.wait_for("All workers are replaced", 2)
        third = ask()
        assert served.end() == 0, served.log
    assert first["page"][0] == second["task"][0] == "first"
    assert third["page"][0] == third["task"][0] == "third, by its file"
    for which in ("page", "task"):
        assert len({each[which][1] for each in (first, second, third)}) == 3


def test_wrong_use_starts_nothing(monkeypatch):
    """Guards against a traceback for a wrong flag, and tasks that begin before it is seen."""
    from django.core.management.base import CommandError

    from subpool.integrations.django.management.commands import subpool_serve

    monkeypatch.setattr(subpool_serve, "start_tasks", lambda: pytest.fail("they were started"))
    command = subpool_serve.Command()
    parser = command.create_parser("manage.py", "subpool_serve")
    for flags, why in (
        (["-k", "trio"], "worker class 'trio' is not supported"),
        (["-w", "-1"], "workers must be 0 or more, not -1"),
        (["-c", "absent.toml"], "cannot read the configuration absent.toml"),
    ):
        with pytest.raises(CommandError, match=why) as caught:
            command.handle(**vars(parser.parse_args(flags)))
        assert caught.value.returncode == 2


class Tasks:
    """A dispatcher that ends when it is told to wait no longer, or at once."""

    def __init__(self, *, ends, cut_off=0, failed=False, lost=0):
        self.ended = threading.Event()
        self.ends, self.cut_off, self.failed, self.closes = ends, 0, failed, []
        self._cut_off, self._lost = cut_off, lost
        self.is_shared = True
        self.config = types.SimpleNamespace(options=types.SimpleNamespace(shutdown_timeout=30))

    def close(self, timeout, *, wait, run_due):
        assert not wait
        assert not run_due
        self.closes.append(timeout)
        if self.ends or timeout == 0:
            self.cut_off = self._cut_off
            self.ended.set()
        else:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)

    def join(self):
        self.ended.wait()

    def lost(self):
        return self._lost


@pytest.mark.parametrize(
    ("tasks", "closes", "code"),
    [
        ({"ends": True}, [30], 0),
        ({"ends": False, "cut_off": 2}, [30, 0], 4),
        ({"ends": True, "lost": 1}, [30], 4),
        ({"ends": True, "failed": True}, [30], 1),
    ],
)
def test_signals_while_tasks_finish(monkeypatch, tasks, closes, code):
    """Guards against a signal that kills the process while its tasks finish, and exit code 0."""
    from subpool.integrations.django.management.commands import subpool_serve

    one = Tasks(**tasks)
    said = []
    monkeypatch.setattr(subpool_serve.registry, "all_of_them", lambda: [one])
    with contextlib.ExitStack() as stack:
        # What `serve` leaves: this command ends the program.
        stack.callback(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        signal.signal(signal.SIGHUP, lambda *_: None)
        assert subpool_serve.finish_tasks(said.append) == code
    assert one.closes == closes
    assert said == (["SIGTERM: interrupting the tasks that run"] if len(closes) == 2 else [])
