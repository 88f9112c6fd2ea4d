"""A web worker: Hypercorn's own asyncio worker, in an interpreter or in a process.

It loads the app before it has a socket, says so, gets the sockets, serves, and ends when it is
told to. In an interpreter it is told by two events of ours. A process is told over the channel, a
socket that keeps messages apart; the end of that means that nobody supervises it any more.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import json
import os
import random
import signal
import socket
import ssl
import sys
from collections import deque

from subpool.integrations import hypercorn as integration
from subpool.integrations.hypercorn import _errors, _lazy, _loop
from subpool.integrations.hypercorn._messages import MESSAGE, patience

with _lazy.Later():
    from hypercorn.asyncio.run import worker_serve
    from hypercorn.config import Config, Sockets
    from hypercorn.utils import load_application

    from subpool.integrations.hypercorn._app import Counted

TYPE_CHECKING = False  # workers import this (routing.py)
if TYPE_CHECKING:
    from typing import Any

    from subpool import Event

_FILES = 1 << 14  # bytes of names in one message; one name alone may be longer
_TOLD = MESSAGE // 13  # characters of what went wrong; JSON makes up to twelve bytes of one

_MOST = socket.CMSG_LEN(250 * 4)  # bytes of the descriptors that come with one

# Seconds for the last messages, if the supervisor does not read: it may have given this worker up.
_LAST_WORDS = 5.0

# Seconds that a replaced worker keeps a connection on which nothing happens: a client that is
# about to use it again gets its answer, and is told to open another one.
_LINGER = 2.0

# Seconds after that in which a busy HTTP/2 connection may come to a moment with no request under
# way. Its client is told to send no more after them, or when half of the requests' time is over.
_BUSY = 10.0

# Seconds that an app has to notice that its client is gone, before its requests are cancelled.
_CANCEL = 0.3


class Channel:
    """The worker's end of what connects it with the supervisor.

    Guarantees: messages arrive in their order, and none is lost while the supervisor reads.
    """

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self._waiting: deque[bytes] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def tell(self, *message: object) -> None:
        """Send; if nobody listens any more, the next read shows that."""
        self._waiting.append(json.dumps(message).encode())
        if len(self._waiting) == 1:
            self._send()

    def never_wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave to that loop, from now on, what cannot be sent at once."""
        self.socket.setblocking(False)
        self._loop = loop

    def wait_again(self) -> None:
        """Send what is left; the loop is over."""
        self.socket.settimeout(_LAST_WORDS)
        self._loop = None
        self._send()

    def _send(self) -> None:
        try:
            while self._waiting:
                self.socket.send(self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            if self._loop is not None:
                self._loop.add_writer(self.socket.fileno(), self._send)
                return
        except OSError:
            self._waiting.clear()
        if self._loop is not None:
            self._loop.remove_writer(self.socket.fileno())

    def sockets(self) -> tuple[list[socket.socket], list[int]] | None:
        """Wait for the sockets, and how many there are of each sort; ``None``: shall not serve."""
        # `socket.recv_fds` drops the flag: what the app starts would have the sockets, too.
        data, more, flags, _ = self.socket.recvmsg(MESSAGE, _MOST, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return None
        word, *counts = json.loads(data)
        if word != "serve":
            return None
        descriptors = [number for _, _, each in more for number in memoryview(each).cast("i")]
        if flags & socket.MSG_CTRUNC or len(descriptors) != sum(counts):
            for descriptor in descriptors:
                os.close(descriptor)
            raise OSError(errno.EMFILE, "too many open files for the listening sockets")
        return [_loop.OneByOne(fileno=descriptor) for descriptor in descriptors], counts


def most_requests(limit: int, jitter: int | None) -> int:
    """Give the requests after which this worker is replaced: not all at the same moment."""
    return limit + random.randint(0, jitter or 0)  # noqa: S311 - no secret


class Server:
    """One life of a worker."""

    def __init__(
        self, config: Config, number: int, channel: Channel, events: dict[str, Event] | None
    ) -> None:
        self._config = config
        self._patience = {word: patience(config, word) for word in ("retire", "stop")}
        self._has_quic = bool(config.ssl_enabled and config.quic_bind)
        self._events = events
        self._channel = channel
        self._number = number
        self._connections = _loop.Connections()
        self._orders: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []  # the loop itself does not keep them
        self._was_cut = False
        self._end: tuple[asyncio.TimerHandle, float] | None = None

    def run(self, app: Any, sockets: Sockets) -> None:
        """Serve until told to end."""
        config = self._config
        limit = None
        if config.max_requests is not None:
            limit = most_requests(config.max_requests, config.max_requests_jitter)
            config.max_requests = None  # Hypercorn would end before another is ready
        self._app = Counted(
            app,
            self._number,
            limit,
            retire=lambda: self._channel.tell("worn"),
            closing=lambda: self._channel.tell("closing"),
        )
        loop = self._connections.loop(_loop_class(config.worker_class))
        loop.set_debug(config.debug)
        loop.set_exception_handler(_tell_exception)
        self._channel.never_wait(loop)
        try:
            _loop.run(
                loop,
                worker_serve(self._app, config, sockets=sockets, shutdown_trigger=self._until_told),
            )
        finally:
            if self._events is None:
                signal.signal(signal.SIGTERM, lambda *_: None)
            _loop.close(loop, 1.0 if self._was_cut else 60.0)
            self._channel.wait_again()
            self._channel.tell("ended", self._was_cut)

    def order(self, word: str) -> None:
        """Have the worker end, as its loop's own thread says."""
        self._orders.put_nowait(word)

    async def _until_told(self) -> None:
        """Hypercorn's trigger: called when it has begun to listen, and it stops on return."""
        loop = asyncio.get_running_loop()
        if self._events is None:
            loop.add_reader(self._channel.socket.fileno(), self._hear)
            # Not with the loop, which would leave the signal deadly at its end.
            signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(self.order, "stop"))
        else:
            self._tasks = [loop.create_task(self._wait(*each)) for each in self._events.items()]
            await asyncio.sleep(0)  # they wait
        if self._config.use_reloader:
            tell_files(self._channel)
        self._channel.tell("ready")
        word = await self._orders.get()
        self._app.is_draining = True
        self._cut_after(word)
        hurry = loop.create_task(self._hurry())
        self._tasks.append(hurry)
        self._announce_close()
        if word == "stop":  # nobody else will
            half = self._patience["stop"] / 2  # the rest is for their answers
            await self._connections.accept_what_waits(self._config.backlog, half)
        await self._connections.stop_accepting()
        self._channel.tell("draining")
        self._tasks.append(loop.create_task(self._app.close_websockets()))
        if word == "retire":
            linger = loop.create_task(self._linger())
            await asyncio.wait((linger, hurry), return_when=asyncio.FIRST_COMPLETED)
            linger.cancel()
        await self._connections.read_what_came()
        self._connections.drop_handshakes()

    async def _wait(self, word: str, event: Event) -> None:
        await event.wait_async()
        self.order(word)

    async def _linger(self) -> None:
        seconds = min(_LINGER, self._patience["stop"])
        await self._connections.all_closed(seconds)
        left = self._patience["retire"] / 2 - seconds
        await self._app.none_over_http2(max(0.0, min(_BUSY, left)))

    async def _hurry(self) -> None:
        """Wait until the server stops: a retired worker has less time then."""
        while await self._orders.get() != "stop":
            pass
        self._cut_after("stop")

    def _cut_after(self, word: str) -> None:
        seconds = self._patience[word]
        if not self._has_quic:
            # Hypercorn cancels then what goes on after the last connection, as work after an
            # answer may: not before we do, who tell it. QUIC takes all of that time.
            self._config.graceful_timeout = seconds + 2 * _CANCEL
        if self._end is not None:
            self._end[0].cancel()
        self._end = asyncio.get_running_loop().call_later(seconds, self._cut), seconds

    def _hear(self) -> None:
        try:
            data = self._channel.socket.recv(MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._channel.socket.fileno())
        self.order(json.loads(data)[0] if data else "stop")

    def _announce_close(self) -> None:
        """Say in each answer from now on that the connection ends with it."""
        plain = self._config.response_headers

        def headers(protocol: str) -> list[tuple[bytes, bytes]]:
            more = [(b"connection", b"close")] if protocol == "h11" else []
            return plain(protocol) + more

        self._config.response_headers = headers  # type: ignore[method-assign]

    def _cut(self) -> None:
        """End the requests that have not finished in time."""
        if self._app.running and self._end is not None:
            self._was_cut = True
            self._channel.tell("cut", len(self._app.running), self._end[1])
        self._config.graceful_timeout = _CANCEL  # Hypercorn reads it when it comes to that
        self._connections.abort()
        asyncio.get_running_loop().call_later(_CANCEL, self._app.cancel)


def serve(
    settings: dict[str, Any], number: int, descriptor: int, events: dict[str, Event] | None = None
) -> None:
    """Load the app, wait for the sockets, and serve.

    Args:
        settings: The attributes of Hypercorn's configuration, and its class if that is another.
        number: The worker's, from 1.
        descriptor: The worker's end of the channel; it belongs to the worker from now on.
        events: What tells the worker to end, by order; ``None``: the channel does.

    """
    channel = Channel(descriptor)
    try:
        channel.tell("here")
        _serve(settings, number, channel, events)
    except BaseException as error:
        channel.wait_again()
        if settings.get("use_reloader"):
            from subpool.integrations.hypercorn._watch import files_of  # noqa: PLC0415 - rare

            tell_files(channel, files_of(error))
        if events is None:
            channel.tell("failed", _errors.told(error)[-_TOLD:])
        raise
    finally:
        channel.socket.close()


def _serve(
    settings: dict[str, Any], number: int, channel: Channel, events: dict[str, Event] | None
) -> None:
    config = configuration(settings)
    integration._number = number  # noqa: SLF001 - its own package
    _load_for_options(config, channel)
    app = load_application(config.application_path, config.wsgi_max_body_size)
    channel.tell("loaded")
    given = channel.sockets()
    if given is None:
        return
    sockets, (secure, insecure, _) = given
    listening = Sockets(
        sockets[:secure], sockets[secure : secure + insecure], sockets[secure + insecure :]
    )
    config._set_quic_addresses(listening.quic_sockets)  # noqa: SLF001 - as `create_sockets` does
    Server(config, number, channel, events).run(app, listening)


def configuration(settings: dict[str, Any]) -> Config:
    """Make Hypercorn's configuration anew, of the user's own class if it has one."""
    kind: type[Config] = Config
    plain = dict(settings)
    if name := plain.pop("class", None):
        import pkgutil  # noqa: PLC0415 - rare

        kind = pkgutil.resolve_name(name)
    config = kind.__new__(kind)  # as pickle does
    vars(config).update(plain)
    return config


def _load_for_options(config: Config, channel: Channel) -> None:
    """Import what will be needed anyway, so that what is wrong with it is known in time."""
    if config.ssl_enabled:
        _lazy.load_http2()
    for is_wanted, option, module, package in (
        (config.worker_class == "uvloop", "--worker-class=uvloop", "uvloop", "uvloop"),
        (config.ssl_enabled and config.quic_bind, "--quic-bind", "hypercorn.protocol.quic", "h3"),
    ):
        if not is_wanted:
            continue
        channel.tell("option", option)
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise _errors.NotInstalledError(
                f"{option} needs {error.name}: pip install 'hypercorn[{package}]'"
            ) from error
        channel.tell("option", None)


def tell_files(channel: Channel, more: set[str] | frozenset[str] = frozenset()) -> None:
    """Name the files of all modules."""
    files = sorted(
        more
        | {
            file
            for module in list(sys.modules.values())
            if type(file := getattr(module, "__file__", None)) is str
        }
    )
    batch: list[str] = []
    size = 0
    for file in files:
        length = len(json.dumps(file))
        if batch and size + length > _FILES:
            channel.tell("files", *batch)
            batch, size = [], 0
        batch.append(file)
        size += length
    channel.tell("files", *batch)


def _loop_class(name: str) -> Any:
    if name == "uvloop":
        import uvloop  # noqa: PLC0415 - only if asked for

        return uvloop.Loop
    return asyncio.SelectorEventLoop


def _tell_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Handshakes fail every day.
    if not isinstance(context.get("exception"), ssl.SSLError):
        loop.default_exception_handler(context)
