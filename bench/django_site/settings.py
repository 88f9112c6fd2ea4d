"""One site, two backends that keep tasks in its database: the environment says in which."""

import os

SECRET_KEY = "of the benchmark"  # noqa: S105
USE_TZ = True
DEBUG = False
INSTALLED_APPS = ["django_tasks_db", "subpool.integrations.django"]
if "BENCH_POSTGRES" in os.environ:
    _DATABASE = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["BENCH_POSTGRES"],
        "NAME": "postgres",
        "USER": "subpool",
        "CONN_MAX_AGE": None,
    }
else:
    _DATABASE = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BENCH_SQLITE", ""),
        # As Django's documents advise for production.
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
DATABASES = {"default": _DATABASE}
_WORKERS = int(os.environ.get("BENCH_WORKERS", "2"))
TASKS = {
    "default": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "OPTIONS": {"store": "database", "max_interpreters": _WORKERS},
    },
    "theirs": {"BACKEND": "django_tasks_db.DatabaseBackend"},
}
