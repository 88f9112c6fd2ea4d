"""The example of a Flask site with SQLAlchemy on PostgreSQL, its workers in interpreters."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import postgres
from serve_support import Served
from support import eventually

psycopg = pytest.importorskip("psycopg")

SITE = Path(__file__).parents[2] / "examples" / "flask_site"
SQLALCHEMY = Path(sys.prefix) / "sqlalchemy20"
LONG = "x" * 40  # nothing is like it, so that takes no time
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CONNECTED = "SELECT pid FROM pg_stat_activity WHERE application_name = 'flask_site'"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SQLALCHEMY.is_dir(), reason="no SQLAlchemy 2.0: make setup"),
    pytest.mark.skipif(not importlib.util.find_spec("flask"), reason="not installed here: flask"),
]


@pytest.fixture(scope="module")
def connected(postgres_socket):
    """Make the site's database; give the connections that the site has to it."""
    with psycopg.connect(
        host=postgres_socket, user=postgres.USER, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("CREATE DATABASE words")
        yield lambda: {pid for (pid,) in connection.execute(CONNECTED)}
        connection.execute("DROP DATABASE words WITH (FORCE)")


@pytest.fixture(scope="module")
def site(postgres_socket, connected):
    path = [str(SQLALCHEMY), *filter(None, [os.environ.get("PYTHONPATH")])]
    place = urllib.parse.urlencode({"host": postgres_socket, "user": postgres.USER})
    env = postgres.for_clients() | {
        "DATABASE_URL": f"postgresql+psycopg:///words?{place}",
        "PYTHONPATH": os.pathsep.join(path),
    }
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "create-tables"],
        cwd=SITE, env={**os.environ, **env}, check=True, timeout=60,
    )  # fmt: skip
    with Served("app:app", "-w", 2, cwd=SITE, env=env) as site:
        yield site.up()


def ask(connection, method, path, **form):
    connection.request(method, path, urllib.parse.urlencode(form), FORM)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_workers_share_the_database(site, connected):
    """Guards against rows that only their worker sees, and workers that share a connection."""
    # Since no two interpreters could use one.
    both = site.connect_to_each(2, "/suggest?word=genrator")
    for connection in both.values():
        assert '["generator",' in ask(connection, "GET", "/suggest?word=genrator")[1]
    assert ask(both[1], "POST", "/words", word="Exeption")[0] == 303
    assert ask(both[2], "POST", "/words", word="qqqqqqqq")[0] == 303
    assert ask(both[1], "POST", "/words", word="<b>")[0] == 400
    for number, connection in both.items():
        _, page = ask(connection, "GET", "/")
        assert "<tr><td>exeption<td>exception<td>1<td>" in page
        assert "<tr><td>qqqqqqqq<td>?<td>2<td>" in page
        assert f"This page is worker {number}'s." in page
        assert ask(connection, "GET", "/words.json")[1].count('"typed"') == 2
    assert len(connected()) >= 2
    for connection in both.values():
        connection.close()


def test_a_reload_loses_no_row_and_leaves_no_connection(site, connected):
    """Guards against requests that fail in a reload, and connections of closed interpreters."""
    enough = threading.Event()
    some = threading.Semaphore(0)

    def write(_):
        connection, answers = site.connect(), []
        while not enough.is_set():
            answers.append(ask(connection, "POST", "/words", word=LONG)[0])
            answers.append(ask(connection, "GET", "/")[0])
            some.release()
        connection.close()
        return answers

    rows = rows_of(site)
    with ThreadPoolExecutor(2) as writers:
        futures = [writers.submit(write, number) for number in range(2)]
        try:
            some_more(some)
            before = connected()
            site.reload()
            some_more(some)
        finally:
            enough.set()
    answers = [answer for future in futures for answer in future.result()]
    assert set(answers) == {303, 200}
    assert rows_of(site) == rows + answers.count(303)
    assert before
    eventually(lambda: not before & connected(), "the end of the old workers' connections")
    assert site.process.poll() is None


def some_more(semaphore):
    for _ in range(12):
        assert semaphore.acquire(timeout=30)


def rows_of(site):
    return site.get("/words.json")[1].count(b'"typed"')


def test_the_end_leaves_no_connection(site, connected):
    """Guards against an exit code, or a log, that tells of trouble with the database's threads."""
    assert site.get("/")[0] == 200
    assert connected()
    assert site.end(signal.SIGTERM) == 0, site.log
    eventually(lambda: not connected(), "the end of the site's connections")
    assert not [word for word in ("Traceback", "Warning", "rror") if word in site.log], site.log
