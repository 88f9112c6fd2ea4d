"""The example of a Django site, served as its readers would: pages, a task, its progress."""

import contextlib
import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from support import eventually, unless_absent

pytest.importorskip("django", "6.0")
pytest.importorskip("hypercorn")

SITE = Path(__file__).parents[2] / "examples" / "django_site"
FILES = 60

TWICE = """
from complexity.models import Survey
from complexity.tasks import survey

one = Survey.objects.create(files=10)
found = [(survey.call(one.pk), Survey.objects.values().get(pk=one.pk)) for _ in range(2)]
assert found[0] == found[1], found
"""

pytestmark = pytest.mark.slow


class Site:
    """The site in a process of its own, and a browser of a kind for it."""

    def __init__(self, env, database, *flags):
        self.env = {**env, "DATABASE": str(database), "PYTHONWARNINGS": "ignore"}
        self.manage("migrate", "-v", "0")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "subpool_serve", "-b", "127.0.0.1:0", *flags],
            cwd=SITE,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = []
        self.port = None
        self.up = threading.Event()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def manage(self, *words):
        subprocess.run(
            [sys.executable, "manage.py", *words], cwd=SITE, env=self.env, check=True, timeout=60
        )

    def read(self):
        for line in self.process.stdout:
            self.log.append(line)
            if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
            if "worker(s) are ready" in line:
                self.up.set()
        self.up.set()

    def open(self, path, **data):
        assert self.up.wait(60)
        assert self.port is not None, self.log
        body = urllib.parse.urlencode(data).encode() if data else None
        url = f"http://127.0.0.1:{self.port}{path}"
        with self.browser.open(url, body, timeout=60) as answer:
            return answer.read().decode()

    def threads(self, prefix):
        found = 0
        for comm in Path(f"/proc/{self.process.pid}/task").glob("*/comm"):
            with contextlib.suppress(OSError):  # it has ended
                found += comm.read_text().startswith(prefix)
        return found

    def finish(self):
        """Wait for the end of the newest task."""
        while (status := self.surveys()[0]["status"]) != "SUCCESSFUL":
            assert status in ("READY", "RUNNING"), self.log
            select.select([], [], [], 0.02)

    def surveys(self):
        return json.loads(self.open("/surveys.json"))["surveys"]

    def start(self, files):
        """Do what the page's button does."""
        token = re.search('csrfmiddlewaretoken" value="(.+?)"', self.open("/"))[1]
        self.open("/start", csrfmiddlewaretoken=token, files=files)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            self.reader.join()
            self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"}
    site = Site(env, tmp_path_factory.mktemp("site") / "db.sqlite3", "-w", "2")
    yield site
    site.end()


def test_a_task_of_the_site_and_its_progress(site):
    page = site.open("/")
    # The interpreters of tasks come up by themselves, when the web workers are ready.
    for_tasks = f"tasks of 'default' run in {os.process_cpu_count()} interpreters of this process\n"
    assert for_tasks in site.log
    eventually(lambda: site.threads("tasks-default") == os.process_cpu_count(), "the interpreters")
    assert "<h1>The standard library, measured</h1>" in page
    site.start(FILES)
    seen = []
    # Which web worker answers is chance: both see the one store of the process.
    while (one := site.surveys()[0])["status"] != "SUCCESSFUL":
        seen.append((one["status"], one["done"]))
        assert one["status"] in ("READY", "RUNNING"), (one, site.log)
        select.select([], [], [], 0.02)
    assert any(status == "RUNNING" and 0 < done < FILES for status, done in seen), seen
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    assert one["done"] == one["files"] == FILES
    assert one["lines"] > 0
    assert one["worst"]
    # A wrong number is refused, and nothing is begun.
    count = len(site.surveys())
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        site.start(0)
    refused.value.close()
    assert len(site.surveys()) == count


def test_the_page_in_a_browser(site):
    from browser import Page

    site.open("/")  # it is up
    with unless_absent():
        page = Page()
    with contextlib.closing(page):
        page.open(f"http://127.0.0.1:{site.port}/")
        assert page.ask("document.title") == "The standard library, measured"
        page.ask(f"document.querySelector('input[name=files]').value = {FILES}")
        page.click("button")
        first = "document.querySelector('#surveys tr')"
        seen = []
        while True:
            # Null until the page's script has asked for the first time.
            row = page.ask(
                f"(row => row && [row.cells[4].textContent, row.querySelector('progress').value])"
                f"({first})"
            )
            if row and row not in seen:
                seen.append(row)
            if row and row[0] in ("SUCCESSFUL", "FAILED"):
                break
        assert row == ["SUCCESSFUL", FILES]
        bars = [bar for _, bar in seen]
        assert bars == sorted(bars)
        assert any(0 < bar < FILES for bar in bars), seen
        lines = page.ask(f"{first}.cells[2].textContent")
        assert int(lines) > 0
        assert not page.exceptions


def test_a_reload_keeps_what_is_in_memory(site):
    # The store is main's: new web workers and new interpreters see all that the old ones did.
    site.start(FILES)
    site.finish()
    before = [one["status"] for one in site.surveys()]
    site.process.send_signal(signal.SIGHUP)
    eventually(lambda: any("All workers are replaced" in line for line in site.log), "the reload")
    assert before == ["SUCCESSFUL"] * len(before)
    assert [one["status"] for one in site.surveys()] == before
    site.start(FILES)
    site.finish()
    assert len(site.surveys()) == len(before) + 1


def test_sigterm_lets_a_task_finish_that_has_begun(site):
    site.start(FILES)
    while site.surveys()[0]["status"] == "READY":
        pass
    assert site.end() == 0, site.log
    with contextlib.closing(sqlite3.connect(site.env["DATABASE"])) as connection:
        found = connection.execute("SELECT done, files FROM complexity_survey").fetchall()
    assert set(found) == {(FILES, FILES)}
    assert not [line for line in site.log if "WARN" in line or "Traceback" in line], site.log


def test_the_site_with_its_tasks_in_the_database(tmp_path):
    # The command runs them itself; a reload replaces their interpreters as well.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"}
    # One interpreter at a time for tasks: two tasks of the same settings would run in the same one.
    env |= {"STORE": "database", "PYTHON_CPU_COUNT": "1"}
    site = Site(env, tmp_path / "db.sqlite3")
    try:
        site.start(FILES)
        site.finish()
        site.process.send_signal(signal.SIGHUP)
        eventually(
            lambda: any("All workers are replaced" in line for line in site.log), "the reload"
        )
        site.start(FILES)
        site.finish()
        assert site.end() == 0, site.log
    finally:
        site.end()
    with contextlib.closing(sqlite3.connect(site.env["DATABASE"])) as connection:
        select_workers = "SELECT worker_ids FROM subpool_task ORDER BY enqueued_at"
        (first,), (second,) = connection.execute(select_workers).fetchall()
    assert first != second
    # What docs/django-database.md asks of a task: its second attempt had added to the first one's.
    site.manage("shell", "-v", "0", "-c", TWICE)
