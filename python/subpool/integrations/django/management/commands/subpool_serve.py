"""``manage.py subpool_serve``: the site and its tasks, in interpreters of one process."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.tasks import task_backends

from subpool.integrations import hypercorn
from subpool.integrations.django import registry, serving
from subpool.integrations.django.backend import InterpreterBackend
from subpool.integrations.django.dispatcher import Dispatcher

if TYPE_CHECKING:
    from hypercorn.config import Config as HypercornConfig


class Command(BaseCommand):
    """Serves the site."""

    help = (
        "Serve this site with Hypercorn, its web workers in interpreters of this process, and run "
        "its tasks there, too. SIGTERM and SIGINT end it gracefully: requests first, then tasks. "
        "SIGHUP replaces all interpreters one after another. All flags of `subpool serve` hold."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add those of `subpool serve`, but for what Django's own commands have."""
        try:
            from subpool.integrations.hypercorn import _command  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise CommandError(f"{error}: pip install 'subpool[hypercorn]'") from error
        theirs = argparse.ArgumentParser(add_help=False)
        _command.add_arguments(theirs)
        taken = {name for action in parser._actions for name in action.option_strings}  # noqa: SLF001
        for action in theirs._actions:  # noqa: SLF001 - there is no public way
            if not action.option_strings:
                continue
            action.option_strings = [name for name in action.option_strings if name not in taken]
            if action.option_strings:
                parser._add_action(action)  # noqa: SLF001 - as above
        parser.add_argument(
            "application",
            nargs="?",
            help="the app, as MODULE:APP (default: the project's asgi.py)",
        )
        parser.add_argument(
            "--no-tasks",
            action="store_true",
            help="leave the tasks of database stores to other processes",
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - BaseCommand's
        """Serve, then finish the tasks."""
        config = self.configuration(options)
        kind = options["workers_kind"]
        in_main = kind == "interpreter"  # else each web worker's process has its own memory stores
        for one in start_tasks(memory=in_main, database=not options["no_tasks"]):
            self.stdout.write(
                f"tasks of {one.config.alias!r} run in {one.width} interpreters of this process"
            )
        code = hypercorn.serve(config, workers_kind=kind, on_reload=renew, on_ready=keep_warm)
        for one in registry.all_of_them():
            stays = one.store.lease is not None
            one.close(one.config.options.shutdown_timeout, wait=False, run_due=not stays)
        for one in registry.all_of_them():
            one.join()
        if code:
            sys.exit(code)

    def configuration(self, options: dict[str, Any]) -> HypercornConfig:
        """Make Hypercorn's configuration of the command's flags."""
        from subpool.integrations.hypercorn import _command  # noqa: PLC0415 - an extra

        if options["application"] is None:
            options["application"] = serving.PATH
        # `--config` and the rest of the flags, under Hypercorn's names.
        every = argparse.ArgumentParser()
        _command.add_arguments(every)
        given = vars(every.parse_args([options["application"]]))
        given.update({name: value for name, value in options.items() if name in given})
        return _command.configuration(argparse.Namespace(**given))


def start_tasks(*, memory: bool, database: bool) -> list[Dispatcher]:
    """Prepare to run the tasks of memory stores, and start to run those of database stores."""
    started = []
    for backend in task_backends.all():
        if not isinstance(backend, InterpreterBackend):
            continue
        config = backend.config
        if config.options.store == "memory":
            if memory:
                started.append(registry.dispatcher_for(config))
        elif database:
            one = Dispatcher(config)
            registry.register(one)
            one.wake()
            started.append(one)
    return started


def keep_warm() -> None:
    """Start the interpreters of tasks: the web workers, which were first, are ready."""
    for one in registry.all_of_them():
        one.keep_warm()


def renew() -> None:
    """Have the tasks to come run in new interpreters."""
    for one in registry.all_of_them():
        one.renew()
