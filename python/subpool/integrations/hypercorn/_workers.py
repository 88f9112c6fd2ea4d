"""The supervisor's end of a worker: how one is started, told to end, and forced to.

Each kind gives the same: messages that come over a channel, and one call when it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from subpool import Event, InterpreterPoolExecutor, TaskInterrupted
from subpool.integrations.hypercorn._entry import load, serve
from subpool.integrations.hypercorn._messages import MESSAGE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from hypercorn.config import Sockets

# Seconds in which a process has to end when it has closed its channel, before it is killed: if it
# has failed, another one is waited for; otherwise the supervisor mostly has a limit of its own.
_AFTER_FAILURE, _AFTER_ALL = 2.0, 5.0


class Handle:
    """One worker, from its start to its end.

    Args:
        loop: The supervisor's.
        settings: The attributes of Hypercorn's configuration.
        number: The worker's.
        heard: Called in the loop with the worker and each message.
        ended: Called in the loop with the worker and what it failed with, or ``None``.

    """

    kind = ""

    @classmethod
    def prepare(cls, workers: int) -> None:
        """Begin with what the first workers will need, before they are made."""

    @classmethod
    def drop_prepared(cls) -> None:
        """Give up what was prepared and not used."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: dict[str, Any],
        number: int,
        heard: Callable[[Any, list[Any]], None],
        ended: Callable[[Any, BaseException | None], None],
    ) -> None:
        self.number = number
        self._loop = loop
        self._heard = heard
        self._ended = ended
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._is_here = self._has_hung_up = False
        try:
            self._begin(settings)
        except BaseException:
            self._ours.close()
            self._theirs.close()
            raise
        loop.add_reader(self._ours.fileno(), self._read)

    def _begin(self, settings: dict[str, Any]) -> None:
        raise NotImplementedError

    def _read(self) -> bool:
        """Take a message; tell whether there was one."""
        if self._has_hung_up:
            return False
        try:
            try:
                data = self._ours.recv(MESSAGE)
            except ConnectionResetError:  # it has left an order unread; its last words come now
                data = self._ours.recv(MESSAGE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._has_hung_up = True
            self._loop.remove_reader(self._ours.fileno())
            self._hung_up()
            return False
        self._is_here = True
        self._hear(json.loads(data))
        return True

    def _hear(self, message: list[Any]) -> None:
        self._heard(self, message)

    def _hung_up(self) -> None:
        """Hear that the worker has closed its end."""

    def give(self, sockets: Sockets) -> None:
        """Let it serve."""
        sorts = sockets.secure_sockets, sockets.insecure_sockets, sockets.quic_sockets
        message = json.dumps(["serve", *map(len, sorts)]).encode()
        descriptors = [sock.fileno() for sort in sorts for sock in sort]
        try:
            socket.send_fds(self._ours, [message], descriptors)
        except OSError:
            return  # it has ended, which comes to be known otherwise

    def order(self, word: str) -> None:
        """Tell it to end: ``"retire"`` if another has taken its place, otherwise ``"stop"``."""
        try:
            self._ours.send(json.dumps([word]).encode())
        except OSError:
            return

    def force(self, *, hard: bool) -> None:
        """End it, whatever it does. `hard`: it was told before."""
        raise NotImplementedError

    def when_gone(self, gone: Callable[[], None]) -> None:
        """Call `gone` in the loop when nothing is left of a worker that has ended."""
        gone()

    def _finish(self, error: BaseException | None) -> None:
        """Tell of the end, when the last messages have been taken."""
        self._loop.remove_reader(self._ours.fileno())
        self._ours.close()
        self._ended(self, error)


def _pool(number: int) -> InterpreterPoolExecutor:
    return InterpreterPoolExecutor(1, thread_name_prefix=f"web-{number}")


class InterpreterHandle(Handle):
    """A worker in an interpreter, which is a task of a pool of its own."""

    kind = "interpreter"
    _lost: TaskInterrupted | None = None
    _is_given_up = False
    _prepared: ClassVar[dict[int, InterpreterPoolExecutor]] = {}

    @classmethod
    def prepare(cls, workers: int) -> None:
        """Have the interpreters import the server, which is most of a start."""
        for number in range(1, workers + 1):
            if number in cls._prepared:
                continue
            cls._prepared[number] = pool = _pool(number)
            pool.submit(load)  # what is wrong with that, `serve` meets again

    @classmethod
    def _take(cls, number: int) -> InterpreterPoolExecutor:
        return cls._prepared.pop(number) if number in cls._prepared else _pool(number)

    @classmethod
    def drop_prepared(cls) -> None:
        """Close the interpreters that no worker took."""
        while cls._prepared:
            cls._prepared.popitem()[1].shutdown()

    def _begin(self, settings: dict[str, Any]) -> None:
        self._pool = self._take(self.number)
        self._descriptor = self._theirs.fileno()
        self._events = {"retire": Event(), "stop": Event()}
        try:
            self._future = self._pool.submit(
                serve, settings, self.number, self._descriptor, self._events
            )
        except BaseException:
            self._pool.shutdown(wait=False)
            raise
        self._theirs.detach()  # the worker closes it
        self._pool.shutdown(wait=False)  # after this task
        self._future.add_done_callback(self._done)

    def order(self, word: str) -> None:
        """Set the event for it. The message is for a worker that still waits for its sockets."""
        self._events[word].set()
        super().order(word)

    def _done(self, _future: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for this one
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self._future.cancelled():
            error: BaseException | None = RuntimeError("it was not started")
        else:
            error = self._future.exception()
        while self._read():
            pass
        if isinstance(error, TaskInterrupted) and self._is_given_up and not self._has_hung_up:
            self._lost = error  # it may still run, and come to its end of the channel
            return
        if not self._is_here and not self._has_hung_up:
            os.close(self._descriptor)  # the worker has never had it
        self._finish(error)

    def _hung_up(self) -> None:
        if self._lost is not None:
            self._finish(self._lost)

    def force(self, *, hard: bool) -> None:
        """Interrupt it; a call of a C function goes on."""
        if hard:
            self._is_given_up = True
            self._pool.terminate_workers()
        else:
            self._future.interrupt()

    def when_gone(self, gone: Callable[[], None]) -> None:
        """Call `gone` in the loop when its interpreter, which may have threads left, is closed."""

        def wait() -> None:
            self._pool.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                self._loop.call_soon_threadsafe(tell)

        def tell() -> None:
            waiter.join()
            gone()

        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()


class ProcessHandle(Handle):
    """A worker that is a process."""

    kind = "process"
    _failure: str | None = None
    _kill: asyncio.TimerHandle | None = None

    def _begin(self, settings: dict[str, Any]) -> None:
        descriptor = self._theirs.fileno()
        self._process = subprocess.Popen(  # noqa: S603 - this Python
            [
                sys.executable,
                *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # noqa: SLF001 - as multiprocessing does
                "-m",
                "subpool.integrations.hypercorn._process",
                str(descriptor),
            ],
            pass_fds=[descriptor],
        )
        self._theirs.close()
        try:
            self._ours.send(pickle.dumps((settings, self.number, sys.path)))
            self._pid_descriptor = os.pidfd_open(self._process.pid)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self._loop.add_reader(self._pid_descriptor, self._done)

    def _hear(self, message: list[Any]) -> None:
        match message:
            case ["failed", text]:
                self._failure = text
            case _:
                super()._hear(message)

    def _hung_up(self) -> None:
        """Bound its end: Python waits for threads of the app's, which may go on for ever."""
        if self._pid_descriptor >= 0:
            seconds = _AFTER_ALL if self._failure is None else _AFTER_FAILURE
            self._kill = self._loop.call_later(seconds, self._process.kill)

    def _done(self) -> None:
        if self._kill is not None:
            self._kill.cancel()
        self._loop.remove_reader(self._pid_descriptor)
        os.close(self._pid_descriptor)
        self._pid_descriptor = -1
        code = self._process.wait()
        while self._read():
            pass
        error = None
        if self._failure is not None:
            error = ProcessEndedError(self._failure)
        elif code:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            error = ProcessEndedError(f"its process {how}")
        self._finish(error)

    def force(self, *, hard: bool) -> None:  # noqa: ARG002 - there is one way only
        """Kill it."""
        self._process.kill()


class ProcessEndedError(Exception):
    """A worker's process ended as it should not: what it told of that, or how."""


KINDS = {"interpreter": InterpreterHandle, "process": ProcessHandle}
