"""What a worker of `subpool serve` does with clients and work when it is told to end."""

import asyncio
import socket

import pytest
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection, H2ConnectionStateMachine
from h2.events import ConnectionTerminated, StreamEnded
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets

from serve_support import Served
from subpool.integrations.hypercorn import _loop
from subpool.integrations.hypercorn._app import Counted


@pytest.mark.slow
def test_work_after_the_answer_has_the_time_of_requests(tmp_path):
    """A reload cancelled such work seconds later, and said nothing of it."""
    file = tmp_path / "hypercorn.toml"
    file.write_text("graceful_timeout = 0.2\n")
    with Served("serve_apps:hello", "-c", file) as served:
        served.up()
        assert served.get("/after?0.8") == (200, b"later")
        served.wait_for("begun /after")
        served.reload()
        served.wait_for(" /after", 2)
        assert "done /after" in served.log, served.log
        assert served.get("/after?600") == (200, b"later")
        served.wait_for("begun /after", 2)
        served.reload(2)
        assert served.end() == 4, served.log
        assert "cut off 1 request(s) that did not end within 0.2 s" in served.log


class Patient(H2ConnectionStateMachine):
    """A client's, which goes on to read after GOAWAY, as HTTP/2 asks for."""

    _transitions = {
        **H2ConnectionStateMachine._transitions,
        (ConnectionState.CLIENT_OPEN, ConnectionInputs.RECV_GOAWAY): (
            None,
            ConnectionState.CLIENT_OPEN,
        ),
    }


class Busy:
    """A client over HTTP/2 that has five requests under way until it is told to send no more."""

    def __init__(self):
        self.asked, self.answered, self.ends = [], [], []
        self._client = H2Connection(H2Configuration(client_side=True))
        self._client.state_machine = Patient()

    def _ask(self):
        self.asked.append(self._client.get_next_available_stream_id())
        headers = {":method": "GET", ":path": "/", ":scheme": "http", ":authority": "subpool"}
        self._client.send_headers(self.asked[-1], list(headers.items()), end_stream=True)

    async def go(self, address, heard):
        """Ask to the end; call `heard` now and then."""
        reader, writer = await asyncio.open_connection(*address)
        self._client.initiate_connection()
        for _ in range(5):
            self._ask()
        writer.write(self._client.data_to_send())
        while data := await reader.read(65536):
            for event in self._client.receive_data(data):
                if isinstance(event, ConnectionTerminated):
                    self.ends.append(event.last_stream_id)
                elif isinstance(event, StreamEnded):
                    self.answered.append(event.stream_id)
                    if not self.ends:
                        self._ask()
            writer.write(self._client.data_to_send())
            heard()
        writer.close()


def test_a_busy_connection_over_http2_is_told_to_end():
    """One with always a request under way was cut off after a minute, with all of them."""
    busy, draining = Busy(), []

    async def app(scope, _receive, send, *_):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await asyncio.sleep(0.01 * (1 + len(busy.asked) % 3))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    counted = Counted(app, 1, None, retire=lambda: None, closing=lambda: None)

    def drain():
        if len(busy.answered) > 10 and not draining:
            counted.is_draining = True
            draining.append(asyncio.create_task(counted.none_over_http2(0)))

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            over = asyncio.Event()
            config = Config()
            config.errorlog = None
            sockets = Sockets([], [listening], [])
            server = asyncio.create_task(
                worker_serve(counted, config, sockets=sockets, shutdown_trigger=over.wait)
            )
            await busy.go(listening.getsockname(), drain)
            await draining[0]
            over.set()
            await server

    asyncio.run(asyncio.wait_for(main(), 30))
    assert sorted(busy.answered) == busy.asked
    assert set(busy.ends[:-1]) == {(1 << 31) - 1}
    assert busy.ends[-1] == busy.asked[-1]


def test_a_websocket_that_does_not_read_keeps_no_other_one():
    """Those after it were not told of the restart, and cut off a minute later."""
    told = asyncio.Event()

    async def app(_scope, _receive, send, *_):
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    async def stuck(message):
        if message["type"] == "websocket.close":
            await asyncio.Event().wait()

    async def reads(message):
        if message["type"] == "websocket.close":
            assert message["code"] == 1012
            told.set()

    counted = Counted(app, 1, None, retire=lambda: None, closing=lambda: None)

    async def main():
        scope = {"type": "websocket", "http_version": "1.1"}
        sockets = [counted(dict(scope), None, send, None, None) for send in (stuck, reads)]
        tasks.extend(map(asyncio.create_task, sockets))
        await _loop.turns()
        tasks.append(asyncio.create_task(counted.close_websockets()))
        await asyncio.wait_for(told.wait(), 20)

    tasks = []
    asyncio.run(main())
    assert all(task.cancelled() for task in tasks)
