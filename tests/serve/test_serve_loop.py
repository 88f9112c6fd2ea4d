"""The event loop of a web worker."""

import asyncio
import select
import socket

from subpool.integrations.hypercorn import _loop


def test_clients_of_one_moment_are_left_to_all_workers():
    """Who woke first took all that waited; while it computed, the other workers had no client."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        listening = _loop.OneByOne(fileno=plain.detach())
    listening.setblocking(False)
    clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
    left, lost = [], []

    async def serve():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        class Brief(asyncio.Protocol):
            def __init__(self):
                left.append(bool(select.select([listening], [], [], 0)[0]))

            def connection_made(self, transport):
                transport.close()

            def connection_lost(self, error):
                lost.append(error)
                if len(lost) == len(clients):
                    done.set_result(None)

        async with await loop.create_server(Brief, sock=listening, backlog=100):
            await asyncio.wait_for(done, 20)

    connections = _loop.Connections()
    loop = connections.loop(asyncio.SelectorEventLoop)
    try:
        loop.run_until_complete(serve())
    finally:
        _loop.close(loop, 1.0)
        for client in clients:
            client.close()
    assert left == [True, True, False]
