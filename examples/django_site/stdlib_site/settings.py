"""The settings: SQLite, one app, and tasks in interpreters."""

import os
import sys
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
# For metrics.py, which the other examples use as well.
sys.path.append(str(BASE_DIR.parent))

SECRET_KEY = os.environ.get("SECRET_KEY", "for an example only")
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "stdlib_site.urls"
WSGI_APPLICATION = "stdlib_site.wsgi.application"
INSTALLED_APPS = ["complexity", "subpool.integrations.django"]
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", BASE_DIR / "db.sqlite3"),
        # Pages read while tasks write; who writes waits for others who do.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}
USE_TZ = True

TASKS = {
    "default": {
        "BACKEND": "subpool.integrations.django.InterpreterBackend",
        # With STORE=database tasks and their results outlive the process.
        "OPTIONS": {"store": os.environ.get("STORE", "memory")},
    }
}
