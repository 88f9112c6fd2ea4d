"""What a pool for tasks is made of: a backend's options, and how Django is set up elsewhere.

Plain data that knows nothing of Django until `Site.set_up`: it travels from whoever enqueues to
main, and from there to the pool's interpreters.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VARIABLE = "DJANGO_SETTINGS_MODULE"

# How Django was set up here, if `Site.set_up` did it.
_site: Site | None = None

# Since when this interpreter has its code and settings, on the clock that all of the process have.
_SINCE = time.monotonic()


@dataclass(frozen=True, slots=True)
class Site:
    """How to set up Django as it is here.

    Attributes:
        module: The settings module; None if `settings.configure` was called.
        settings: What does not come from there: arguments of `configure`, overrides, assignments.
        databases: The names that the databases have, which a test runner changes.

    """

    module: str | None
    settings: dict[str, Any]
    databases: dict[str, Any]

    @classmethod
    def here(cls) -> Site:
        """Describe the Django of this interpreter.

        Raises:
            ImproperlyConfigured: A setting that is not from the module cannot be sent.

        """
        if _site is not None:
            return _site
        from django.conf import UserSettingsHolder, settings  # noqa: PLC0415 - see above
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
        from django.db import connections  # noqa: PLC0415

        settings.TASKS  # noqa: B018 - reads them, if nobody has
        layer: Any = settings._wrapped  # noqa: SLF001 - nobody else tells what was overridden
        added: dict[str, Any] = {}
        while isinstance(layer, UserSettingsHolder):
            for name, value in vars(layer).items():
                if name.isupper():
                    added.setdefault(name, value)
            layer = layer.default_settings
        for name, value in added.items():
            try:
                pickle.dumps(value)
            except Exception as error:
                raise ImproperlyConfigured(
                    f"tasks run in interpreters, and the setting {name}, which is not from a "
                    f"settings module, cannot be sent there: {type(error).__name__}: {error}"
                ) from error
        added = _assigned(layer) | added
        names = {alias: database.get("NAME") for alias, database in connections.settings.items()}
        return cls(getattr(layer, "SETTINGS_MODULE", None), added, names)

    def set_up(self) -> None:
        """Set up Django in this interpreter, if nobody has."""
        global _site  # noqa: PLW0603 - there is one Django per interpreter
        from django.apps import apps  # noqa: PLC0415 - see above

        if apps.ready:
            return
        import django  # noqa: PLC0415
        from django.conf import UserSettingsHolder, settings  # noqa: PLC0415

        if self.module is None:
            settings.configure(**self.settings)
        else:
            os.environ[_VARIABLE] = self.module
            settings.TASKS  # noqa: B018 - reads them
            if self.settings:
                holder = UserSettingsHolder(settings._wrapped)  # noqa: SLF001 - as the test tools do
                vars(holder).update(self.settings)  # what Django warns of, it did where it was set
                settings._wrapped = holder  # noqa: SLF001
        from django.db import connections  # noqa: PLC0415 - reads the settings

        for alias, name in self.databases.items():
            if alias in connections.settings:
                connections.settings[alias]["NAME"] = name
        _site = self
        django.setup()


def _assigned(settings: Any) -> dict[str, Any]:
    """Give what was assigned to settings that are a module's, as Django's test runner does.

    So that a task that sends mail in a test does not send it to the world.
    """
    from django.conf import global_settings  # noqa: PLC0415 - see above

    module: Any = sys.modules.get(getattr(settings, "SETTINGS_MODULE", None) or "")
    found: dict[str, Any] = {}
    if module is None:
        return found
    for name, value in vars(settings).items():
        if not name.isupper() or name == "SETTINGS_MODULE":
            continue
        if value is getattr(module, name, getattr(global_settings, name, found)):
            continue
        with suppress(Exception):  # there may be any kind, and nobody asked to send it
            pickle.dumps(value)
            found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Options:
    """The OPTIONS of one entry of TASKS, and its QUEUES."""

    store: str = "memory"
    max_interpreters: int | None = None
    max_tasks_per_interpreter: int | None = None
    idle_timeout: float | None = None
    max_results: int = 10_000
    enqueue_on_commit: bool | str = True
    shutdown_timeout: float | None = 30.0
    # Whether tasks run in the process that enqueues them. None: if it alone has them.
    embedded: bool | None = None
    # Those of the database store.
    database: str = "default"
    lease: float = 60.0
    poll_interval: float = 1.0
    keep_results: float | None = 7 * 86400.0
    max_attempts: int = 5

    @property
    def runs_here(self) -> bool:
        """Whether who enqueues a task also runs it."""
        return self.store == "memory" if self.embedded is None else self.embedded

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[str]:
        """Say what is wrong with OPTIONS, one sentence each."""
        known = cls.__dataclass_fields__
        found = [
            f"there is no option {name!r}; there are {', '.join(sorted(known))}"
            for name in given
            if name not in known
        ]
        for name, (holds, wanted) in _RULES.items():
            if name in given and not holds(given[name]):
                found.append(f"{name!r} must be {wanted}, not {given[name]!r}")
        return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_time(value: object) -> bool:
    # The most that a lock waits, some 292 years: infinity is none of it.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= threading.TIMEOUT_MAX


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "store": (lambda value: value in ("memory", "database"), "'memory' or 'database'"),
    "max_interpreters": (
        lambda value: value is None or _is_count(value),
        "a number greater than 0, or None: as many as CPUs",
    ),
    "max_tasks_per_interpreter": (
        lambda value: value is None or _is_count(value),
        "a number greater than 0, or None",
    ),
    "idle_timeout": (lambda value: value is None or _is_time(value), "seconds, or None"),
    "max_results": (_is_count, "a number greater than 0"),
    "enqueue_on_commit": (
        lambda value: isinstance(value, bool | str),
        "True, False, or a database's alias",
    ),
    "shutdown_timeout": (
        lambda value: value is None or value == 0 or _is_time(value),
        "seconds, or None: as long as it takes",
    ),
    "embedded": (
        lambda value: value is None or isinstance(value, bool),
        "True, False or None",
    ),
    "database": (lambda value: isinstance(value, str), "a database's alias"),
    "lease": (_is_time, "seconds"),
    "poll_interval": (_is_time, "seconds"),
    "keep_results": (
        lambda value: value is None or _is_time(value),
        "seconds, or None: for ever",
    ),
    "max_attempts": (_is_count, "a number greater than 0"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """All that main needs to know of a backend.

    Attributes:
        since: How old the settings are that say so: after a reload those of new web workers hold,
            though old ones still enqueue.

    """

    alias: str
    options: Options
    queues: frozenset[str] | None  # None: any
    site: Site = field(repr=False)
    since: float = field(default=_SINCE, compare=False, repr=False)
