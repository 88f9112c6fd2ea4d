"""The supervisor: keeps a worker at each place, in main's main thread, on a loop of its own.

Guarantees: a worker that another one follows is told to end only when its follower accepts
connections; a follower that fails leaves it where it is. The listening sockets are made once, when
the app has loaded in a worker, and live as long as the server. Each worker's end is bounded: by
`graceful_timeout` for its requests, `shutdown_timeout` for its lifespan, and some seconds for
what reacts to neither; and so is its start, by `startup_timeout`. What goes wrong in the supervisor
itself, as when no descriptor is left, ends the server, or is one worker's failure.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from subpool.errors import IncompatibleModuleError
from subpool.integrations.hypercorn import _errors, _logs
from subpool.integrations.hypercorn._leaving import Leaving, leave_at_the_end, settle
from subpool.integrations.hypercorn._messages import patience
from subpool.integrations.hypercorn._places import FIRST_DELAY, Life, Place
from subpool.integrations.hypercorn._reloads import Reloads
from subpool.integrations.hypercorn._watch import Watch
from subpool.integrations.hypercorn._workers import KINDS, ProcessEndedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config

    from subpool.integrations._signals import Signals
    from subpool.integrations.hypercorn._listening import Listening

FAILED, INCOMPATIBLE, CUT_OFF = 1, 3, 4

_LONGEST_DELAY = 10.0
_GOOD_LIFE = 30.0  # seconds after which a worker's failure counts as its first

_MARGIN = 2.0  # seconds that a worker may take beyond what it was given
_INTERRUPTS = 3  # how often it is then interrupted, a second apart
# Seconds in which a second signal means the same as the first one: `timeout` and others signal a
# process and its group. After that it means that the user will not wait.
_TWICE = 1.0
_LOOK = 1.0  # seconds between two looks at the app's files
# Seconds that a reload waits for a replaced worker to stop accepting, before it goes on with the
# next place. Its loop may be busy for longer.
_GIVE_WAY = 5.0


class Supervisor:
    """One run of the server."""

    def __init__(
        self, config: Config, settings: dict[str, Any], kind: str, listening: Listening
    ) -> None:
        """Prepare.

        Args:
            config: Hypercorn's configuration.
            settings: What makes another one the same.
            kind: The workers', in `KINDS`.
            listening: What makes the sockets.

        """
        self._config = config
        self._listening = listening
        self._kind = KINDS[kind]
        self._settings = settings
        self._log = _logs.logger_of(config)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._broken)
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._places = [Place(number) for number in range(1, config.workers + 1)]
        self._lives: set[Life] = set()
        self._leaving = Leaving(self._loop, self._log)
        self._was_up = False
        self._is_stopping = False
        self._told_at: float | None = None  # when the first signal to end came
        self._reloads = Reloads(
            self._places,
            self._log,
            self._start,
            lambda place, life: self._tell(place, life, "retire"),
        )
        self._watch = Watch()
        self.code = 0
        # Called when a reload begins, for what else has to follow the code.
        self.on_reload: Callable[[], object] = lambda: None
        # Called once, when all workers are up, for what must not take their time.
        self.on_ready: Callable[[], object] = lambda: None
        # Called once, when the end begins, for what shall begin nothing more.
        self.on_stop: Callable[[], object] = lambda: None

    def run(self, signals: Signals) -> int:
        """Serve until the end, and give the exit code."""
        loop = self._loop
        signals.listen(loop, self._signalled)
        try:
            for place in self._places:
                if not self._is_stopping:
                    self._start(place)
            if self._config.use_reloader:
                loop.call_later(_LOOK, self._look)
            loop.run_until_complete(self._over)
            self._listening.close()
            for life in self._lives:  # the supervisor has failed
                life.handle.force(hard=True)
                self._leaving.add(life)
            if not self._leaving.wait(_MARGIN):
                self.code = self.code or CUT_OFF
                self._log.error("The process ends without what still runs in a worker")
                leave_at_the_end(self.code)
        finally:
            self._listening.close()
            loop.close()
        return self.code

    def _signalled(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            self._reload("SIGHUP")
        else:
            self._stop(number)

    def _broken(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End the server, since a call in its loop has failed."""
        self._log.error(
            "The supervisor has failed, and ends the server: %s",
            context.get("message"), exc_info=context.get("exception"),
        )  # fmt: skip
        if self._is_stopping:
            self.code = self.code or FAILED
            settle(self._over)
        else:
            self._fail(FAILED)

    def _call(self, name: str, hook: Callable[[], object]) -> None:
        try:
            hook()
        except Exception:  # noqa: BLE001 - it is logged
            self._log.exception("%s has failed; the server goes on", name)

    # Workers start.

    def _start(self, place: Place) -> Life | None:
        place.cancel_timer()
        life = Life()
        try:
            life.handle = self._kind(
                self._loop,
                self._settings,
                place.number,
                lambda _, message: self._heard(place, life, message),
                lambda _, error: self._ended(place, life, error),
            )
        except Exception as error:  # noqa: BLE001 - descriptors, threads, memory
            self._log.error("Worker %d cannot be started: %s", place.number, _errors.told(error))
            if not self._was_up:
                self._fail(FAILED)
            elif place.needs_another():
                self._start_later(place)
            return None
        place.follower = life
        self._lives.add(life)
        self._limit(place, life, self._config.startup_timeout + _MARGIN)
        return life

    def _heard(self, place: Place, life: Life, message: list[Any]) -> None:
        match message:
            case ["option", option]:
                life.option = option
            case ["loaded"]:
                self._give_sockets(place, life)
            case ["ready"]:
                self._is_ready(place, life)
            case ["draining"]:
                self._reloads.is_draining(life)
            case ["files", *files]:
                self._watch.add(files, life.began)
            case ["worn"] if place.current is life:
                life.is_worn = True
                if not self._is_stopping and place.timer is None and place.follower is None:
                    self._log.info("Worker %d has had its requests: another follows", place.number)
                    self._start(place)
            case _:
                self._heard_of_its_end(place, life, message)

    def _heard_of_its_end(self, place: Place, life: Life, message: list[Any]) -> None:
        match message:
            case ["cut", count, seconds]:
                life.was_cut = True
                self._log.warning(
                    "Worker %d: cut off %d request(s) that did not end within %s s",
                    place.number, count, seconds,
                )  # fmt: skip
            case ["closing"] if life.state == "draining":
                life.is_closing = True
                self._limit(place, life, self._config.shutdown_timeout + _MARGIN)
            case ["ended", *_] if life.state == "draining":
                self._limit(place, life, _MARGIN + _MARGIN)

    def _give_sockets(self, place: Place, life: Life) -> None:
        if self._is_stopping:
            return
        sockets = self._listening.sockets
        if sockets is None:
            what = "listen"
            try:
                sockets = self._listening.open()
                what = "write the file with the process's number"
                self._listening.write_pid()
            except Exception as error:  # noqa: BLE001 - Hypercorn's own, an impossible port
                self._log.error("Cannot %s: %s", what, str(error) or repr(error))
                self._fail(FAILED)
                return
        if life.state == "starting":
            self._limit(place, life, self._config.startup_timeout + _MARGIN)
        life.handle.give(sockets)

    def _is_ready(self, place: Place, life: Life) -> None:
        if life.state != "starting":  # it was told to end before it was ready to hear that
            life.state = "draining"
            if place.follower is life:
                place.follower = None
                self._loop.call_later(_GIVE_WAY, self._reloads.is_draining, life)
            if not life.forced:
                word = "stop" if self._is_stopping else "retire"
                self._limit(place, life, patience(self._config, word) + _MARGIN)
            return
        life.cancel_timer()
        life.state = "ready"
        life.ready_at = self._loop.time()
        before, place.current, place.follower = place.current, life, None
        if before is not None:
            self._tell(place, before, "retire")
            self._loop.call_later(_GIVE_WAY, self._reloads.is_draining, before)
            if self._has_lived(before):
                place.delay = FIRST_DELAY
        if not self._was_up and all(each.current for each in self._places):
            self._was_up = True
            self._log.info("All %d worker(s) are ready", len(self._places))
            self._call("on_ready", self.on_ready)
        self._reloads.is_ready(life, before)

    # Workers end.

    def _tell(self, place: Place, life: Life, word: str) -> None:
        life.handle.order(word)
        seconds = patience(self._config, word)
        if life.state == "ready":
            life.state = "draining"
        elif life.state == "starting":
            life.state = "unwanted"
            seconds = self._config.graceful_timeout  # no request is known of
        elif life.state == "unwanted" or life.is_closing or life.forced:
            return  # it has a limit already, and no longer one
        self._limit(place, life, seconds + _MARGIN)

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
            self._leaving.add(life)
            if self._is_stopping:
                self.code = self.code or CUT_OFF
            elif not self._was_up and life.state == "starting":
                self._fail(FAILED)
            self._forget(place, life)
            return
        if life.forced == 1 and life.state == "starting":
            self._log.error(
                "Worker %d has not started within %s s (startup_timeout): it is given up",
                place.number, self._config.startup_timeout,
            )  # fmt: skip
        elif life.forced == 1:
            life.was_cut = True
            self._log.warning("Worker %d has not ended in time: it is interrupted", place.number)
        life.handle.force(hard=life.forced > _INTERRUPTS)
        self._limit(place, life, 1.0)

    def _ended(self, place: Place, life: Life, error: BaseException | None) -> None:
        was_known = life in self._lives
        was_replaced = place.current is not life and life.ready_at > 0
        self._leaving.close(life, was_replaced=was_replaced and not self._is_stopping)
        if not was_known:
            return
        state, life.state = life.state, "ended"
        if life.forced or state == "unwanted":
            error = None  # what it was ended with
        if error is not None:
            self._tell_failure(place, life, state, error)
        elif state in {"starting", "ready"} and not self._is_stopping and not life.forced:
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
            if not self._lives:
                settle(self._over)
            return
        was_follower = place.follower is life
        if was_follower:
            place.follower = None
        self._reloads.go_on_without(life)
        if was_follower:
            if place.follower is None and place.needs_another():
                self._start_later(place)
        elif place.current is life:
            place.current = None
            if self._has_lived(life):
                place.delay = FIRST_DELAY
            if place.follower is None:
                self._start_later(place)

    def _has_lived(self, life: Life) -> bool:
        return life.ready_at > 0 and self._loop.time() - life.ready_at >= _GOOD_LIFE

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
            is_open = self._listening.sockets is not None
            self._log.error(_errors.incompatible(config, error, life.option, is_open=is_open))
        else:
            what = "failed"
            if state == "starting":
                what = "failed to start" if self._listening.sockets else "could not load the app"
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
        _logs.reopen(self._log)  # somebody may have moved its files
        self._call("on_reload", self.on_reload)
        self._reloads.ask()

    # The end.

    def _stop(self, number: signal.Signals) -> None:
        now = self._loop.time()
        if self._told_at is None:
            self._told_at = now
            self._log.info("%s: the workers finish their requests and end", number.name)
            if not self._is_stopping:  # as after a failure
                self._end_all()
        elif now >= self._told_at + _TWICE:
            self._log.warning("%s again: what still runs is cut off", number.name)
            for place, life in self._with_places():
                life.was_cut = True
                self._limit(place, life, 0)

    def _fail(self, code: int) -> None:
        if not self._is_stopping:
            self.code = code
            self._end_all()

    def _end_all(self) -> None:
        self._is_stopping = True
        self._call("on_stop", self.on_stop)
        self._reloads.end()
        for place in self._places:
            place.cancel_timer()
        for place, life in self._with_places():
            self._tell(place, life, "stop")
        if not self._lives:
            settle(self._over)

    def _with_places(self) -> list[tuple[Place, Life]]:
        return [(self._places[life.handle.number - 1], life) for life in self._lives]
