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
    """What a worker listens on, and the connections that it has."""

    def __init__(self) -> None:
        self.servers: list[Any] = []
        self.open: set[Any] = set()
        self._none_left: asyncio.Event = asyncio.Event()

    def loop(self, base: type[Any]) -> Any:
        """Make an event loop of that class, whose servers and their connections are noted here."""
        noted = self

        class Noting(base):  # type: ignore[misc]
            async def create_server(self, factory: Any, *args: Any, **options: Any) -> Any:
                if base is asyncio.SelectorEventLoop and type(options.get("sock")) is OneByOne:
                    options["sock"].queue = options["backlog"]
                    options["backlog"] = _ONE
                server = await super().create_server(noted.noting(factory), *args, **options)
                noted.servers.append(server)
                return server

        return Noting()

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
                if not self.open:
                    self._none_left.set()
                del protocol.connection_made, protocol.connection_lost  # they refer to it
                lost(error)

            protocol.connection_made, protocol.connection_lost = connection_made, connection_lost
            return protocol

        return make

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
        if not self.open:
            return True
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
            for transport in self.open:
                sock = transport.get_extra_info("socket")
                if sock is not None and sock.fileno() >= 0:
                    poll.register(sock.fileno(), select.POLLIN)
            if not poll.poll(0):
                return

    def abort(self) -> None:
        """Cut all connections off."""
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
        except (SystemExit, KeyboardInterrupt):
            if task.done():
                break
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
