"""Fixtures of the database store's tests: Django, the databases, and stores on them."""

import itertools
import os

import pytest
from django.core.management import call_command
from django.db import connections
from django.tasks import task_backends

import postgres
from subpool.integrations.django.config import Config, Options, Site
from subpool.integrations.django.models import StoredTask
from subpool.integrations.django.stores import Record
from subpool.integrations.django.stores.database import DatabaseStore


@pytest.fixture(scope="session")
def sqlite_alias(tmp_path_factory):
    """The alias of a database in a file, with our table."""
    file = tmp_path_factory.mktemp("sqlite") / "tasks.sqlite3"
    options = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF", "timeout": 60}
    yield from add_database(
        "tasks-sqlite",
        {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file), "OPTIONS": options},
    )


@pytest.fixture(scope="session")
def postgres_alias(postgres_socket):
    """The alias of a database in PostgreSQL, with our table."""
    yield from add_database(
        "tasks-postgres",
        {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": postgres_socket,
            "NAME": "postgres",
            "USER": postgres.USER,
        },
    )


@pytest.fixture(scope="module", params=["stored", "stored in postgres"])
def stored_alias(request):
    """The alias of TASKS that runs what is enqueued to a database here, each kind in turn."""
    if request.param == "stored in postgres":
        socket = request.getfixturevalue("postgres_socket")
        os.environ["DJ_POSTGRES"] = connections.settings["postgres"]["HOST"] = socket
        call_command("migrate", "subpool", database="postgres", verbosity=0)
    yield request.param
    task_backends[request.param].close(0)
    if request.param == "stored in postgres":
        StoredTask.objects.using("postgres").all().delete()
        connections["postgres"].close()
        del os.environ["DJ_POSTGRES"]


def add_database(alias, settings):
    known = {"default": connections.settings["default"], alias: settings}
    connections.settings[alias] = connections.configure_settings(known)[alias]
    call_command("migrate", "subpool", database=alias, verbosity=0)
    yield alias
    connections[alias].close()
    del connections.settings[alias]
    del connections[alias]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    """The alias of a database, each kind in turn; our table is empty."""
    alias = request.getfixturevalue(f"{request.param}_alias")
    yield alias
    StoredTask.objects.using(alias).all().delete()


@pytest.fixture
def make_store(database):
    """Make one more store of the same records, as another process would."""
    return lambda **options: DatabaseStore(config(database, **options))


def config(database, **options):
    options = Options(store="database", database=database, **options)
    return Config("default", options, None, Site(None, {}, {}))


@pytest.fixture
def store(make_store):
    """A store."""
    return make_store()


@pytest.fixture
def rows(database):
    """The table."""
    return StoredTask.objects.using(database)


@pytest.fixture
def add(store):
    """Add a record, and give its id: a, b, c..."""
    names = itertools.count(ord("a"))

    def add(**fields):
        record = Record(**{"id": chr(next(names)), "task": "m.t", "backend": "default", **fields})
        store.add(record)
        return record.id

    return add


@pytest.fixture
def expire(rows):
    """Let the leases of all claims run out."""
    return lambda: rows.filter(lease__gt=0).update(lease=1)
