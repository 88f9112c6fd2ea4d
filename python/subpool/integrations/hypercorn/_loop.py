"""The event loop of a worker: one that knows its servers and connections, and outlives `sys.exit`.

Guarantees: `stop_accepting` loses no connection. What was accepted is served, and what was not
stays in the listening socket's queue, which the other workers share.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys

TYPE_CHECKING = False  # workers import this (routing.py)
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any


# The backlog with which asyncio accepts one connection in a turn: before 3.14 that very many, since
# then one more.
_ONE = 0 if sys.version_info >= (3, 14) else 1


class OneByOne(socket.socket):
    """A listening socket of several workers, of which asyncio accepts one connection a turn.

    By default it accepts all that wait. Then who wakes first gets all clients of a moment, and
    while it computes for one of them the others wait, beside workers that have nothing to do.
    """

    queue = 0

    def listen(self, _backlog: int = 0, /) -> None:
        """Leave the queue as long as it is: asyncio has one number for it and for its turns."""
        super().listen(self.queue)


class Connections:
    """What a worker listens on for its clients, and the connections that it has with them.

    Servers and connections of the app's own are the app's.

    Attributes:
        open: The transports of the connections that can be used.
        handshakes: Those whose TLS handshake is under way, by what its end sets.

    """

    def __init__(self) -> None:
        self.servers: list[Any] = []
        self.open: set[Any] = set()
        self.handshakes: dict[Any, Any] = {}
        self._contexts: set[Any] = set()
        self._none_left: asyncio.Event = asyncio.Event()

    def loop(self, base: type[Any]) -> Any:
        """Make an event loop of that class, whose servers and their connections are noted here."""
        noted = self

        class Noting(base):  # type: ignore[misc]
            async def create_server(self, factory: Any, *args: Any, **options: Any) -> Any:
                if type(options.get("sock")) is not OneByOne:
                    return await super().create_server(factory, *args, **options)
                if base is asyncio.SelectorEventLoop:
                    options["sock"].queue = options["backlog"]
                    options["backlog"] = _ONE
                noted.note_context(options.get("ssl"))
                server = await super().create_server(noted.noting(factory), *args, **options)
                noted.servers.append(server)
                return server

            # asyncio's own loop comes here for each connection with TLS that it has accepted.
            def _make_ssl_transport(
                self, sock: Any, protocol: Any, secure: Any, waiter: Any = None, **options: Any
            ) -> Any:
                transport = super()._make_ssl_transport(sock, protocol, secure, waiter, **options)
                noted.note_handshake(secure, waiter, transport)
                return transport

        return Noting()

    def note_context(self, context: Any) -> None:
        """Note connections with that context, which is the only sign of whose they are."""
        if context is not None:
            self._contexts.add(context)

    def note_handshake(self, context: Any, waiter: Any, transport: Any) -> None:
        """Note a handshake until it has ended, well or not."""
        if waiter is not None and context in self._contexts:
            self.handshakes[waiter] = transport
            waiter.add_done_callback(self._shaken)

    def _shaken(self, waiter: Any) -> None:
        del self.handshakes[waiter]
        self._look_if_none_left()

    def _look_if_none_left(self) -> None:
        if not self.open and not self.handshakes:
            self._none_left.set()

    def noting(self, factory: Callable[[], Any]) -> Callable[[], Any]:
        """Make the protocols of `factory` tell of their connections."""

        def make() -> Any:
            protocol = factory()
            made, lost = protocol.connection_made, protocol.connection_lost
            transports: list[Any] = []

            def connection_made(transport: Any) -> None:
                transports.append(transport)
                self.open.add(transport)
                made(transport)

            def connection_lost(error: Exception | None) -> None:
                self.open.difference_update(transports)
                self._look_if_none_left()
                del protocol.connection_made, protocol.connection_lost  # they refer to it
                lost(error)

            protocol.connection_made, protocol.connection_lost = connection_made, connection_lost
            return protocol

        return make

    async def accept_what_waits(self, most: int, seconds: float) -> None:
        """Take the connections that wait in the queue, which will be gone, but not without end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        for _ in range(most):
            if loop.time() > until:
                return
            poll = select.poll()
            for server in self.servers:
                for listening in server.sockets:
                    poll.register(listening.fileno(), select.POLLIN)
            if not poll.poll(0):
                return
            await asyncio.sleep(0)

    async def stop_accepting(self) -> None:
        """Take no more connections; serve those that were taken."""
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listening in server.sockets:
                try:
                    loop.remove_reader(listening.fileno())
                except (NotImplementedError, RuntimeError, ValueError):
                    continue  # uvloop's own way to listen
        # A connection is accepted in one turn of the loop and belongs to its server in the next;
        # asyncio drops it if that has closed meanwhile.
        await turns()
        for server in self.servers:
            server.close()

    async def all_closed(self, seconds: float) -> bool:
        """Wait until the last connection is closed; tell whether that came to be."""
        self._none_left.clear()
        self._look_if_none_left()
        try:
            await asyncio.wait_for(self._none_left.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def read_what_came(self) -> None:
        """Let the loop take up the requests that have come: it may be late, if it computes."""
        for _ in range(10):
            await turns()
            poll = select.poll()
            for transport in (*self.open, *self.handshakes.values()):
                sock = transport.get_extra_info("socket")
                if sock is not None and sock.fileno() >= 0:
                    poll.register(sock.fileno(), select.POLLIN)
            if not poll.poll(0):
                return

    def drop_handshakes(self) -> None:
        """Cut off what has not become a connection: a server that has closed waits for it, too."""
        for waiter, transport in list(self.handshakes.items()):
            if not waiter.done():  # otherwise it is a connection, and noted as one
                transport.abort()

    def abort(self) -> None:
        """Cut all connections off."""
        self.drop_handshakes()
        for transport in list(self.open):
            transport.abort()


async def turns() -> None:
    """Let what is ready in the loop run, and what that makes ready."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(loop: Any, main: Awaitable[None]) -> None:
    """Run `main` to its end, whatever a task of the app's does.

    `SystemExit` in a task leaves the loop, also if somebody awaits that task. The loop can go on.
    """
    asyncio.set_event_loop(loop)
    task = loop.create_task(main)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                break
            loop.call_exception_handler(
                {
                    "message": f"{type(error).__name__} in a task ends that task only; the worker "
                    f"goes on",
                    "exception": error,
                }
            )
    task.result()


def close(loop: Any, patience: float) -> None:
    """End what the app has left in the loop, and the loop; threads get `patience` seconds."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        run(loop, _settle(tasks))
        run(loop, loop.shutdown_asyncgens())
        run(loop, loop.shutdown_default_executor(patience))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _settle(tasks: set[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=5)
