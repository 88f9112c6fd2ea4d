"""``manage.py subpool_worker``: a process that runs the tasks of a database store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task_backends
from django.tasks.exceptions import InvalidTaskBackend
from django.utils.autoreload import run_with_reloader
from django.utils.module_loading import autodiscover_modules

from subpool.integrations.django.backend import InterpreterBackend
from subpool.integrations.django.worker import WorkerDispatcher, run

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from subpool.integrations.django.config import Config


class Command(BaseCommand):
    """Runs tasks."""

    help = (
        "Run the tasks of a database store in interpreters of this process, until SIGTERM or "
        "SIGINT. Any number of such processes can share a database."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's options."""
        parser.add_argument(
            "--backend",
            default=DEFAULT_TASK_BACKEND_ALIAS,
            help="the alias in TASKS (default: %(default)s)",
        )
        parser.add_argument(
            "--queue",
            action="append",
            metavar="NAME",
            help="run this queue's tasks only; can be given more than once",
        )
        parser.add_argument(
            "--max-tasks", type=int, metavar="N", help="end after so many tasks have run"
        )
        parser.add_argument(
            "--batch", action="store_true", help="run what is due, and end when nothing is"
        )
        parser.add_argument(
            "--reload", action="store_true", help="start anew when code changes; for development"
        )

    def handle(self, **options: Any) -> None:
        """Run."""
        if options["reload"]:
            run_with_reloader(self.work, **options)
        elif code := self.work(**options):
            sys.exit(code)

    def work(self, **options: Any) -> int:
        """Run in this process; give the exit code."""
        config = self.config_of(options["backend"])
        queues = self.queues_of(config, options["queue"])
        max_tasks = options["max_tasks"]
        if max_tasks is not None and max_tasks < 1:
            raise CommandError("--max-tasks must be greater than 0.")
        self.check_table(config)
        if options["reload"]:
            autodiscover_modules("tasks")
        dispatcher = WorkerDispatcher(
            config,
            queues=queues,
            max_tasks=max_tasks,
            batch=options["batch"],
            imports=options["reload"],
        )

        def say(text: str) -> None:
            if options["verbosity"] > 0:
                self.stdout.write(text)
                self.stdout.flush()

        whose = "all queues" if dispatcher.queues is None else ", ".join(sorted(dispatcher.queues))
        say(
            f"subpool worker {dispatcher.claimant}: {dispatcher.width} interpreters for tasks of "
            f"{config.alias!r} ({whose})"
        )
        return run(dispatcher, say)

    def config_of(self, alias: str) -> Config:
        """Find the backend."""
        try:
            backend = task_backends[alias]
        except InvalidTaskBackend as error:
            raise CommandError(f"{error}") from error
        if not isinstance(backend, InterpreterBackend):
            raise CommandError(
                f"TASKS[{alias!r}] is a {type(backend).__name__}: this worker runs tasks of "
                "subpool.integrations.django.InterpreterBackend."
            )
        config: Config = backend.config
        if config.options.store != "database":
            raise CommandError(
                f"TASKS[{alias!r}] keeps its tasks in the memory of the process that enqueues "
                "them, and runs them there: set OPTIONS={'store': 'database'} to have workers."
            )
        return config

    def queues_of(self, config: Config, names: list[str] | None) -> frozenset[str] | None:
        """Check the names of queues."""
        if not names:
            return None
        unknown = sorted(set(names) - config.queues) if config.queues is not None else []
        if unknown:
            raise CommandError(
                f"TASKS[{config.alias!r}] has no queue {', '.join(map(repr, unknown))}; its QUEUES "
                f"are {', '.join(map(repr, sorted(config.queues or ())))}."
            )
        return frozenset(names)

    def check_table(self, config: Config) -> None:
        """Fail at once where the database is not prepared."""
        from subpool.integrations.django.models import StoredTask  # noqa: PLC0415 - needs the app

        database = config.options.database
        connection = connections[database]
        table = StoredTask._meta.db_table  # noqa: SLF001 - Django documents it
        if table not in connection.introspection.table_names():
            of_it = "" if database == DEFAULT_DB_ALIAS else f" --database {database}"
            raise CommandError(
                f"the database {database!r} has no table {table}: run `manage.py migrate{of_it}`."
            )
        connection.close()
