"""`subpool serve`: options whose libraries load in no interpreter."""

import asyncio
import re

import pytest

from serve_support import Served


@pytest.mark.slow
def test_uvloop_works_on_processes_and_is_refused_before_a_socket_opens():
    """Guards against a server that listens, and a message that blames the app."""
    pytest.importorskip("uvloop")
    with (
        Served("serve_apps:hello", "-k", "uvloop") as served,
        Served("serve_apps:hello", "-k", "uvloop", "--workers-kind=process") as on_processes,
    ):
        assert served.ended() == 3
        assert "--worker-class=uvloop does not work in interpreters" in served.log
        assert "needs uvloop" in served.log
        assert "--workers-kind=process" in served.log
        assert served.port is None
        on_processes.up()
        assert on_processes.get("/loop") == (200, b"uvloop")
        on_processes.reload()
        assert on_processes.get("/loop") == (200, b"uvloop")
        assert on_processes.end() == 0


@pytest.mark.slow
def test_quic_works_on_processes_and_is_refused_before_a_socket_opens(certificate, tmp_path):
    """Guards against a QUIC bind that nobody serves."""
    pytest.importorskip("aioquic")
    # Hypercorn's server of QUIC waits so long for the next packet at its end.
    hasty = tmp_path / "hypercorn.toml"
    hasty.write_text("graceful_timeout = 0.2")
    flags = [
        "--certfile", certificate[0], "--keyfile", certificate[1], "--quic-bind", "127.0.0.1:0",
        "-c", hasty,
    ]  # fmt: skip
    with (
        Served("serve_apps:hello", *flags) as served,
        Served("serve_apps:hello", *flags, "--workers-kind=process") as on_processes,
    ):
        assert served.ended() == 3
        assert "--quic-bind does not work in interpreters, because it needs" in served.log
        assert "Running on" not in served.log
        on_processes.up()
        port = int(re.search(r"127\.0\.0\.1:(\d+) \(QUIC\)", on_processes.log)[1])
        assert asyncio.run(ask_http3(port, certificate[0])) == b"hello"
        assert on_processes.end() == 0


async def ask_http3(port, certificate):
    """Ask once over HTTP/3, and give the body of the answer."""
    from aioquic.asyncio import QuicConnectionProtocol, connect
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived
    from aioquic.quic.configuration import QuicConfiguration

    body = b""
    over = asyncio.Event()

    class Client(QuicConnectionProtocol):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.http = H3Connection(self._quic)

        def quic_event_received(self, event):
            nonlocal body
            for each in self.http.handle_event(event):
                if isinstance(each, DataReceived):
                    body += each.data
                if getattr(each, "stream_ended", False):
                    over.set()

    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN)
    configuration.load_verify_locations(str(certificate))
    async with connect(
        "127.0.0.1", port, configuration=configuration, create_protocol=Client
    ) as client:
        stream = client._quic.get_next_available_stream_id()
        headers = {":method": "GET", ":scheme": "https", ":authority": "subpool", ":path": "/"}
        client.http.send_headers(
            stream, [(name.encode(), value.encode()) for name, value in headers.items()], True
        )
        client.transmit()
        await asyncio.wait_for(over.wait(), 20)
    return body
