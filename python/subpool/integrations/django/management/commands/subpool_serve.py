"""``manage.py subpool_serve``: the site and its tasks, in interpreters of one process."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.tasks import task_backends

from subpool.integrations._signals import Signals
from subpool.integrations.django import registry, serving
from subpool.integrations.django.backend import InterpreterBackend
from subpool.integrations.django.dispatcher import Dispatcher
from subpool.integrations.django.worker import CUT_OFF, FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config as HypercornConfig

    from subpool.integrations.django.config import Config


class ServingDispatcher(Dispatcher):
    """A dispatcher that ends for good, and can tell how that went."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.cut_off = 0
        self._was_waiting = False
        self._is_closed = False

    @property
    def failed(self) -> bool:
        """Whether it could not do its work at the end."""
        return self._trouble is not None or self._unstarted or self._was_waiting

    def wake(self) -> None:
        """Look for tasks that are due; not once it was told to end."""
        with self._changed:
            if not self._is_closed:
                super().wake()

    def close(
        self, timeout: float | None = None, *, wait: bool = True, run_due: bool = True
    ) -> None:
        """End for good."""
        self._is_closed = True
        super().close(timeout, wait=wait, run_due=run_due)

    def _end(self) -> None:
        self.cut_off = len(self._calls)
        self._was_waiting = time.monotonic() < self._pools.not_before
        super()._end()


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
        from subpool.integrations.hypercorn import _main  # noqa: PLC0415 - an extra

        kind = options["workers_kind"]
        try:
            config = self.configuration(options)
        except (OSError, ValueError) as error:
            why = f"cannot read the configuration {options['config']}: {error}"
            raise CommandError(why, returncode=2) from error
        try:
            _main.check(config, kind)
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from error
        in_main = kind == "interpreter"  # else each web worker's process has its own memory stores
        for one in start_tasks(memory=in_main, database=not options["no_tasks"]):
            self.stdout.write(
                f"tasks of {one.config.alias!r} run in {one.width} interpreters of this process"
            )
        if not config.workers:
            keep_warm()  # nobody will tell when the server is ready
        code = _main.serve(config, kind, renew, keep_warm, is_last=True, on_stop=begin_no_more)
        of_tasks = finish_tasks(self.say)
        if code := code or of_tasks:
            sys.exit(code)

    def say(self, text: str) -> None:
        """Tell the one who has sent a signal."""
        self.stdout.write(text)
        self.stdout.flush()

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
    """Make the dispatchers. What is in databases is not looked for before `keep_warm`."""
    started = []
    for backend in task_backends.all():
        if not isinstance(backend, InterpreterBackend):
            continue
        config = backend.config
        if config.options.store == "memory":
            if memory:
                started.append(registry.dispatcher_for(config))
        elif database:
            one = ServingDispatcher(config)
            registry.register(one)
            started.append(one)
    return started


def keep_warm() -> None:
    """Start the interpreters of tasks: the web workers, which were first, are ready.

    Before that a server may yet find that its port is in use, and end.
    """
    for one in registry.all_of_them():
        one.keep_warm()


def begin_no_more() -> None:
    """Leave what waits in databases to others: this process ends when its requests have."""
    for one in registry.all_of_them():
        if isinstance(one, ServingDispatcher):
            one.close(wait=False, run_due=False)


def finish_tasks(say: Callable[[str], object]) -> int:
    """Let the tasks that run finish, until a signal comes; give the exit code.

    Signals mean from now on what they mean to `subpool_worker`.
    """
    every = registry.all_of_them()

    def wait() -> None:
        for one in every:
            one.join()
        signals.end()

    with Signals(signal.SIGTERM, signal.SIGINT) as signals:
        for one in every:
            timeout = one.config.options.shutdown_timeout
            one.close(timeout, wait=False, run_due=not one.is_shared)
        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        while (number := signals.wait()) is not None:
            say(f"{number.name}: interrupting the tasks that run")
            for one in every:
                one.close(0, wait=False, run_due=False)
        waiter.join()
    if any(getattr(one, "failed", False) for one in every):
        return FAILED
    return CUT_OFF if any(getattr(one, "cut_off", 0) or one.lost() for one in every) else 0


def renew() -> None:
    """Have the tasks to come run in new interpreters."""
    for one in registry.all_of_them():
        one.renew()
