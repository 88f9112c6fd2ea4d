"""The tests' site with its tasks in the database that the environment names."""

import os

from dj_settings import *  # noqa: F403

# Without the receivers of dj_app, which read each result anew.
INSTALLED_APPS = ["subpool.integrations.django"]
_OF_SQLITE = {"timeout": 60, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
if "DJ_STORED_POSTGRES" in os.environ:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["DJ_STORED_POSTGRES"],
            "NAME": "postgres",
            "USER": "subpool",
            "CONN_MAX_AGE": None,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DJ_STORED_SQLITE"],
            "OPTIONS": _OF_SQLITE,
        }
    }
TASKS = {
    "default": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "QUEUES": ["default", "other"],
        "OPTIONS": {
            "store": "database",
            "max_interpreters": 2,
            "lease": float(os.environ.get("DJ_STORED_LEASE", "60")),
            "poll_interval": 0.1,
            "shutdown_timeout": float(os.environ.get("DJ_STORED_TIMEOUT", "60")),
        },
    }
}
