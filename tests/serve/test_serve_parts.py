"""Parts of `subpool serve` by themselves: a whole server would meet these cases by chance."""

import asyncio
import contextlib
import random
import signal
import socket
import types

import serve_apps
from hypercorn.config import Config

from serve_support import Served
from subpool.integrations.hypercorn import _loop, _worker
from subpool.integrations.hypercorn._app import Counted
from subpool.integrations.hypercorn._places import Life
from subpool.integrations.hypercorn._supervisor import Supervisor


class Noting(asyncio.Protocol):
    """What a server hears."""

    def __init__(self):
        self.heard = b""
        self.is_open = False
        every.append(self)

    def connection_made(self, transport):
        self.is_open = True

    def data_received(self, data):
        self.heard += data

    def connection_lost(self, error):
        self.is_open = False


every = []


@contextlib.contextmanager
def serving():
    """Give a loop, what it notes, its listening socket, and that of another worker."""
    every.clear()
    connections = _loop.Connections()
    loop = connections.loop(asyncio.SelectorEventLoop)
    with socket.create_server(("127.0.0.1", 0)) as listening, listening.dup() as others:
        others.setblocking(False)
        loop.run_until_complete(loop.create_server(Noting, sock=listening))
        try:
            yield loop, connections, others
        finally:
            connections.abort()
            loop.run_until_complete(_loop.turns())
            loop.close()


def test_a_connection_that_comes_while_a_worker_stops_is_served_or_left_to_others():
    """Guards against asyncio, which drops what it has accepted if the server closes then."""
    with serving() as (loop, connections, others), contextlib.ExitStack() as stack:
        clients = []

        def connect():  # in each turn of the loop
            clients.append(stack.enter_context(socket.create_connection(others.getsockname())))
            if connections.servers[0].is_serving():
                loop.call_soon(connect)

        loop.call_soon(connect)
        loop.run_until_complete(_loop.turns())
        loop.run_until_complete(connections.stop_accepting())
        loop.run_until_complete(_loop.turns())
        served = len([each for each in every if each.is_open])
        left = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                stack.enter_context(others.accept()[0])
                left += 1
        assert served > 0
        assert left > 0
        assert served + left == len(clients)


def test_what_has_come_is_read_before_the_end():
    """Guards against requests that the kernel has, and the loop, which was busy, has not."""
    with (
        serving() as (loop, connections, others),
        socket.create_connection(others.getsockname()) as client,
    ):
        while not every:
            loop.run_until_complete(asyncio.sleep(0))
        client.sendall(b"request")
        loop.run_until_complete(connections.read_what_came())
        assert every[0].heard == b"request"


def test_a_worker_reads_last_of_all():
    """Guards against an end that comes before what was sent on kept connections is read."""
    did = []

    def note(name):
        async def step(*_):
            did.append(name)

        return step

    channel = types.SimpleNamespace(tell=lambda word, *_: did.append(word))
    server = _worker.Server(Config(), 1, channel, {})
    server._app = types.SimpleNamespace(close_websockets=note("close_websockets"), running=())
    server._connections = types.SimpleNamespace(
        stop_accepting=note("stop_accepting"),
        all_closed=note("all_closed"),
        read_what_came=note("read_what_came"),
    )

    async def told(word):
        server.order(word)
        await server._until_told()

    asyncio.run(told("retire"))
    assert did[:3] == ["ready", "stop_accepting", "draining"]
    assert set(did[3:-1]) == {"close_websockets", "all_closed"}
    assert did[-1] == "read_what_came"


def test_a_worker_is_worn_after_its_most_requests():
    """Guards against a limit that counts wrongly, and one that all workers reach at once."""

    async def app(*_):
        pass

    worn = []
    counted = Counted(app, 1, 3, retire=lambda: worn.append(1), closing=lambda: None)

    async def ask(times):
        for _ in range(times):
            await counted({"type": "http", "http_version": "1.1"}, None, None, None, None)

    asyncio.run(ask(3))
    assert not worn
    asyncio.run(ask(4))
    assert worn == [1]
    random.seed(0)
    assert {_worker.most_requests(10, 3) for _ in range(200)} == {10, 11, 12, 13}
    assert _worker.most_requests(10, None) == 10


def test_the_pause_before_a_worker_starts_again(monkeypatch):
    """Guards against a worker that fails at once and is started again without end or pause."""
    supervisor = Supervisor(Config(), {}, "interpreter", lambda: None)
    pauses = []
    monkeypatch.setattr(supervisor._loop, "call_later", lambda pause, *_: pauses.append(pause))
    place = supervisor._places[0]

    def fail(age):
        place.current = Life()
        place.current.ready_at = supervisor._loop.time() - age
        supervisor._forget(place, place.current)

    try:
        for _ in range(9):
            fail(29)
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
        fail(31)
        fail(0)
        assert pauses[9:] == [0.1, 0.2]
    finally:
        supervisor._loop.close()


def test_what_workers_do_not_need_is_not_imported(pool):
    """Guards against a start that is slower than it has to be, and what does not come later."""
    before, names = pool.submit(serve_apps.look_at_imports).result()
    assert before == {"h11"}
    assert names == ("H2Connection", "WSStream")


GATED = """
import asyncio
from pathlib import Path

WORD = Path("word").read_text()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("starts as", WORD, flush=True)
        while not Path(WORD).exists():
            await asyncio.sleep(0.01)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = WORD.encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


def test_the_old_worker_serves_until_the_new_one_does(tmp_path):
    """Guards against a moment in which nobody accepts, and kept connections that are cut."""
    (tmp_path / "gated.py").write_text(GATED)
    (tmp_path / "word").write_text("first")
    (tmp_path / "first").touch()

    def ask():
        kept.request("GET", "/")
        answer = kept.getresponse()
        assert answer.read() == b"first"
        return answer.getheader("connection")

    with Served("gated:app", cwd=tmp_path) as served:
        served.up()
        kept = served.connect()
        assert ask() is None
        (tmp_path / "word").write_text("second")
        served.tell(signal.SIGHUP)
        served.wait_for("starts as second")
        assert served.get() == (200, b"first")
        (tmp_path / "second").touch()
        served.wait_for("All workers are replaced")
        assert ask() == "close"
        assert served.get() == (200, b"second")
        kept.close()
        assert served.end() == 0
