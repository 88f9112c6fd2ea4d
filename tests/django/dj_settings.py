"""The settings of the tests' site."""

import os

SECRET_KEY = "not one"  # noqa: S105
USE_TZ = True
TIME_ZONE = "UTC"
LOGGING_CONFIG = None
INSTALLED_APPS = ["dj_app", "subpool.integrations.django"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DJ_DATABASE", ":memory:"),
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    },
    # Of tasks alone.
    "queue": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DJ_DATABASE"] + "-queue" if "DJ_DATABASE" in os.environ else ":memory:",
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    },
    # The tests' own server, where it runs.
    "postgres": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("DJ_POSTGRES", "/nowhere"),
        "NAME": "postgres",
        "USER": "subpool",
        "CONN_MAX_AGE": None,
    },
}
FORCE_SCRIPT_NAME = "/prefix"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TASKS = {
    "default": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "QUEUES": ["default", "other"],
        "OPTIONS": {"max_interpreters": 2, "max_results": 3000},
    },
    "single": {
        "BACKEND": "dj_app.backends.Own",
        "QUEUES": [],
        "OPTIONS": {"max_interpreters": 1, "max_results": 20, "enqueue_on_commit": False},
    },
    "stored": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "QUEUES": [],
        "OPTIONS": {
            "store": "database",
            "embedded": True,
            "max_interpreters": 1,
            "poll_interval": 60,  # no test shall wait for it
        },
    },
    "stored in postgres": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "QUEUES": [],
        "OPTIONS": {
            "store": "database",
            "database": "postgres",
            "embedded": True,
            "max_interpreters": 1,
            "poll_interval": 60,
            # Of the same database; else a task would wait for the commit of another.
            "enqueue_on_commit": "postgres",
        },
    },
    "elsewhere": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "QUEUES": [],
        "OPTIONS": {
            "store": "database",
            "database": "queue",
            "embedded": True,
            "max_interpreters": 1,
            "poll_interval": 60,
        },
    },
    "two each": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "QUEUES": [],
        "OPTIONS": {
            "max_interpreters": 1,
            "max_tasks_per_interpreter": 2,
            "enqueue_on_commit": "queue",
        },
    },
    "idle": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        "QUEUES": [],
        "OPTIONS": {"max_interpreters": 1, "idle_timeout": 0.01},
    },
}
