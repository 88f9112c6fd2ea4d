"""`subpool serve`: its flags are Hypercorn's, and all it can listen on works."""

import argparse
import contextlib
import signal
import socket
import ssl
import sys

import hypercorn.__main__ as original
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, StreamEnded
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from serve_support import Served, ask_http2, http2_events, next_event
from subpool.__main__ import main
from subpool.integrations.hypercorn import _command, _main, serve, worker_number
from support import eventually

ARGUMENTS = {
    "--cert-reqs": "2", "--verify-mode": "CERT_REQUIRED", "--config": None, "--help": None,
    "--statsd-prefix": "p", "--log-level": "debug",
}  # fmt: skip
# Hypercorn 0.18 sets the jitter to the value of --max-requests, or to nothing.
MISTAKEN = {"--max-requests-jitter"}


def effective(config):
    names = [name for name in dir(config) if not name.startswith("__") and name != "log"]
    return {
        name: value
        for name in names
        if name != "cert_reqs" and not callable(value := getattr(config, name))
    }


def ours(*flags):
    parser = argparse.ArgumentParser()
    _command.add_arguments(parser)
    return effective(_command.configuration(parser.parse_args(["module:app", *flags])))


@pytest.fixture
def theirs(monkeypatch):
    """What Hypercorn's own command line makes of flags, and its parser."""
    configs, parsers = [], []
    parse_args = argparse.ArgumentParser.parse_args

    def noting(parser, *args):
        parsers.append(parser)
        return parse_args(parser, *args)

    def parse(*flags):
        with monkeypatch.context() as patch:
            patch.setattr(original, "run", lambda config: configs.append(effective(config)))
            patch.setattr(argparse.ArgumentParser, "parse_args", noting)
            original.main(["module:app", *flags])
        return configs[-1]

    parse.parser = lambda: parse() and parsers[-1]
    return parse


@pytest.mark.filterwarnings("ignore")
def test_every_flag_of_hypercorn_does_the_same(theirs):
    """Guards against a flag that is missing, misspelt, or sets something else."""
    tried = 0
    for action in theirs.parser()._actions:
        for name in action.option_strings:
            if name in MISTAKEN or ARGUMENTS.get(name, "") is None or name in {"-c", "-h"}:
                continue
            flags = [name]
            if action.nargs != 0:
                flags.append(ARGUMENTS.get(name, "3"))
            assert ours(*flags) == theirs(*flags), name
            tried += 1
    assert tried >= 45
    assert ours("--max-requests", "5", "--max-requests-jitter", "3")["max_requests_jitter"] == 3


def test_configuration_files(tmp_path, monkeypatch):
    """Guards against a file that is read otherwise than Hypercorn does, or not at all."""
    (tmp_path / "hypercorn.toml").write_text('workers = 3\nbind = "127.0.0.1:1"\n')
    (tmp_path / "settings.py").write_text("workers = 4\nkeep_alive_timeout = 7.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "settings", raising=False)
    assert ours("-c", "hypercorn.toml")["workers"] == 3
    assert ours("-c", "hypercorn.toml", "-w", "5")["workers"] == 5
    assert ours("-c", "hypercorn.toml", "-b", "x:2")["_bind"] == ["x:2"]
    assert ours("-c", "file:settings.py")["keep_alive_timeout"] == 7.5
    assert ours("-c", "python:settings")["workers"] == 4


def test_wrong_use_is_told(monkeypatch, capsys):
    """Guards against a server that starts with something else than what was asked for."""
    config = original.Config()
    config.application_path = "module:app"
    with pytest.raises(ValueError, match="'interpreter' or 'process', not 'thread'"):
        serve(config, workers_kind="thread")
    config.worker_class = "trio"
    with pytest.raises(ValueError, match="worker class 'trio' is not supported"):
        serve(config)
    assert worker_number() is None
    assert main(["serve", "module:app", "-c", "absent.toml"]) == 2
    assert "cannot read the configuration absent.toml" in capsys.readouterr().err
    assert main(["serve", "module:app", "-k", "trio"]) == 2
    assert "worker class 'trio' is not supported" in capsys.readouterr().err
    assert main(["serve", "module:app", "-w", "-1"]) == 2
    assert "workers must be 0 or more, not -1" in capsys.readouterr().err
    monkeypatch.setattr(_main.threading, "current_thread", object)
    config.worker_class = "asyncio"
    with pytest.raises(RuntimeError, match="call it in the main thread"):
        serve(config)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"errorlog": "/absent/log"}, "log cannot be made.*/absent/log"),
        ({"accesslog": "/absent/log"}, "log cannot be made.*/absent/log"),
        ({"logconfig": "/absent/ini"}, "log cannot be made.*/absent/ini"),
        ({"loglevel": "loud", "errorlog": "-"}, "log cannot be made.*LOUD"),
        ({"workers": "2"}, "workers must be a whole number, not '2'"),
        ({"workers": 1.5}, "workers must be a whole number, not 1.5"),
        ({"graceful_timeout": "3"}, "graceful_timeout must be a number, not '3'"),
        ({"workers": 0, "use_reloader": True}, "--reload needs at least one worker"),
        ({"certfile": "/absent/pem", "keyfile": __file__}, "TLS.*: '/absent/pem'"),
        ({"certfile": __file__, "keyfile": __file__}, "TLS.*certfile .*test_serve_command.py"),
    ],
)
def test_what_cannot_be_served_is_told_in_a_line(settings, why):
    """Guards against tracebacks, and sockets that are opened, for a path that is misspelt."""
    config = original.Config()
    config.errorlog = None
    for name, value in settings.items():
        setattr(config, name, value)
    with pytest.raises(ValueError, match=why):
        _main.check(config, "interpreter")


@pytest.mark.parametrize("name", ["nosuchmodule", "nosuchpackage.module", "json.absent"])
def test_a_module_for_the_configuration_that_is_not_there(name, capsys):
    """Guards against "not enough values to unpack", and tracebacks."""
    assert main(["serve", "module:app", "-c", f"python:{name}"]) == 2
    told = capsys.readouterr().err
    assert f"cannot read the configuration python:{name}: " in told
    assert "No module named" in told


@pytest.mark.slow
def test_without_workers(tmp_path):
    """Guards against an app's own error that is taken for wrong use, and a file that stays."""
    (tmp_path / "broken.py").write_text("int('x')")
    pid = tmp_path / "pid"
    with (
        Served("broken:app", "-w", 0, "-p", tmp_path / "other", cwd=tmp_path) as broken,
        Served("serve_apps:hello", "-w", 0, "-p", pid) as served,
    ):
        served.wait_for("Running on")
        assert served.get()[0] == 200
        assert pid.read_text() == str(served.process.pid)
        assert served.end() == 0
        assert broken.ended() == 1
        assert "Traceback" in broken.log
        assert "invalid literal for int()" in broken.log
    assert not pid.exists()
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_tls_and_http2(certificate):
    """Guards against sockets of one sort that are taken for those of another.

    And against a client of HTTP/2 that is not told that its connection ends.
    """
    with Served(
        "serve_apps:hello", "--certfile", certificate[0], "--keyfile", certificate[1],
        "--insecure-bind", "127.0.0.1:0",
    ) as served:  # fmt: skip
        served.up()
        ports = {
            scheme: int(line.split("127.0.0.1:")[1].split()[0])
            for line in served.lines
            for scheme in ("https", "http")
            if f"Running on {scheme}://" in line
        }
        served.port = ports["http"]
        assert served.get() == (200, b"hello")
        trust = ssl.create_default_context(cafile=certificate[0])
        trust.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", ports["https"]), 20) as plain,
            trust.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            client = H2Connection(H2Configuration(client_side=True))
            client.initiate_connection()
            ask_http2(client, sock, "/")
            assert b"hello" in http2_events(client, sock, StreamEnded)
            # It ends its stream, and neither the connection nor the worker.
            ask_http2(client, sock, "/exit")
            http2_events(client, sock, StreamEnded)
            served.wait_for("SystemExit in a request ends that request only")
            ask_http2(client, sock, "/")
            assert b"hello" in http2_events(client, sock, StreamEnded)
            served.reload()
            ask_http2(client, sock, "/slow?0.1")
            assert b"slow" in http2_events(client, sock, ConnectionTerminated)
        assert served.end() == 0


@pytest.mark.slow
def test_websockets_are_told_of_the_end():
    """Guards against websockets that keep a worker from ending, or are cut off without a word."""
    with Served("serve_apps:echo") as served:
        served.up()
        with websocket(served) as (client, sock), websocket(served) as (leaving, other):
            other.sendall(leaving.send(TextMessage("exit")))
            assert isinstance(next_event(leaving, other), CloseConnection)
            served.wait_for("SystemExit in a request ends that request only")
            sock.sendall(client.send(TextMessage("hello")))
            event = next_event(client, sock)
            assert isinstance(event, TextMessage)
            assert event.data == "hello"
            served.reload()
            event = next_event(client, sock)
            assert isinstance(event, CloseConnection)
            assert event.code == 1012
            sock.sendall(client.send(event.response()))
        assert served.end() == 0
        assert "ConnectionTerminated" not in served.log


@contextlib.contextmanager
def websocket(served):
    """Give a websocket's protocol and its socket."""
    with socket.create_connection(("127.0.0.1", served.port), 20) as sock:
        client = WSConnection(ConnectionType.CLIENT)
        sock.sendall(client.send(Request(host="subpool", target="/")))
        assert isinstance(next_event(client, sock), AcceptConnection)
        yield client, sock


@pytest.mark.slow
def test_unix_sockets_and_descriptors(tmp_path):
    """Guards against binds that only processes of Hypercorn's can use.

    And against a log that goes on in a file that was moved away.
    """
    path = tmp_path / "socket"
    log, before = tmp_path / "log", tmp_path / "log.1"
    log.touch()
    with Served("serve_apps:hello", "-w", 2, "--error-logfile", log, bind=f"unix:{path}") as served:
        eventually(lambda: "All 2 worker(s) are ready" in log.read_text(), "the start")
        assert ask_unix(path).startswith(b"HTTP/1.1 200")
        log.rename(before)
        served.tell(signal.SIGHUP)
        eventually(lambda: log.exists() and "All workers are" in log.read_text(), "the reload")
        assert ask_unix(path).startswith(b"HTTP/1.1 200")
        assert served.end() == 0
    assert "SIGHUP" in before.read_text()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        with Served(bind=f"fd://{listening.fileno()}", fds=[listening.fileno()]) as served:
            served.up()
            assert served.get("/worker") == (200, b"1")
            # HTTP/2 without TLS, for which the worker has not imported it yet.
            with socket.create_connection(("127.0.0.1", served.port), 20) as sock:
                client = H2Connection(H2Configuration(client_side=True))
                client.initiate_connection()
                ask_http2(client, sock, "/")
                assert b"hello" in http2_events(client, sock, StreamEnded)
            assert served.end() == 0


def ask_unix(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: subpool\r\n\r\n")
        return sock.recv(65536)


def test_helpers_in_a_configuration_file_stay_behind(tmp_path):
    """Guards against a file with a function in it that cannot be served."""
    (tmp_path / "settings.py").write_text("workers = 2\ndef helper(): ...\n")
    config = original.Config.from_pyfile(tmp_path / "settings.py")
    assert _main._settings(config) == {"workers": 2}
    config.logger_class = config.helper
    with pytest.raises(ValueError, match="the configuration's logger_class cannot be sent"):
        _main._settings(config)
