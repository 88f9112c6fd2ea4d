"""The tests' site, set up once in this process, and two pools that all of these tests share."""

import os
import select
import sys
from pathlib import Path

import pytest

from support import DEADLINE, eventually, interpreters, os_threads

django = pytest.importorskip("django", "6.0")

HERE = Path(__file__).parent

if HERE not in map(Path, sys.path):
    sys.path.insert(0, str(HERE))


def _set_up():
    """Set up Django before the modules of tests are imported: they import models and tasks.

    What it does to the environment other tests must not see.
    """
    before = os.environ.copy()
    os.environ["DJANGO_SETTINGS_MODULE"] = "dj_settings"
    django.setup()
    for name in ("DJANGO_SETTINGS_MODULE", "TZ"):
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]


_set_up()


@pytest.fixture
def nothing_left_over():
    """Not after each test: setting up Django takes an interpreter half a second."""


@pytest.fixture(scope="package", autouse=True)
def site(tmp_path_factory):
    """Make the tests' database, a file; look for what was left over."""
    from django.core.management import call_command
    from django.db import connection, connections

    before = interpreters()
    # As a test runner does. Interpreters are told.
    folder = tmp_path_factory.mktemp("django")
    connections.settings["default"]["NAME"] = folder / "db.sqlite3"
    connections.settings["queue"]["NAME"] = folder / "queue.sqlite3"
    os.environ["DJ_FAIL"] = "1"
    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("migrate", "subpool", database="queue", verbosity=0)
    connection.close()
    yield
    close_pools()  # after the last test of all, this is before the hook below
    del os.environ["DJ_FAIL"]
    connections.close_all()
    # Nobody waits for a pool that was closed while a task ran: its end follows.
    eventually(lambda: interpreters() == before, "the end of the interpreters")

    def left():
        names = os_threads().values()
        return [name for name in names if name.startswith(("subpool-tasks", "tasks-"))]

    eventually(lambda: not left(), f"the end of the threads {left()}")


def close_pools():
    from subpool.integrations.django import registry

    registry.close_all()
    registry._dispatchers.clear()  # and the tasks for another day


@pytest.hookimpl(trylast=True)  # after the tests' own fixtures
def pytest_runtest_teardown(nextitem):
    """Close the pools after the last of these tests: a folder that is no package has no fixtures.

    Its own would end with the session, and all other tests run beside these interpreters.
    """
    if nextitem is None or HERE not in nextitem.path.parents:
        close_pools()


@pytest.fixture
def finished():
    """Wait for the end of tasks; give the result, or all of them."""

    def finished(*results):
        turns = DEADLINE * 500
        for result in results:
            while not result.is_finished:
                turns -= 1
                assert turns, f"did not finish: {result}"
                select.select([], [], [], 0.002)
                result.refresh()
        return results[0] if len(results) == 1 else results

    return finished


@pytest.fixture
def dj_env(child_env, tmp_path):
    """The environment for programs that set up the same site."""
    child_env.pop("DJ_FAIL", None)
    path = os.pathsep.join([str(HERE), child_env["PYTHONPATH"]])
    return child_env | {
        "PYTHONPATH": path,
        "DJANGO_SETTINGS_MODULE": "dj_settings",
        "DJ_DATABASE": str(tmp_path / "program.sqlite3"),
    }


@pytest.fixture
def dj_script(script, dj_env, child_env):
    """Run a program on the tests' site."""
    child_env.update(dj_env)
    return script


@pytest.fixture
def dj_check(check, dj_env, child_env):
    """Run one that must end well and say nothing on standard error."""
    child_env.update(dj_env)
    return check
