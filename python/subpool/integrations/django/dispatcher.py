"""Brings tasks from a store to a pool, in main: one dispatcher per alias and process.

Guarantees: at most as many tasks are with the pool as it has interpreters, so that what is claimed
next is the best of what is due then; of a store that others share, also those for the next 0.1 s,
since to claim takes time there, and what has not begun after a second is given back. Each claimed
task is finished or given back, whatever becomes of its interpreter.

Needs no Django, unless the store does: it also serves interpreters whose main has not set it up.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from subpool.integrations.django import failures
from subpool.integrations.django.calls import Calls
from subpool.integrations.django.pools import Pools
from subpool.integrations.django.stores import StoreUnavailable, utc_now
from subpool.integrations.django.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection

    from subpool.integrations.django.config import Config
    from subpool.integrations.django.stores import Record, Store

logger = logging.getLogger("subpool.integrations.django")

_LONGEST_STORE_PAUSE = 5.0
_SHORTEST_PAUSE = 0.01
# Seconds that a fork waits for a dispatcher's thread, which may be with the database, and for what
# is told of failures.
REST = 5.0


def _make_store(config: Config) -> Store:
    if config.options.store == "memory":
        return MemoryStore(config.options.max_results)
    config.site.set_up()
    # Late: it needs Django.
    module = import_module("subpool.integrations.django.stores.database")
    store: Store = module.DatabaseStore(config)
    return store


class Dispatcher:
    """What belongs to one alias: its store, its pool, and the thread that goes between them."""

    # The program is at its end: nothing starts any more.
    is_over = False

    def __init__(self, config: Config, store: Store | None = None) -> None:
        if store is None and config.options.store == "memory":
            store = _make_store(config)
        self._store = store
        # Whether others share the store, and what it has stays when this process ends.
        self.is_shared = store is None or store.lease is not None
        self._set(config)
        # Whose claims these are: no other process has the name, on whatever machine.
        self.claimant = f"{socket.gethostname()[:30]}.{os.getpid()}.{secrets.token_hex(4)}"
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pools = Pools(config, self.width)
        self._calls = Calls(self.claimant, self._changed, self._is_ending)
        self._awake = False
        # There is work, and no thread was to be had for it.
        self._unstarted = False
        # For a fork: whether the thread is to leave all as it is, and whether it does.
        self._resting = self._has_left = False
        self._draining = False
        # `close` was called, and no turn has begun since.
        self._was_told = False
        self._claims = True
        # Whether the last look found all that is due.
        self._has_looked = False
        self._deadline: float | None = None
        # What went wrong in the last turn, and how long it was waited for after it; 0: nothing.
        self._trouble: type[Exception] | None = None
        self._trouble_pause = 0.0

    def _set(self, config: Config) -> None:
        self.config = config
        # What is in this process's memory nobody else can run: it was valid when it was enqueued.
        self.queues: Collection[str] | None = config.queues if self.is_shared else None
        self.width = config.options.max_interpreters or os.process_cpu_count() or 1

    @property
    def store(self) -> Store:
        """The store. One that is not in memory is made by the thread: Django is set up for it."""
        if self._store is None:
            made = _make_store(self.config)
            with self._changed:
                made.follow(self.config.options)  # there may be others by now
                self._store = made
        return self._store

    def follow(self, config: Config) -> bool:
        """Work by other settings from now on, unless they are older.

        False: they want another store, and nothing is changed.

        What is enqueued and what has finished stays; what runs is finished where it runs.
        """
        with self._changed:
            mine = self.config
            if config.since < mine.since:
                return True
            old, new = mine.options, config.options
            if (old.store, old.database) != (new.store, new.database):
                return False
            self._set(config)
            if old != new or mine.site != config.site:
                if self._store is not None:
                    self._store.follow(new)
                self._pools.follow(config, self.width)
            self._awake = True
            self._changed.notify_all()
        return True

    def add(self, record: Record) -> Record:
        """Take a new record, and see that it runs."""
        if Dispatcher.is_over:
            raise RuntimeError("cannot enqueue a task: the program is at its end")
        self.store.add(record)
        self.wake()
        return record

    def wake(self) -> None:
        """Look for tasks that are due; start the thread if there is none."""
        with self._changed:
            self._awake = True
            if self._thread is None and not self._resting and not Dispatcher.is_over:
                self._draining, self._claims, self._deadline = False, True, None
                self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        """Start the thread. If none is to be had, the next one who comes tries again."""
        self._thread, self._has_left = None, False
        thread = threading.Thread(
            target=self._run, name=f"subpool-tasks-{self.config.alias}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            if not self._unstarted:
                text = "tasks of %r wait: %s; the next call for one of them tries again"
                logger.error(text, self.config.alias, error)  # noqa: TRY400
            self._unstarted = True
        else:
            self._thread, self._unstarted = thread, False

    def close(
        self, timeout: float | None = None, *, wait: bool = True, run_due: bool = True
    ) -> None:
        """Run what is due, for so many seconds; then interrupt what runs, and end the pool.

        Results stay. The next task starts all anew.

        Args:
            timeout: Seconds; None: as long as it takes.
            wait: Whether to wait for the end.
            run_due: False: only what runs already ends; what is due is left for others.

        """
        with self._changed:
            self._draining = self._was_told = True
            self._claims = self._claims and run_due
            self._deadline = None if timeout is None else time.monotonic() + timeout
            if self._unstarted and self._claims and not Dispatcher.is_over:
                self._start()
            self._changed.notify_all()
        if wait:
            self.join()

    def join(self) -> None:
        """Wait for the end that `close` has asked for, and until its failures are told."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        failures.wait()

    def rest(self) -> None:
        """End the thread, and nothing else, before a fork: the child shall find no lock held."""
        with self._changed:
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return
            self._resting = True
            self._changed.notify_all()
        thread.join(REST)

    def go_on(self) -> None:
        """Start the thread again after a fork, in the parent."""
        with self._changed:
            if not self._resting:
                return
            self._resting = False
            if self._thread is None:  # it had come to its end
                if self._awake:
                    self.wake()
            elif self._has_left and not Dispatcher.is_over:
                self._start()

    def renew(self) -> None:
        """Have the tasks to come run in new interpreters, since code has changed."""
        with self._changed:
            self._pools.renew()
            self._awake = True
            self._changed.notify_all()

    def keep_warm(self) -> None:
        """Have interpreters ready before the first task comes, and after each `renew`."""
        with self._changed:
            self._pools.keep_warm()
            self.wake()

    def _run(self) -> None:
        while not self._leaves():
            if not self._turn_or_pause():
                self._end()
                return
        with suppress(Exception):
            self._close_store()

    def _leaves(self) -> bool:
        # What is said here holds, though the fork be over before the thread has ended.
        with self._changed:
            self._has_left = self._resting
            return self._has_left

    def _turn_or_pause(self) -> bool:
        """Take a turn; when it fails, say so once, and wait: only `close` ends the thread."""
        try:
            return self._turn()
        except Exception as error:  # a store has errors of its own
            is_away = isinstance(error, StoreUnavailable)
            if self._trouble is not type(error):
                self._trouble = type(error)
                if is_away:
                    logger.error("%s; tasks wait until it is back", error)  # noqa: TRY400
                else:
                    logger.exception("tasks %r wait, until this is over", self.config.alias)
            self._trouble_pause = min(2 * self._trouble_pause or 0.25, _LONGEST_STORE_PAUSE)
            with self._changed:
                if self._draining and not is_away:
                    self._claims = False  # only what runs is waited for
                if not self._is_late() and not self._resting:
                    self._changed.wait(self._trouble_pause)
                # Without a store there is nothing to see to, either.
                return not (self._is_late() or (self._draining and self._store is None))

    def _note_success(self) -> None:
        if self._trouble is not None:
            logger.warning("tasks %r go on", self.config.alias)
            self._trouble, self._trouble_pause = None, 0.0

    def _turn(self) -> bool:
        """Claim and submit what there is room for; wait. False: there is no more to do."""
        with self._changed:
            if self._resting:
                return True
            self._awake = self._was_told = False
        if not self._draining:
            self._pools.warm_up()
        self._settle()
        room = self._room()
        claimed = self.store.claim(self.queues, room, self.claimant) if room > 0 else []
        submitted = self._submit_all(claimed)
        self._has_looked = room > 0 and submitted
        if self._draining:
            if not submitted:
                self._claims = False  # none of what is due can run; what runs shall end
            if self._is_late() or not self._calls:
                return False
        self._calls.give_back(self.width, at_once=not self._claims)
        pause = self._next_look()
        self._note_success()
        with self._changed:
            # What comes within a turn may come too late for it.
            if not (self._awake or self._was_told or self._calls.have_ended or self._resting):
                self._changed.wait(pause)
        return True

    def _room(self) -> int:
        if not self._claims or self._is_late() or time.monotonic() < self._pools.not_before:
            return 0
        ahead, running = self._calls.ahead(self.store), len(self._calls)
        room = self.width + ahead - running
        # A few at a time, while there is enough to do.
        return room if running < self.width or room > ahead // 2 else 0

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _is_ending(self) -> bool:
        return self._is_late() or Dispatcher.is_over

    def _next_look(self) -> float | None:
        """Tell in how many seconds there is something to do that nobody tells of."""
        now = time.monotonic()
        times: list[float] = []
        if self._deadline is not None:
            times.append(self._deadline - now)
        times += [when - now for when in self._calls.next_times(self.width, self.store)]
        if now < self._pools.not_before:
            times.append(self._pools.not_before - now)
        elif len(self._calls) < self.width and self._room() > 0:
            if self.store.poll_interval is not None:
                times.append(self.store.poll_interval)
            due = self.store.next_due(self.queues)
            if due is not None:
                # What is due and was not claimed is being claimed by another process.
                least = 0.0 if self.store.lease is None else _SHORTEST_PAUSE
                times.append(max(least, (due - utc_now()).total_seconds()))
        return max(0.0, min(times)) if times else None

    def _submit_all(self, claimed: list[Record]) -> bool:
        """Give claimed tasks to the pool. False: there is none to be had now."""
        for position, record in enumerate(claimed):
            try:
                self._submit(record)
            except Exception as error:  # noqa: BLE001 - no thread to be had, a broken pool, the end
                self._pools.have_failed(error)
                self._calls.release([one.id for one in claimed[position:]], self.store)
                return False
        return True

    def _submit(self, record: Record) -> None:
        self._calls.submit(record, self.store, self._pools)

    def _settle(self) -> None:
        self._calls.settle(self.store, self._pools)

    def _end(self) -> None:
        """End the pool; what waits stays in the store."""
        is_late = self._is_late()
        try:
            self._end_pools()
        except Exception:
            logger.exception("the end of tasks %r has failed", self.config.alias)
        with self._changed:
            self._thread = None
            # A task that came meanwhile.
            if self._awake and not is_late:
                self.wake()

    def _end_pools(self) -> None:
        pools = self._pools.take_all()
        if self._calls:
            logger.warning(
                "%d tasks of %r still run after the shutdown_timeout, and are interrupted",
                len(self._calls),
                self.config.alias,
            )
            self._calls.cut_off(self.store, self._pools, pools)
        else:
            for pool in pools:
                pool.shutdown()
        self._calls.clear()
        self._close_store()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()

    def get(self, record_id: str) -> Record | None:
        """Give a record as it is now."""
        if self._unstarted:
            self.wake()
        return self.store.get(record_id)

    def lost(self) -> int:
        """Count what ends with this process."""
        return self._store.open_count() if isinstance(self._store, MemoryStore) else 0

    def in_child(self) -> Dispatcher:
        """Make the one for the child of a fork."""
        store = self._store.in_child() if isinstance(self._store, MemoryStore) else None
        return Dispatcher(self.config, store)
