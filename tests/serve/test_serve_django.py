"""`manage.py subpool_serve`: a reload replaces what serves pages and what runs tasks."""

import json

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
