"""The app."""

from django.apps import AppConfig


class SubpoolConfig(AppConfig):
    """The app."""

    name = "subpool.integrations.django"
    label = "subpool"
    verbose_name = "Tasks"
