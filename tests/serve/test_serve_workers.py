"""Workers of `subpool serve` as the supervisor holds them: how they fail, and what they tell."""

import asyncio
import contextlib
import errno
import json
import os
import socket
from concurrent.futures import Future
from pathlib import Path

import pytest
from hypercorn.config import Config

from subpool import NotTransferableError, TaskInterrupted
from subpool.integrations.hypercorn import _main, _messages, _worker, _workers

THREADED = """
import threading, time
from pathlib import Path

def wait():
    while not Path("end").exists():
        time.sleep(0.01)

threading.Thread(target=wait).start()
1 / 0
"""


@pytest.fixture
def loop():
    with contextlib.closing(asyncio.SelectorEventLoop()) as loop:
        yield loop


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["interpreter", "process"])
def test_a_worker_that_fails_with_a_thread_left_has_ended(kind, loop, tmp_path, monkeypatch):
    """Python waits for such threads: a place whose process has failed stayed empty for ever.

    And against a log without the traceback, which was on the process's standard error only.
    """
    monkeypatch.setattr(_workers, "_AFTER_FAILURE", 0.1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"threaded_{kind}.py").write_text(THREADED)
    heard, over = [], loop.create_future()
    settings = {"application_path": f"threaded_{kind}:app"}
    handle = _workers.KINDS[kind](
        loop, settings, 1, lambda _, message: heard.append(message),
        lambda _, error: over.set_result(error),
    )  # fmt: skip
    try:
        error = loop.run_until_complete(asyncio.wait_for(over, 20))
    finally:
        Path("end").touch()
    assert "ZeroDivisionError" in repr(error)
    assert heard == [["here"]]
    if kind == "process":
        assert "threaded_process.py" in str(error)
        assert handle._process.returncode == -9
    gone = loop.create_future()
    handle.when_gone(lambda: gone.set_result(None))
    loop.run_until_complete(asyncio.wait_for(gone, 40))


class Made(_workers.InterpreterHandle):
    """A worker in an interpreter whose pool says what the test does."""

    def _begin(self, settings):
        self._future = Future()
        self._descriptor = self._theirs.detach()


@pytest.mark.parametrize(
    "error", [NotTransferableError("an earlier task had harmed it"), TaskInterrupted("in load()")]
)
@pytest.mark.parametrize("is_here", [False, True])
def test_a_worker_that_has_never_begun(error, is_here, loop):
    """Guards against a descriptor that nobody closes, one closed twice, and a worker for ever."""
    ended = []
    handle = Made(loop, {}, 1, lambda *_: None, lambda _, error: ended.append(error))
    if is_here:
        channel = _worker.Channel(handle._descriptor)
        kept = os.dup(handle._descriptor)  # what the app starts has it for a moment
        channel.tell("here")
        channel.socket.close()
        os.dup2(kept, handle._descriptor)  # it is somebody else's now
    handle._future.set_exception(error)
    handle._settle()
    assert ended == [error]
    if is_here:
        os.close(handle._descriptor)
        os.close(kept)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle._descriptor)


@contextlib.contextmanager
def channels():
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = _worker.Channel(theirs.detach())
    with ours, channel.socket:
        yield channel, ours


def test_last_words_are_heard(loop):
    """Who closes with an order unread resets the channel: exit code 0, though a request was cut."""
    heard, ended = [], []
    handle = Made(
        loop, {}, 1, lambda _, message: heard.append(message), lambda _, error: ended.append(error)
    )
    channel = _worker.Channel(handle._descriptor)
    handle._ours.send(b'["stop"]')
    channel.tell("cut", 1, 3)
    channel.tell("ended", True)
    channel.socket.close()
    handle._future.set_result(None)
    handle._settle()
    assert heard == [["cut", 1, 3], ["ended", True]]
    assert ended == [None]


@pytest.mark.parametrize(("sent", "room"), [(2, 1), (1, 2)])
def test_a_worker_without_room_for_its_sockets_fails(sent, room, monkeypatch):
    """Linux gives those that have room: a worker listened on some, or none, and was ready."""
    monkeypatch.setattr(_worker, "_MOST", socket.CMSG_LEN(4 * room))
    with channels() as (channel, ours), socket.create_server(("127.0.0.1", 0)) as listening:
        socket.send_fds(ours, [b'["serve", 0, 2, 0]'], [listening.fileno()] * sent)
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(OSError, match="listening sockets") as met:
            channel.sockets()
        assert met.value.errno == errno.EMFILE
        assert len(list(Path("/proc/self/fd").iterdir())) == before  # what came is closed


def test_names_of_files_fit_into_messages(monkeypatch):
    """A hundred long names in Chinese made a message that was cut, and so ended the server."""
    names = {f"/{'深' * 1300}/{number}.py" for number in range(300)}
    with channels() as (channel, ours):
        sent = []
        monkeypatch.setattr(_worker.sys, "modules", {})
        monkeypatch.setattr(channel, "tell", lambda *message: sent.append(json.dumps(message)))
        _worker.tell_files(channel, names)
        assert max(map(len, sent)) < _messages.MESSAGE
        assert {name for message in sent for name in json.loads(message)[1:]} == names
        assert ours


class Strict(Config):
    """A configuration with a class of its own."""

    keep_alive_timeout = 65

    def response_headers(self, protocol):
        return [(b"x-from", self.application_path.encode())]


def test_a_configuration_of_ones_own_class():
    """Guards against methods and defaults, as stricter TLS, that hold in main and in no worker."""
    config = Strict()
    config.application_path = "app:app"
    settings = _main._settings(config)
    config = _worker.configuration(settings)
    assert type(config) is Strict
    assert config.keep_alive_timeout == 65
    assert config.response_headers("h11") == [(b"x-from", b"app:app")]

    class Local(Config):
        pass

    with pytest.raises(ValueError, match=r"class .*Local cannot be sent to workers"):
        _main._settings(Local())
    assert type(_worker.configuration(_main._settings(Config()))) is Config
