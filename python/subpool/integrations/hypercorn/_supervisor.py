"""The supervisor: keeps a worker at each place, in main's main thread, on a loop of its own.

Guarantees: a worker that another one follows is told to end only when its follower accepts
connections; a follower that fails leaves it where it is. The listening sockets are made once, when
the app has loaded in a worker, and live as long as the server. Each worker's end is bounded: by
`graceful_timeout` for its requests, `shutdown_timeout` for its lifespan, and some seconds for
what reacts to neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from subpool.errors import IncompatibleModuleError
from subpool.integrations.hypercorn import _errors
from subpool.integrations.hypercorn._places import FIRST_DELAY, Life, Place
from subpool.integrations.hypercorn._watch import Watch
from subpool.integrations.hypercorn._workers import KINDS, ProcessEndedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config, Sockets

FAILED, INCOMPATIBLE, CUT_OFF = 1, 3, 4

_LONGEST_DELAY = 10.0
_GOOD_LIFE = 30.0  # seconds after which a worker's failure counts as its first

_MARGIN = 2.0  # seconds that a worker may take beyond what it was given
_INTERRUPTS = 3  # how often it is then interrupted, a second apart
# Seconds in which a second signal means the same as the first one: `timeout` and others signal a
# process and its group. After that it means that the user will not wait.
_TWICE = 1.0
_LOOK = 1.0  # seconds between two looks at the app's files


class Supervisor:
    """One run of the server."""

    def __init__(
        self, config: Config, settings: dict[str, Any], kind: str, before_exit: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            config: Hypercorn's configuration.
            settings: What makes another one the same.
            kind: The workers', in `KINDS`.
            before_exit: Called if the process has to end under a worker that does not.

        """
        self._config = config
        self._before_exit = before_exit
        self._kind = KINDS[kind]
        self._settings = settings
        self._log = _logger(config)
        self._loop = asyncio.new_event_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._places = [Place(number) for number in range(1, config.workers + 1)]
        self._lives: set[Life] = set()
        self._leaving: list[Any] = []  # ended, but for their interpreters
        self._sockets: Sockets | None = None
        self._was_up = False
        self._is_stopping = False
        self._told_at = 0.0
        self._is_abandoning = False
        self._to_reload: list[Place] = []
        self._reloading: Life | None = None
        self._giving_way: Life | None = None  # the one before it, until it accepts nothing more
        self._watch = Watch()
        self.code = 0
        # Called when a reload begins, for what else has to follow the code.
        self.on_reload: Callable[[], object] = lambda: None
        # Called once, when all workers are up, for what must not take their time.
        self.on_ready: Callable[[], object] = lambda: None

    def run(self) -> int:
        """Serve until the end, and give the exit code."""
        loop = self._loop
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload, "SIGHUP")
        try:
            for place in self._places:
                self._start(place)
            if self._config.use_reloader:
                loop.call_later(_LOOK, self._look)
            loop.run_until_complete(self._over)
        finally:
            for sock in self._all_sockets():
                sock.close()
            loop.close()
        self._leave()
        return self.code

    # Workers start.

    def _start(self, place: Place) -> Life:
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
        life = place.follower = Life()
        self._lives.add(life)
        life.handle = self._kind(
            self._loop,
            self._settings,
            place.number,
            lambda _, message: self._heard(place, life, message),
            lambda _, error: self._ended(place, life, error),
        )
        return life

    def _heard(self, place: Place, life: Life, message: list[Any]) -> None:
        match message:
            case ["option", option]:
                life.option = option
            case ["loaded"]:
                self._give_sockets(life)
            case ["ready"]:
                self._is_ready(place, life)
            case ["draining"] if life is self._giving_way:
                self._reload_next()
            case ["files", *files]:
                self._watch.add(files)
            case ["worn"] if place.current is life and place.follower is None:
                if not self._is_stopping and place.timer is None:
                    self._log.info("Worker %d has had its requests: another follows", place.number)
                    self._start(place)
            case _:
                self._heard_of_its_end(place, life, message)

    def _heard_of_its_end(self, place: Place, life: Life, message: list[Any]) -> None:
        match message:
            case ["cut", count]:
                life.was_cut = True
                self._log.warning(
                    "Worker %d: cut off %d request(s) that did not end within %s s",
                    place.number, count, self._config.graceful_timeout,
                )  # fmt: skip
            case ["closing"] if life.state == "draining":
                self._limit(place, life, self._config.shutdown_timeout + _MARGIN)
            case ["ended", *_] if life.state == "draining":
                self._limit(place, life, _MARGIN + _MARGIN)

    def _give_sockets(self, life: Life) -> None:
        if self._is_stopping:
            return
        if self._sockets is None:
            try:
                self._open()
            except (OSError, ValueError, TypeError) as error:
                self._log.error("Cannot listen: %s", error)
                self._fail(FAILED)
                return
        if self._sockets is not None:
            life.handle.give(self._sockets)

    def _open(self) -> None:
        self._sockets = self._config.create_sockets()
        for sock in self._all_sockets():
            sock.set_inheritable(False)
            if sock not in self._sockets.quic_sockets:
                sock.listen(self._config.backlog)  # clients wait from now on

    def _all_sockets(self) -> list[Any]:
        sockets = self._sockets
        if sockets is None:
            return []
        return [*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets]

    def _is_ready(self, place: Place, life: Life) -> None:
        if life.state != "starting":  # it was told to end before it was ready to hear that
            life.state = "draining"
            return
        life.state = "ready"
        life.ready_at = self._loop.time()
        if self._is_stopping:
            return
        before, place.current, place.follower = place.current, life, None
        if before is not None:
            self._tell(place, before, "retire")
        if not self._was_up and all(each.current for each in self._places):
            self._was_up = True
            self._log.info("All %d worker(s) are ready", len(self._places))
            self.on_ready()
        if self._reloading is life:
            if before is None:
                self._reload_next()
            else:
                self._giving_way = before

    # Workers end.

    def _tell(self, place: Place, life: Life, word: str) -> None:
        life.handle.order(word)
        if life.state != "draining":
            patience = self._config.graceful_timeout + _MARGIN if life.state == "ready" else 1.0
            life.state = "draining" if life.state == "ready" else "unwanted"
            self._limit(place, life, patience)

    def _limit(self, place: Place, life: Life, seconds: float) -> None:
        life.cancel_timer()
        life.timer = self._loop.call_later(seconds, self._overdue, place, life)

    def _overdue(self, place: Place, life: Life) -> None:
        life.forced += 1
        if life.forced > _INTERRUPTS + 1:
            self._log.error(
                "Worker %d does not end: a call of a C function, or a thread of the app's, goes "
                "on. It is left to itself", place.number,
            )  # fmt: skip
            self._is_abandoning = True
            self._forget(place, life)
            return
        if life.forced == 1 and life.state == "draining":
            life.was_cut = True
            self._log.warning("Worker %d has not ended in time: it is interrupted", place.number)
        life.handle.force(hard=life.forced > _INTERRUPTS)
        self._limit(place, life, 1.0)

    def _ended(self, place: Place, life: Life, error: BaseException | None) -> None:
        if life not in self._lives:
            return
        self._leaving.append(life.handle)
        was_replaced = place.current is not life and life.ready_at > 0
        life.handle.when_gone(lambda: self._gone(life, was_replaced=was_replaced))
        state, life.state = life.state, "ended"
        if life.forced or state == "unwanted":
            error = None  # what it was ended with
        if error is not None:
            self._tell_failure(place, life, state, error)
        elif state in {"starting", "ready"} and not self._is_stopping:
            self._log.warning("Worker %d has ended by itself", place.number)
        if self._is_stopping:
            if error is not None:
                self.code = self.code or FAILED
            elif life.was_cut:
                self.code = self.code or CUT_OFF
        elif not self._was_up and state == "starting":
            self._fail(INCOMPATIBLE if isinstance(error, IncompatibleModuleError) else FAILED)
        self._forget(place, life)

    def _forget(self, place: Place, life: Life) -> None:
        """Go on without this worker."""
        life.cancel_timer()
        self._lives.discard(life)
        if self._is_stopping:
            if not self._lives and not self._over.done():
                self._over.set_result(None)
            return
        self._reload_without(life)
        if place.follower is life:
            place.follower = None
            if place.current is None or place.current.state != "ready":
                self._start_later(place)
        elif place.current is life:
            place.current = None
            if life.ready_at and self._loop.time() - life.ready_at >= _GOOD_LIFE:
                place.delay = FIRST_DELAY
            if place.follower is None:
                self._start_later(place)

    def _gone(self, life: Life, *, was_replaced: bool) -> None:
        """Note that nothing is left of a worker: its interpreter is closed, too."""
        self._leaving.remove(life.handle)
        if was_replaced and not self._is_stopping:
            self._log.info("Worker %d: the one before it has ended", life.handle.number)

    def _start_later(self, place: Place) -> None:
        if place.timer is None:
            self._log.info("Worker %d starts again in %.1f s", place.number, place.delay)
            place.timer = self._loop.call_later(place.delay, self._start_again, place)
            place.delay = min(place.delay * 2, _LONGEST_DELAY)

    def _start_again(self, place: Place) -> None:
        place.timer = None
        if place.follower is None and not self._is_stopping:
            self._start(place)

    def _tell_failure(self, place: Place, life: Life, state: str, error: BaseException) -> None:
        config = self._config
        if isinstance(error, IncompatibleModuleError) and state == "starting":
            self._log.error(_errors.incompatible(config, error, life.option))
        else:
            what = "failed"
            if state == "starting":
                what = "failed to start" if self._sockets else "could not load the app"
            why = str(error) if isinstance(error, ProcessEndedError) else _errors.told(error)
            self._log.error("Worker %d %s: %s", place.number, what, why)

    # Reloads.

    def _look(self) -> None:
        if self._is_stopping:
            return
        if changed := self._watch.changed():
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            self._reload(f"{changed[0]}{more} changed")
        self._loop.call_later(_LOOK, self._look)

    def _reload(self, why: str) -> None:
        if self._is_stopping:
            return
        self._log.info("%s: all workers are replaced, one after another", why)
        for handler in self._log.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()  # it opens its file anew: somebody may have moved it
        self.on_reload()
        self._to_reload = list(self._places)
        if self._reloading is None:
            self._reload_next()

    def _reload_without(self, life: Life) -> None:
        """Go on with a reload in which that worker has ended, or give it up."""
        if self._giving_way is life:
            self._reload_next()
        elif self._reloading is life:
            self._reloading = self._giving_way = None
            self._to_reload.clear()
            self._log.error("The reload has failed: the workers that there are go on")

    def _reload_next(self) -> None:
        self._reloading = self._giving_way = None
        if not self._to_reload:
            self._log.info("All workers are replaced")
            return
        place = self._to_reload.pop(0)
        if place.follower is not None:  # a new one is on its way, but from what was there before
            self._tell(place, place.follower, "stop")
        self._reloading = self._start(place)

    # The end.

    def _stop(self, number: signal.Signals) -> None:
        now = self._loop.time()
        if self._is_stopping:
            if now < self._told_at + _TWICE:
                return
            self._log.warning("%s again: what still runs is cut off", number.name)
            for place, life in self._with_places():
                life.was_cut = True
                self._limit(place, life, 0)
            return
        self._told_at = now
        self._log.info("%s: the workers finish their requests and end", number.name)
        self._end_all()

    def _fail(self, code: int) -> None:
        if not self._is_stopping:
            self.code = code
            self._end_all()

    def _end_all(self) -> None:
        self._is_stopping = True
        for place in self._places:
            if place.timer is not None:
                place.timer.cancel()
        for place, life in self._with_places():
            self._tell(place, life, "stop")
        if not self._lives and not self._over.done():
            self._over.set_result(None)

    def _with_places(self) -> list[tuple[Place, Life]]:
        return [(self._places[life.handle.number - 1], life) for life in self._lives]

    def _leave(self) -> None:
        """Wait for the interpreters, or end the process under those that cannot be closed."""
        until = time.monotonic() + _MARGIN
        for handle in self._leaving:
            if not handle.join(max(0.0, until - time.monotonic())):
                self._is_abandoning = True
        if self._is_abandoning:
            self.code = self.code or CUT_OFF
            self._log.error("The process ends without what still runs in a worker")
            self._abandon()

    def _abandon(self) -> None:
        """End the process now."""
        self._before_exit()
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(self.code)


def _logger(config: Config) -> logging.Logger:
    logger = getattr(config.log, "error_logger", None)
    return logger if isinstance(logger, logging.Logger) else logging.getLogger("hypercorn.error")
