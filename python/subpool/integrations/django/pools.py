"""The interpreters of one alias: made when they are needed, replaced when code changes.

Guarantees: tasks go to interpreters of one age at a time; those that are replaced finish what they
run; interpreters that could not start, or do not reach the store, are not tried again at once, but
later and later.

All is the dispatcher's thread's, but `renew`, `follow` and `keep_warm`.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from subpool import BrokenInterpreterPool, InterpreterPoolExecutor
from subpool.integrations.django import execution

if TYPE_CHECKING:
    from subpool import Future
    from subpool.integrations.django.config import Config
    from subpool.integrations.django.stores import Record

logger = logging.getLogger("subpool.integrations.django")

# Seconds until a pool that could not start is tried again, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Pools:
    """The pool that tasks go to, and those before it that may still run something."""

    def __init__(self, config: Config, width: int) -> None:
        self._config = config
        self._width = width
        self._pool: InterpreterPoolExecutor | None = None
        self._old: list[InterpreterPoolExecutor] = []
        self._is_old = False
        self._is_kept_warm = self._is_cold = False
        self._pause = _FIRST_PAUSE
        # When what has failed is tried again.
        self.not_before = 0.0

    def submit(self, claimant: str, record_id: str, record: Record | None) -> Future[bool]:
        """Have a claimed task run.

        Raises:
            RuntimeError: No thread is to be had, the pool is broken, or the program is at its end.

        """
        return self._current().submit(execution.run, claimant, record_id, record)

    def _current(self) -> InterpreterPoolExecutor:
        if self._is_old:
            self._is_old = False
            if self._pool is not None:
                self._pool.shutdown(wait=False)
                self._old = [one for one in self._old if one.stats().interpreters]
                self._old.append(self._pool)
                self._pool = None
        if self._pool is None:
            options = self._config.options
            self._pool = InterpreterPoolExecutor(
                self._width,
                f"tasks-{self._config.alias}",
                execution.set_up,
                (self._config,),
                max_tasks_per_interpreter=options.max_tasks_per_interpreter,
                idle_timeout=options.idle_timeout,
            )
        return self._pool

    def renew(self) -> None:
        """Have the tasks to come run in new interpreters, since code has changed."""
        self._is_old = True
        self._is_cold = self._is_kept_warm

    def follow(self, config: Config, width: int) -> None:
        """Have the tasks to come run by other settings."""
        self._config, self._width = config, width
        self.renew()

    def keep_warm(self) -> None:
        """Have interpreters start before there is a task for them, now and after each `renew`."""
        self._is_kept_warm = self._is_cold = True

    def warm_up(self) -> None:
        """Start the interpreters, in the background, if that was asked for."""
        if not self._is_cold:
            return
        self._is_cold = False
        with suppress(RuntimeError):  # the first task will tell
            pool, alias = self._current(), self._config.alias
            name = f"subpool-tasks-{alias}-start"
            threading.Thread(target=_warm_up, args=(pool, alias), name=name, daemon=True).start()

    def have_worked(self) -> None:
        """Note that a task has ended well."""
        self._pause = _FIRST_PAUSE

    def have_failed(self, error: BaseException) -> None:
        """Note that interpreters cannot start, or are broken: the next ones come after a pause."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)
        elif time.monotonic() < self.not_before:
            return  # one more task of a pool that is gone already
        logger.error("cannot start interpreters for tasks %r: %s", self._config.alias, error)
        self._wait()

    def have_no_store(self, error: BaseException) -> None:
        """Note that an interpreter does not reach the store, though main may: the same pause."""
        if time.monotonic() >= self.not_before:
            logger.error("tasks %r wait: in an interpreter, %s", self._config.alias, error)
            self._wait()

    def _wait(self) -> None:
        self.not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def take_all(self) -> list[InterpreterPoolExecutor]:
        """Give all there are, to end them."""
        pools = self._old if self._pool is None else [*self._old, self._pool]
        self._pool, self._old = None, []
        return pools


def _warm_up(pool: InterpreterPoolExecutor, alias: str) -> None:
    try:
        pool.warm_up()
    except BrokenInterpreterPool as error:
        logger.error("cannot start interpreters for tasks %r: %s", alias, error)  # noqa: TRY400
    except RuntimeError:
        pass  # it has been ended meanwhile
