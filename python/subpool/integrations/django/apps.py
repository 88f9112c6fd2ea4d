"""The app, for INSTALLED_APPS: the database store, its admin page, and the commands."""

from __future__ import annotations

from django.apps import AppConfig


class SubpoolConfig(AppConfig):
    """What `INSTALLED_APPS = [..., "subpool.integrations.django"]` brings."""

    name = "subpool.integrations.django"
    label = "subpool"
    verbose_name = "Subpool"
    default_auto_field = "django.db.models.BigAutoField"
