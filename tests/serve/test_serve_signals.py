"""`subpool serve`: how it ends and reloads, and what that costs the clients."""

import contextlib
import json
import random
import re
import signal
import socket
import ssl
import sys
import time

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, StreamEnded

from serve_support import Load, Served, answer, ask_http2, http2_events
from support import eventually

KINDS = ["interpreter", "process"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_finishes_a_request_in_flight(kind, tmp_path):
    """Guards against workers that are ended before their requests, and a wrong exit code."""
    notes, pid = tmp_path / "notes", tmp_path / "pid"
    with Served(
        "serve_apps:hello", "-w", 2, "--workers-kind", kind, "-p", pid,
        env={"SERVE_NOTES": str(notes)},
    ) as served:  # fmt: skip
        served.up()
        assert pid.read_text() == str(served.process.pid)
        slow = served.ask("/slow?0.6")
        assert served.get("/")[0] == 200
        served.tell(signal.SIGTERM)
        assert answer(slow) == (200, b"slow")
        assert served.ended() == 0
    assert sorted(notes.read_text().split("\n")[:-1]) == [
        "shutdown 1", "shutdown 2", "startup 1", "startup 2"
    ]  # fmt: skip
    assert not pid.exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_under_load_fails_no_request(kind, times):
    """Guards against connections that are dropped with the worker that has accepted them.

    Also when it is asked again while a new worker begins to accept.
    """
    reloads = len(times(2 if kind == "interpreter" else 1, long=20))
    enough = len(times(400, long=5_000))
    with Served("serve_apps:hello", "-w", 2, "--workers-kind", kind) as served:
        served.up()
        with Load(served, clients=3) as kept, Load(served, clients=3, keep=False) as new:
            for number in range(1, reloads + 1):
                kept.wait_for(kept.answers + 100)
                new.wait_for(new.answers + 100)
                running = served.log.count("Running on")
                served.tell(signal.SIGHUP)
                served.wait_for("Running on", running + 1)
                served.reload(number)
            kept.wait_for(enough)
            new.wait_for(enough)
        assert not kept.errors + new.errors
        assert served.end() == 0


@pytest.mark.slow
def test_a_reload_under_computing_load_fails_no_request():
    """Guards against a request that waits unread when its worker's loop is late."""
    with Served("serve_apps:hello", "-w", 2) as served:
        served.up()
        with Load(served, clients=6, path="/compute") as load:
            load.wait_for(10)
            served.reload()
            load.wait_for(load.answers + 10)
        assert not load.errors
        assert served.end() == 0


@pytest.mark.slow
def test_a_tls_handshake_under_way_outlives_a_reload_and_does_not_hold_the_end(
    certificate, tmp_path
):
    """Guards against handshakes that a worker does not know of.

    A reload cut them off; one that said nothing had the worker interrupted at the end.
    """
    trust = ssl.create_default_context(cafile=certificate[0])
    notes = tmp_path / "notes"
    with Served(
        "serve_apps:hello", "--certfile", certificate[0], "--keyfile", certificate[1],
        env={"SERVE_NOTES": str(notes)},
    ) as served:  # fmt: skip
        served.up()
        address = "127.0.0.1", served.port
        with Load(served, clients=2, keep=False, trust=trust) as load:
            for number in (1, 2):
                waiting = socket.create_connection(address, 20)
                load.wait_for(load.answers + 10)  # what came before them has been accepted
                served.reload(number)
                with trust.wrap_socket(waiting, server_hostname="127.0.0.1") as client:
                    client.sendall(b"GET / HTTP/1.1\r\nhost: subpool\r\n\r\n")
                    assert client.recv(65536).startswith(b"HTTP/1.1 200")
            load.wait_for(load.answers + 20)
        assert not load.errors
        with socket.create_connection(address, 20):
            connection = served.connect(trust)
            connection.request("GET", "/")
            assert answer(connection) == (200, b"hello")
            assert served.end() == 0, served.log
    assert notes.read_text().count("shutdown") == 3


@pytest.mark.slow
def test_max_requests_fails_no_request():
    """Guards against Hypercorn's own way, which closes what is open and leaves the place empty."""
    with Served(
        "serve_apps:hello", "-w", 2, "--max-requests", 40, "--max-requests-jitter", 20
    ) as served:
        served.up()
        with Load(served, clients=2) as kept, Load(served, clients=2, keep=False) as new:
            served.wait_for("the one before it has ended", 2)
            for load in (kept, new):
                load.wait_for(load.answers + 20)
        assert not kept.errors + new.errors
        assert served.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_end_comes_at_any_moment(kind, times):
    """Guards against a stop that is lost, in the start, under load, or in a reload."""
    for attempt in times(3, long=50):
        chance = random.Random(attempt)  # noqa: S311 - no secret
        last = chance.choice([signal.SIGTERM, signal.SIGINT])
        with Served(
            "serve_apps:hello", "-w", 2, "--workers-kind", kind, "--graceful-timeout", 20
        ) as served:
            when = attempt % 3
            if when == 0:
                # Before the server's own code runs, a signal does what it does to any program.
                eventually(lambda: served.heeds(signal.SIGHUP), "the start")
                time.sleep(chance.random() * 0.2)
                assert served.end(last) == 0, served.log
                continue
            served.up()
            slow = served.ask("/slow?0.3")
            with Load(served, clients=2):
                served.wait_for("begun /slow")
                if when == 2:
                    served.tell(signal.SIGHUP)
                time.sleep(chance.random() * 0.2)
                served.tell(last)
                assert answer(slow) == (200, b"slow"), served.log
            assert served.ended() == 0, served.log


@pytest.fixture
def hasty(tmp_path):
    """Flags for a server that gives its requests little time to end."""
    file = tmp_path / "hypercorn.toml"
    file.write_text("graceful_timeout = 0.2\n")
    return ["-c", file]


@pytest.mark.slow
def test_what_does_not_end_is_cut_off(hasty, times):
    """Guards against a server that waits for ever, and one that says all went well.

    Also for a thread of the app's, in which a WSGI app's requests run.
    """
    cases = (
        ("hello", "/slow?60", "interpreter", "cut off"),
        ("hello", "/spin", "interpreter", "interrupted"),
        ("wsgi", "/sleep", "interpreter", "The process ends without what still runs"),
        ("hello", "/slow?60", "process", "cut off"),
        ("hello", "/spin", "process", "interrupted"),
        ("hello", "/block", "interpreter", "The process ends without what still runs"),
    )[: len(times(3, long=6))]
    with contextlib.ExitStack() as stack:
        patient = stack.enter_context(Served("serve_apps:hello", "--graceful-timeout", 60))
        each = [
            (
                stack.enter_context(Served(f"serve_apps:{app}", "--workers-kind", kind, *hasty)),
                path,
                what,
            )
            for app, path, kind, what in cases
        ]
        patient.up()
        stack.callback(patient.ask("/slow?60").close)
        patient.wait_for("begun /slow")
        for served, path, _ in each:
            served.up()
            stack.callback(served.ask(path).close)
            served.wait_for(f"begun {path[:5]}")
            served.tell(signal.SIGTERM)
        patient.tell(signal.SIGTERM)
        for served, _, what in each:
            assert served.ended() == 4, served.log
            assert what in served.log
        # By now its first signal was more than a second ago.
        assert patient.process.poll() is None
        assert patient.end() == 4
        assert "SIGTERM again: what still runs is cut off" in patient.log


@pytest.mark.slow
def test_a_replaced_worker_finishes_until_the_server_stops(hasty, tmp_path):
    """Guards against a reload that cuts off slow requests, and a stop that waits for them."""
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(Served("serve_apps:hello", "--workers-kind", kind, *hasty))
            for kind in KINDS
        ]
        for kind, served in zip(KINDS, both, strict=True):
            served.up()
            file = tmp_path / kind
            waiting, endless = served.ask(f"/until?{file}"), served.ask("/slow?600")
            stack.callback(endless.close)
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 20))
            client = H2Connection(H2Configuration(client_side=True))
            client.initiate_connection()
            ask_http2(client, sock, f"/until?{file}")
            served.wait_for("begun /", 3)
            served.reload()
            ask_http2(client, sock, "/slow?0.5")
            assert b"slow" in http2_events(client, sock, StreamEnded)
            # Hypercorn resets what comes on a connection that is busy when it ends.
            ask_http2(client, sock, "/")
            assert b"hello" in http2_events(client, sock, StreamEnded)
            file.touch()
            assert answer(waiting) == (200, b"until")
            assert b"until" in http2_events(client, sock, ConnectionTerminated)
            assert "cut off" not in served.log
            served.tell(signal.SIGTERM)
        for served in both:
            assert served.ended() == 4, served.log
            assert "cut off 1 request(s) that did not end within 0.2 s" in served.log
            assert "interrupted" not in served.log


@pytest.mark.slow
def test_reloads_leave_nothing_behind(times):
    """Guards against interpreters, descriptors and threads that each reload leaves behind.

    And against listening sockets that are opened anew, with clients in the old one's queue.
    """
    first, further = len(times(3, long=50)), len(times(3, long=100))
    with Served("serve_apps:hello") as served:
        served.up()
        listening = served.listening()
        for number in range(1, first + 1):
            served.reload(number)
        before = served.holdings(first)
        for number in range(first + 1, first + further + 1):
            served.reload(number)
        after = served.holdings(first + further)
        assert after["descriptors"] == before["descriptors"]
        eventually(lambda: served.threads() == before["threads"], "the end of threads")
        assert served.listening() == listening
        assert len(listening) == 1
        # What an interpreter takes is 8 MB or more. The first reloads add to what the process has.
        # On 3.13 CPython itself loses it (docs/limits.md).
        if sys.version_info >= (3, 14):
            assert after["megabytes"] < before["megabytes"] + 10
        assert served.end() == 0


BLOCKED = """
import time

async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    print("the startup blocks", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.slow
def test_signals_while_the_server_starts(hasty, tmp_path):
    """Guards against a start that blocks and cannot be ended, or is ended without a word.

    And against SIGHUP that kills a server that has only begun.
    """
    (tmp_path / "blocked.py").write_text(BLOCKED)
    with Served("blocked:app", *hasty, cwd=tmp_path) as served:
        served.wait_for("the startup blocks")
        served.tell(signal.SIGHUP)
        served.wait_for("the startup blocks", 2)
        assert served.end() == 4
        assert "has not ended in time: it is interrupted" in served.log


@pytest.mark.slow
def test_logs_of_a_running_server(tmp_path):
    """Guards against an access log that workers do not write, and a log configuration unread."""
    access, errors = tmp_path / "access", tmp_path / "errors"
    config = tmp_path / "log.json"
    handler = {"class": "logging.FileHandler", "filename": str(errors)}
    loggers = {"hypercorn.error": {"handlers": ["file"], "level": "INFO"}}
    config.write_text(
        json.dumps({
            "version": 1, "disable_existing_loggers": False, "handlers": {"file": handler},
            "loggers": loggers,
        })
    )  # fmt: skip
    with Served(
        "serve_apps:hello", "--access-logfile", access, "--log-config", f"json:{config}"
    ) as served:
        eventually(lambda: errors.exists() and "are ready" in errors.read_text(), "the start")
        served.port = int(re.search(r"127\.0\.0\.1:(\d+)", errors.read_text())[1])
        assert served.get("/logged")[0] == 200
        assert served.end() == 0
    assert "GET /logged" in access.read_text()


@pytest.mark.slow
def test_processes_end_with_their_supervisor():
    """Guards against workers that nobody supervises any more, and a port that stays taken."""
    with Served("serve_apps:hello", "-w", 2, "--workers-kind", "process") as served:
        served.up()
        served.process.kill()
        served.ended()  # returns when the workers have closed the log's pipe, too
        assert not served.is_listening()
