"""Settings of the tests of the database store: a SQLite file or a PostgreSQL, by the environment."""

import os

SECRET_KEY = "of the tests"  # noqa: S105
USE_TZ = os.environ.get("SUBPOOL_TEST_USE_TZ", "1") == "1"
TIME_ZONE = "Europe/Berlin"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "subpool.integrations.django",
]
SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": os.environ.get("SUBPOOL_TEST_SQLITE", ":memory:"),
    "OPTIONS": {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    },
}
POSTGRES = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": os.environ.get("SUBPOOL_TEST_POSTGRES", ""),
    "NAME": os.environ.get("SUBPOOL_TEST_DATABASE", "postgres"),
    "USER": "subpool",
    "CONN_MAX_AGE": None,
}
DATABASES = {"default": POSTGRES if POSTGRES["HOST"] else SQLITE}
