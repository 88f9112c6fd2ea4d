"""The dispatchers of this process, one per alias, and what happens to all of them.

Guarantees: at the end of the program each runs what is due, or what runs already if its store
stays, for `shutdown_timeout` seconds, before subpool closes the interpreters; before a fork their
threads rest; the child has dispatchers of its own, that know the parent's results and none of its
tasks.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from subpool.integrations.django import failures
from subpool.integrations.django.dispatcher import REST, Dispatcher

if TYPE_CHECKING:
    from subpool.integrations.django.config import Config
    from subpool.integrations.django.stores import Record

logger = logging.getLogger("subpool.integrations.django")

_lock = threading.Lock()
_dispatchers: dict[str, Dispatcher] = {}


def dispatcher_for(config: Config) -> Dispatcher:
    """Give the dispatcher of an alias; it follows when the settings have changed."""
    with _lock:
        known = _dispatchers.get(config.alias)
        if known is not None and (
            known.config is config or known.config == config or known.follow(config)
        ):
            return known
        made = _dispatchers[config.alias] = Dispatcher(config)
    if known is not None:
        known.close(wait=False)
    return made


def register(dispatcher: Dispatcher) -> None:
    """Make it the one of its alias: tasks wake it, and the end of the program ends it."""
    with _lock:
        _dispatchers[dispatcher.config.alias] = dispatcher


def find(alias: str) -> Dispatcher | None:
    """Give the dispatcher of an alias, if there is one."""
    return _dispatchers.get(alias)


def all_of_them() -> list[Dispatcher]:
    """Give the dispatchers of this process."""
    return list(_dispatchers.values())


def close_all() -> None:
    """End all pools, each within its `shutdown_timeout`."""
    for dispatcher in all_of_them():
        dispatcher.close(dispatcher.config.options.shutdown_timeout, wait=False)
    for dispatcher in all_of_them():
        dispatcher.join()


# What interpreters ask (stores/remote.py).


def add_from_interpreter(config: Config, record: Record) -> Record:
    """Take a task, in the dispatcher that main has for the alias."""
    before = None
    with _lock:
        known = _dispatchers.get(config.alias)
        if known is None or not _follows(known, config):
            before, known = known, Dispatcher(config)
            _dispatchers[config.alias] = known
    if before is not None:
        before.close(wait=False, run_due=False)
    return known.add(record)


def _follows(known: Dispatcher, config: Config) -> bool:
    # Not the rest of the config: how Django was set up there, which nobody can compare.
    same = known.config.options == config.options and known.config.queues == config.queues
    return same or known.follow(config)


def wake_from_interpreter(config: Config) -> None:
    """Have the alias's dispatcher look for tasks, if this process runs them."""
    with _lock:
        known = _dispatchers.get(config.alias)
        if known is None and config.options.runs_here:
            known = _dispatchers[config.alias] = Dispatcher(config)
        if known is not None and not _follows(known, config):
            logger.error(
                "TASKS[%r] has another store now. This process, which has been started before "
                "that, does not run its tasks: start it anew",
                config.alias,
            )
    if known is not None:
        known.wake()


def call_store(alias: str, method: str, *args: Any) -> Any:
    """Call a method of an alias's store; None if nobody has enqueued anything."""
    known = _dispatchers.get(alias)
    if known is None:
        return None
    if method == "get":
        return known.get(*args)
    return getattr(known.store, method)(*args)


def _finish_all() -> None:
    """Finish, before subpool closes the interpreters at the end of the program."""
    dispatchers = all_of_them()
    try:
        for dispatcher in dispatchers:
            # What is due in a store that stays is left for the next process.
            timeout = dispatcher.config.options.shutdown_timeout
            dispatcher.close(timeout, wait=False, run_due=not dispatcher.is_shared)
        for dispatcher in dispatchers:
            dispatcher.join()
    except BaseException:  # Ctrl-C; subpool interrupts what runs
        for dispatcher in dispatchers:
            dispatcher.close(0, wait=False)
        raise
    finally:
        Dispatcher.is_over = True
        for dispatcher in dispatchers:
            if lost := dispatcher.lost():
                logger.warning(
                    "%d tasks of %r had not run when the program ended, and are lost: they were "
                    "in its memory. OPTIONS={'store': 'database'} keeps them",
                    lost,
                    dispatcher.config.alias,
                )


def _before_fork() -> None:
    for dispatcher in all_of_them():
        dispatcher.rest()
    failures.wait(REST)


def _in_parent() -> None:
    for dispatcher in all_of_them():
        dispatcher.go_on()


def _in_child() -> None:
    global _lock, _dispatchers  # noqa: PLW0603 - the child has none of their threads
    _lock = threading.Lock()
    failures.in_child()
    _dispatchers = {alias: one.in_child() for alias, one in _dispatchers.items()}


# After that of subpool's own, and so called before it.
threading._register_atexit(_finish_all)  # type: ignore[attr-defined]  # noqa: SLF001
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
