"""A process that does nothing but run tasks: what `manage.py subpool_worker` starts.

Guarantees: SIGTERM and SIGINT end it when the tasks that run have ended, and nothing is begun after
them; what takes longer than `shutdown_timeout`, or than a second signal, is interrupted and given
back, for another process to run. The exit code says which it was.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from subpool.integrations._signals import Signals
from subpool.integrations.django import registry
from subpool.integrations.django.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from subpool.integrations.django.config import Config
    from subpool.integrations.django.stores import Record

# What `subpool serve` exits with, too.
FAILED, CUT_OFF = 1, 4


class WorkerDispatcher(Dispatcher):
    """The dispatcher of such a process.

    Args:
        config: The backend's.
        queues: Those whose tasks it runs; None: all of the backend's.
        max_tasks: How many tasks it runs; None: any number.
        batch: Whether it ends when nothing is due.
        imports: Whether main imports the modules of tasks, for a reloader to know them.

    """

    def __init__(
        self,
        config: Config,
        *,
        queues: Collection[str] | None = None,
        max_tasks: int | None = None,
        batch: bool = False,
        imports: bool = False,
    ) -> None:
        self._only = queues
        super().__init__(config)
        self.cut_off = 0
        # Whether it could not do its work.
        self.failed = False
        self.ended: Callable[[], object] = lambda: None
        self._max_tasks = max_tasks
        self._batch = batch
        self._imports = imports
        self._was_started = False
        # Whether a signal has told it to end.
        self.was_signalled = False

    def _set(self, config: Config) -> None:
        super()._set(config)
        if self._only is not None:
            self.queues = self._only

    def wake(self) -> None:
        """Look for tasks that are due. Once it has ended it stays so."""
        with self._changed:
            if self._thread is not None or not self._was_started:
                self._was_started = True
                super().wake()
                self._draining = self._draining or self._batch
                if self._unstarted:
                    self.failed = True  # it was logged
                    self.ended()

    def _room(self) -> int:
        room = super()._room()
        if self._max_tasks is None:
            return room
        return min(room, self._max_tasks - self._calls.ran - len(self._calls))

    def _settle(self) -> None:
        super()._settle()
        if self._has_run_all():
            self.close(wait=False, run_due=False)

    def _has_run_all(self) -> bool:
        return self._max_tasks is not None and self._calls.ran >= self._max_tasks

    def _submit(self, record: Record) -> None:
        if self._imports:
            with suppress(Exception):  # the interpreter will tell
                import_module(record.task.rpartition(".")[0])
        super()._submit(record)

    def _end(self) -> None:
        self.cut_off = len(self._calls)
        if self._batch and not (self._has_looked or self.was_signalled or self._has_run_all()):
            self.failed = True  # it was logged
        try:
            super()._end()
        finally:
            self.ended()


def run(dispatcher: WorkerDispatcher, say: Callable[[str], object]) -> int:
    """Run tasks until there is no more to do, or a signal comes; give the exit code.

    On a thread other than the main one signals are others' business.
    """
    registry.register(dispatcher)
    if threading.current_thread() is not threading.main_thread():
        dispatcher.wake()
        dispatcher.join()
        return FAILED if dispatcher.failed else 0
    with Signals(signal.SIGTERM, signal.SIGINT) as signals:
        dispatcher.ended = signals.end
        dispatcher.wake()
        while (number := signals.wait()) is not None:
            # First what is said, then the saying of it: who reads it may rely on it.
            if dispatcher.was_signalled:
                dispatcher.close(0, wait=False, run_due=False)
                say(f"{number.name} again: interrupting what runs")
            else:
                dispatcher.was_signalled = True
                timeout = dispatcher.config.options.shutdown_timeout
                dispatcher.close(timeout, wait=False, run_due=False)
                say(f"{number.name}: finishing what runs; again to interrupt it")
        dispatcher.join()
    if dispatcher.failed:
        return FAILED
    return CUT_OFF if dispatcher.cut_off else 0
