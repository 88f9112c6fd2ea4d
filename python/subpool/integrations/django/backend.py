"""The backend for TASKS."""

from __future__ import annotations

import logging
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.core import checks
from django.core.signals import setting_changed
from django.db import connections, transaction
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskResult, TaskResultStatus
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils.crypto import get_random_string

from subpool import worker
from subpool.integrations.django import results
from subpool.integrations.django.config import Config, Options, Site
from subpool.integrations.django.stores.remote import RemoteStore, wake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from subpool.integrations.django.stores import Record

logger = logging.getLogger("subpool.integrations.django")

_APP = "subpool.integrations.django"

# How often a setting was changed (by tests): what was made before is not true any more.
_changes = 0
# How Django was set up after so many of them, when the first task came: the same for all threads,
# whose backends are their own. If they differed each would have main replace all interpreters.
_sites: dict[int, Site] = {}


class InterpreterBackend(BaseTaskBackend):
    """Runs Django's tasks in interpreters of this process.

    One pool per alias and process, made with the first task; all threads, and all interpreters,
    enqueue to it. Django is set up once in each of its interpreters.

    ``OPTIONS``:

    ``store``
        ``"memory"`` (default): tasks and results end with the process. ``"database"``: they are in
        the project's database.
    ``max_interpreters``, ``max_tasks_per_interpreter``, ``idle_timeout``
        As `InterpreterPoolExecutor` has them (``max_workers`` is the first one's name there).
    ``max_results``
        How many results of finished tasks the memory store keeps.
    ``enqueue_on_commit``
        True (default): a task that is enqueued in a transaction of the default database is taken
        when that commits. A database's alias: of that one. False: at once. Where that database also
        has the tasks, they are rows of the transaction.
    ``shutdown_timeout``
        Seconds for which, at the end of the program, what is due is still run. Default: 30.

    Example::

        TASKS = {"default": {"BACKEND": "subpool.integrations.django.InterpreterBackend"}}

    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._problems = Options.problems(self.options)
        self._config: tuple[int, Config] | None = None

    @property
    def config(self) -> Config:
        """Say all that main and the interpreters need to know."""
        if self._config is None or self._config[0] != _changes:
            self._config = _changes, self._make_config()
        return self._config[1]

    def _make_config(self) -> Config:
        if self._problems:
            from django.tasks.exceptions import InvalidTaskBackend  # noqa: PLC0415 - rare

            raise InvalidTaskBackend(
                f"TASKS[{self.alias!r}]['OPTIONS']: {'; '.join(self._problems)}"
            )
        queues = frozenset(self.queues) or None
        return Config(self.alias, Options(**self.options), queues, _site_here())

    @property
    def stores_in(self) -> str | None:
        """The alias of the database that has the tasks; None: none has."""
        if self.options.get("store") != "database":
            return None
        database: str = self.options.get("database", Options().database)
        return database

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Queue a task; give its result, which is ready to be run.

        Raises:
            InvalidTask: This backend cannot run the task.
            TypeError: An argument is nothing that JSON can hold.

        """
        self.validate_task(task)
        _check_importable(task)
        result: Any = TaskResult(
            task=task,
            id=get_random_string(32),
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=results.plain(list(args)),
            kwargs=results.plain(dict(kwargs)),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        record = results.record_of(result)
        database = self._awaited_database()
        if database is None:
            self._add(result, record)
        else:
            transaction.on_commit(partial(self._add_committed, result, record), using=database)
        return result

    def _awaited_database(self) -> str | None:
        """Give the database whose commit is to be awaited, if a transaction is open there."""
        options = self.config.options
        if options.enqueue_on_commit is False:
            return None
        database = "default" if options.enqueue_on_commit is True else options.enqueue_on_commit
        if options.store == "database" and options.database == database:
            return None  # the task is a row of that transaction
        return database if _is_in_transaction(database) else None

    def _add(self, result: Any, record: Record) -> None:
        store_for(self.config).add(record)
        object.__setattr__(result, "enqueued_at", results.from_utc(record.enqueued_at))
        options = self.config.options
        # An interpreter may be one of a process that runs tasks, and only main knows.
        wakes = options.store != "memory" and (options.runs_here or worker() is not None)
        announce = partial(self._announce, result, wakes)
        if options.store != "memory" and _is_in_transaction(options.database):
            transaction.on_commit(announce, using=options.database)
        else:  # committed, or in a transaction whose end Django does not tell
            announce()

    def _announce(self, result: Any, wakes: bool) -> None:
        """Tell of a task that is stored: who runs it, and who wants to know."""
        if wakes:
            self._wake()
        task_enqueued.send_robust(type(self), task_result=result)

    def _add_committed(self, result: Any, record: Record) -> None:
        """Add it when its transaction is committed.

        Nothing may be raised here: it would leave the caller's `atomic()` as if that had failed,
        and what else waits for the commit, other tasks too, would be dropped.
        """
        try:
            self._add(result, record)
        except Exception:
            logger.exception(
                "task id=%s path=%s is lost: its transaction is committed, but then it could not "
                "be enqueued",
                record.id,
                record.task,
            )

    def _wake(self) -> None:
        """Have the row run at once. If that fails it is found at the next look."""
        try:
            if worker() is None:
                from subpool.integrations.django.registry import dispatcher_for  # noqa: PLC0415

                dispatcher_for(self.config).wake()
            else:
                wake(self.config)
        except Exception:
            logger.exception("a task of %r is stored, but nobody here looks for it", self.alias)

    def get_result(self, result_id: str) -> Any:
        """Give the result as it is now.

        Raises:
            TaskResultDoesNotExist: There is none of this number, or not any more.

        """
        record = store_for(self.config).get(result_id)
        if record is None:
            raise TaskResultDoesNotExist(result_id)
        return results.known_result_of(record)

    def close(self, timeout: float | None = None) -> None:
        """Run what is due, end the pool; results stay, and the next task starts a new one.

        For tests, and for programs that want the end of their tasks before their own.

        Args:
            timeout: Seconds after which the tasks that run are interrupted.

        """
        dispatchers: Any = sys.modules.get(f"{_APP}.registry")
        if dispatchers is not None and (found := dispatchers.find(self.alias)) is not None:
            found.close(timeout)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Look at the settings."""
        found: list[checks.CheckMessage] = list(super().check(**kwargs))
        place = f"TASKS[{self.alias!r}]['OPTIONS']"
        found += [checks.Error(f"{place}: {text}.", id="subpool.E001") for text in self._problems]
        if self._problems:
            return found
        options = Options(**self.options)
        if options.store == "database":
            from django.apps import apps  # noqa: PLC0415 - as late as it gets

            if not apps.is_installed(_APP):
                found.append(
                    checks.Error(
                        f"{place}: the database store needs its app.",
                        hint=f"Add {_APP!r} to INSTALLED_APPS, and run migrate.",
                        id="subpool.E002",
                    )
                )
        elif options.embedded is False:
            found.append(
                checks.Error(
                    f"{place}: with the memory store tasks run where they are enqueued, so "
                    "'embedded' cannot be False.",
                    id="subpool.E003",
                )
            )
        for name, database in (
            ("database", options.database if options.store == "database" else None),
            ("enqueue_on_commit", options.enqueue_on_commit),
        ):
            if isinstance(database, str) and database not in connections.settings:
                found.append(
                    checks.Error(
                        f"{place}: {name!r} names the database {database!r}, which is not in "
                        "DATABASES.",
                        id="subpool.E004",
                    )
                )
        return found


def _site_here() -> Site:
    changes = _changes
    # No lock, which a fork could leave held; it is the first one's that all get.
    return _sites.get(changes) or _sites.setdefault(changes, Site.here())


def store_for(config: Config) -> Any:
    """Give the store of an alias, as it can be reached from here."""
    if config.options.store == "memory":
        if worker() is not None:
            return RemoteStore(config)
        from subpool.integrations.django.registry import dispatcher_for  # noqa: PLC0415

        return dispatcher_for(config)
    return import_module(f"{_APP}.stores.database").store_for(config)  # needs the app


def _is_in_transaction(database: str) -> bool:
    """Tell whether `on_commit` would wait, without opening a connection."""
    return any(
        connection.alias == database and connection.in_atomic_block
        for connection in connections.all(initialized_only=True)
    )


def _check_importable(task: Any) -> None:
    """Refuse a task that an interpreter would not find."""
    module, name = task.func.__module__, task.func.__qualname__
    if module == "__main__":
        raise InvalidTask(
            f"task {name!r} is defined in the program's script, which interpreters do not import. "
            "Move it to a module."
        )
    found = getattr(sys.modules.get(module), name, None)
    if not isinstance(found, Task) or found.func is not task.func:
        raise InvalidTask(
            f"interpreters look for a task at '{module}.{name}', and there is "
            f"{'another one' if isinstance(found, Task) else type(found).__name__}. Give the task "
            "the name of its function, in that function's module."
        )


def _settings_changed(*, setting: str, **_: object) -> None:
    """Have the next task run with the settings as they are then."""
    global _changes  # noqa: PLW0603 - Django's settings are global, too
    _changes += 1
    _sites.clear()
    dispatchers: Any = sys.modules.get(f"{_APP}.registry")
    if setting == "TASKS" and dispatchers is not None:
        dispatchers.close_all()


setting_changed.connect(_settings_changed)
