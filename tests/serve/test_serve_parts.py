"""Parts of `subpool serve` by themselves: a whole server would meet these cases by chance."""

import asyncio
import contextlib
import json
import random
import signal
import socket
import ssl
import threading
import types

import serve_apps
from hypercorn.config import Config

from serve_support import Served
from subpool.integrations.hypercorn import _loop, _worker
from subpool.integrations.hypercorn._app import Counted
from subpool.integrations.hypercorn._listening import Listening
from subpool.integrations.hypercorn._messages import patience
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
def serving(context=None):
    """Give a loop, what it notes, its listening socket, and that of another worker."""
    every.clear()
    connections = _loop.Connections()
    loop = connections.loop(asyncio.SelectorEventLoop)
    with socket.create_server(("127.0.0.1", 0)) as plain, plain.dup() as others:
        others.setblocking(False)
        listening = _loop.OneByOne(fileno=plain.detach())
        loop.run_until_complete(
            loop.create_server(Noting, sock=listening, backlog=100, ssl=context)
        )
        try:
            yield loop, connections, others
        finally:
            connections.abort()
            loop.run_until_complete(connections.stop_accepting())
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


def test_what_waits_in_the_queue_is_taken_at_the_end():
    """Guards against whole requests that are reset, since a worker takes one client a turn."""
    with serving() as (loop, connections, others), contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(others.getsockname()))
        for most, seconds in ((1, 100), (100, -1)):
            loop.run_until_complete(connections.accept_what_waits(most, seconds))
            assert len(every) < 5
        loop.run_until_complete(connections.accept_what_waits(100, 100))
        loop.run_until_complete(connections.stop_accepting())
        assert len([each for each in every if each.is_open]) == 5


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


def test_handshakes_are_connections_too(certificate):
    """Guards against connections that are unknown before TLS is agreed on.

    A reload cut them off, and one that said nothing kept the server from its end.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    with (
        serving(context) as (loop, connections, others),
        socket.create_connection(others.getsockname()) as client,
        socket.create_connection(others.getsockname()),
    ):
        while len(every) < 2:
            loop.run_until_complete(asyncio.sleep(0))
        assert not connections.open
        assert not loop.run_until_complete(connections.all_closed(0))
        server = connections.servers[0]
        loop.run_until_complete(connections.stop_accepting())
        trust = ssl.create_default_context(cafile=certificate[0])
        clients = []
        shaking = threading.Thread(
            target=lambda: clients.append(trust.wrap_socket(client, server_hostname="127.0.0.1"))
        )
        shaking.start()
        while not connections.open:
            loop.run_until_complete(asyncio.sleep(0))
        shaking.join()
        closed = loop.create_task(connections.all_closed(20))
        connections.drop_handshakes()
        loop.run_until_complete(_loop.turns())
        assert every[0].is_open
        assert not closed.done()
        connections.abort()
        assert loop.run_until_complete(closed)
        loop.run_until_complete(asyncio.wait_for(server.wait_closed(), 20))
        clients[0].close()


def test_the_apps_own_servers_are_left_alone():
    """Guards against protocols with slots, which met nothing, and servers closed under the app."""

    class Slotted(asyncio.Protocol):
        __slots__ = ()

        def connection_made(self, transport):
            transport.write(b"metrics")
            transport.close()

    with serving() as (loop, connections, _):
        server = loop.run_until_complete(loop.create_server(Slotted, "127.0.0.1", 0))
        loop.run_until_complete(connections.stop_accepting())

        async def ask():
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write_eof()
            try:
                return await asyncio.wait_for(reader.read(), 20)
            finally:
                writer.close()

        assert loop.run_until_complete(ask()) == b"metrics"
        server.close()


def test_no_message_to_the_supervisor_is_lost():
    """Guards against a worker that nobody knows to be ready, if its app has many files."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    channel = _worker.Channel(theirs.detach())
    loop = asyncio.SelectorEventLoop()
    heard = []

    def hear():
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(json.loads(ours.recv(_worker.MESSAGE)))

    with contextlib.closing(loop), ours, channel.socket:
        channel.never_wait(loop)
        for number in range(1000):
            channel.tell("files", number, "x" * 1000)
        channel.tell("ready")
        while len(heard) < 1001:
            hear()
            loop.run_until_complete(_loop.turns())
        assert [message[1] for message in heard[:-1]] == list(range(1000))
        assert heard[-1] == ["ready"]
        # The loop's end, when the supervisor has not read yet.
        for number in range(1000):
            channel.tell("files", number, "x" * 1000)
        reading = threading.Timer(0, lambda: [hear() for _ in iter(lambda: len(heard) < 2002, 0)])
        reading.start()
        channel.wait_again()
        channel.tell("ended")
        reading.join()
        assert heard[-1] == ["ended"]
        ours.close()
        channel.tell("nobody listens")


def test_a_workers_sockets_are_not_its_childrens():
    """Guards against a port that stays taken by what the app has started."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = _worker.Channel(theirs.detach())
    with ours, channel.socket, socket.create_server(("127.0.0.1", 0)) as listening:
        socket.send_fds(ours, [b'["serve", 0, 1, 0]'], [listening.fileno()])
        sockets, counts = channel.sockets()
        with sockets[0]:
            assert counts == [0, 1, 0]
            assert not sockets[0].get_inheritable()


def test_a_worker_reads_last_of_all():
    """Guards against an end that comes before what was sent on kept connections is read."""
    did = []

    def note(name):
        async def step(*_):
            did.append(name)

        return step

    channel = types.SimpleNamespace(tell=lambda word, *_: did.append(word))
    server = _worker.Server(Config(), 1, channel, {})
    server._app = types.SimpleNamespace(
        close_websockets=note("close_websockets"), none_over_http2=note("none_over_http2"),
        running=(),
    )  # fmt: skip
    server._connections = types.SimpleNamespace(
        accept_what_waits=note("accept_what_waits"),
        stop_accepting=note("stop_accepting"),
        all_closed=note("all_closed"),
        read_what_came=note("read_what_came"),
        drop_handshakes=lambda: did.append("drop_handshakes"),
    )

    async def told(word):
        server.order(word)
        await server._until_told()

    asyncio.run(told("retire"))
    assert did[:3] == ["ready", "stop_accepting", "draining"]
    assert set(did[3:-2]) == {"close_websockets", "all_closed", "none_over_http2"}
    assert did[-2:] == ["read_what_came", "drop_handshakes"]
    did.clear()
    asyncio.run(told("stop"))
    assert did[:3] == ["ready", "accept_what_waits", "stop_accepting"]
    assert did.index("read_what_came") < did.index("drop_handshakes")


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
    supervisor = Supervisor(Config(), {}, "interpreter", Listening(Config()))
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


def test_a_worn_worker_is_replaced_in_the_end(monkeypatch):
    """Guards against a follower that fails once, after which no other one is started."""
    supervisor = Supervisor(Config(), {}, "interpreter", Listening(Config()))
    starts, pauses = [], []
    monkeypatch.setattr(supervisor, "_start", starts.append)
    monkeypatch.setattr(supervisor._loop, "call_later", lambda pause, *_: pauses.append(pause))
    place = supervisor._places[0]
    worn = place.current = Life()
    worn.state = "ready"
    try:
        supervisor._heard(place, worn, ["worn"])
        assert starts == [place]
        for _ in range(3):
            place.follower = Life()
            supervisor._forget(place, place.follower)
            place.timer = None
        assert pauses == [0.1, 0.2, 0.4]
        assert place.current is worn
    finally:
        supervisor._loop.close()


def test_how_long_requests_may_take_when_a_worker_ends():
    """Guards against a reload that cuts off what a stop of the server would, too."""
    config = Config()
    assert patience(config, "stop") == 3
    assert patience(config, "retire") == 60
    config.graceful_timeout = 90
    assert patience(config, "retire") == 90
    config.use_reloader = True
    config.graceful_timeout = 4
    assert patience(config, "retire") == 4


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
