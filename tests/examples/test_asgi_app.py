"""The example of a bare ASGI app, its workers in interpreters."""

import json
import re
import signal
import socket
from pathlib import Path

import pytest

from serve_support import Served, answer, next_event

pytest.importorskip("hypercorn")

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Request,
    TextMessage,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
ASK = "/suggest?word=genrator"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app():
    with Served("asgi_app:app", "-w", 2, cwd=EXAMPLES) as served:
        yield served.up()


def test_pages(app):
    """Guards against a page that is served before the startup has filled the state."""
    status, body = app.get("/")
    assert status == 200
    assert re.fullmatch(rb"Worker [12] knows \d{4,} words.\n", body)
    assert app.get("/nothing") == (404, b"not found\n")


def test_work_is_done_in_the_interpreter_of_the_worker(app):
    """Guards against work that runs in main, or in another worker's interpreter."""
    interpreters = {}
    for number, connection in app.connect_to_each(2, ASK).items():
        connection.request("GET", ASK)
        status, body = answer(connection)
        told = json.loads(body)
        assert (status, told["suggestions"][0], told["worker"]) == (200, "generator", number)
        interpreters[number] = told["interpreter"]
    assert len({0, *interpreters.values()}) == 3, interpreters


def test_a_stream(app):
    """Guards against parts of a request or of an answer that are kept back until its end."""
    connection = app.connect()
    connection.putrequest("PUT", "/check")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    response = None
    for typed, meant in [(b"the genrator\nraises", "generator"), (b" an exeption\n", "exception")]:
        connection.send(b"%x\r\n%s\r\n" % (len(typed), typed))
        response = response or connection.getresponse()
        ((_, found),) = json.loads(response.readline()).items()
        assert found[0] == meant
    connection.send(b"0\r\n\r\n")
    assert response.read() == b""
    connection.close()


def test_a_websocket(app):
    """Guards against messages that change their kind, or get lost, on the way."""
    with socket.create_connection(("127.0.0.1", app.port), 20) as sock:
        client = WSConnection(ConnectionType.CLIENT)
        sock.sendall(client.send(Request(host="subpool", target="/")))
        assert isinstance(next_event(client, sock), AcceptConnection)
        sent = [TextMessage("grüß"), BytesMessage(b"\0\xff"), TextMessage("")]
        for message in sent:
            sock.sendall(client.send(message))
        for message in sent:
            event = next_event(client, sock)
            assert (type(event), event.data) == (type(message), message.data)
        sock.sendall(client.send(CloseConnection(1000)))
        assert isinstance(next_event(client, sock), CloseConnection)


def test_the_end_runs_the_shutdown(app):
    """Guards against a worker that ends without the app's lifespan, or with another's state."""
    told = {answer(app.ask(ASK))[0] for _ in range(3)}
    assert told == {200}
    assert app.end(signal.SIGTERM) == 0, app.log
    ends = re.findall(r"worker (\d) was asked (\d+) words", app.log)
    assert sorted(number for number, _ in ends) == ["1", "2"]
    assert sum(int(words) for _, words in ends) >= 3
    assert not [word for word in ("Traceback", "Warning", "rror") if word in app.log], app.log
