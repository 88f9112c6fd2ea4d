"""A running `subpool serve`, and clients for it."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from h2.events import DataReceived

HERE = Path(__file__).parent / "serve"
# To compile Hypercorn is half of a start: once is enough, also where nothing may be written.
COMPILED = tempfile.TemporaryDirectory()
_ADDRESS = re.compile(r"Running on https?://(127\.0\.0\.1:(\d+)|unix:(\S+)) ")


class Served:
    """A server in a process of its own, whose log is read as it comes."""

    def __init__(
        self,
        app="serve_apps:hello",
        *flags,
        command=("-m", "subpool", "serve"),
        bind="127.0.0.1:0",
        env=(),
        cwd=HERE,
        fds=(),
    ):
        apps = [] if app is None else [app]
        binds = [] if bind is None else ["-b", bind]
        environment = {**os.environ, **dict(env)}
        for name in ("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONDONTWRITEBYTECODE"):
            environment.pop(name, None)
        environment["PYTHONPYCACHEPREFIX"] = COMPILED.name
        self.process = subprocess.Popen(
            [sys.executable, *command, *apps, *binds, *map(str, flags)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            pass_fds=fds,
            env=environment,
        )
        self.lines = []
        self.port = None
        self._came = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._came:
                self.lines.append(line.rstrip())
                if (found := _ADDRESS.search(line)) and found[2]:
                    self.port = int(found[2])
                self._came.notify_all()
        with self._came:
            self._is_over = True
            self._came.notify_all()

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait_for(self, text, times=1):
        """Wait until the log has that text so many times."""

        def there():
            return sum(text in line for line in self.lines) >= times

        with self._came:
            assert self._came.wait_for(lambda: there() or self._is_over, 30), self.log
        assert there(), self.log
        return self

    def up(self):
        return self.wait_for("worker(s) are ready")

    def tell(self, number):
        self.process.send_signal(number)

    def heeds(self, number):
        """Whether the process has a handler for that signal."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"SigCgt:\s+(\w+)", status)[1], 16) >> (number - 1) & 1

    def reload(self, times=1):
        """Have all workers replaced, and wait for that."""
        self.tell(signal.SIGHUP)
        self.wait_for("All workers are replaced", times)

    def end(self, number=signal.SIGTERM):
        """Stop it, and give the exit code."""
        if self.process.poll() is None:
            self.tell(number)
        return self.ended()

    def ended(self):
        code = self.process.wait(40)
        self._reader.join(20)
        assert not self._reader.is_alive(), "a worker lives on"
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self, trust=None):
        """Give a client; with `trust` it comes with TLS."""
        if trust is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=trust)

    def get(self, path="/"):
        """Ask once, on a connection of its own; give the status and the body."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def connect_to_each(self, workers, busy):
        """Give a kept connection to each worker, by its number, which answers must have.

        Args:
            workers: How many there are.
            busy: A path whose answer takes a worker so long that another one accepts meanwhile.

        """
        found, others = {}, []
        for _ in range(100):
            connection = self.connect()
            for each in (*found.values(), connection):
                each.request("GET", busy)
            for each in (*found.values(), connection):
                got = each.getresponse()
                got.read()
                number = int(got.headers["X-Worker"])
            if found.setdefault(number, connection) is not connection:
                others.append(connection)
            if len(found) == workers:
                break
        for connection in others:
            connection.close()
        assert sorted(found) == list(range(1, workers + 1)), "a worker takes no connections"
        return found

    def ask(self, path):
        """Send a request, and give the connection to read the answer from."""
        connection = self.connect()
        connection.request("GET", path)
        return connection

    def holdings(self, replaced):
        """What the process has, when so many workers have been replaced and have ended."""
        self.wait_for("the one before it has ended", replaced)
        about = Path(f"/proc/{self.process.pid}")
        rollup = (about / "smaps_rollup").read_text()
        return {
            "megabytes": int(re.search(r"Pss:\s+(\d+)", rollup)[1]) / 1024,
            "descriptors": len(list((about / "fd").iterdir())),
            "threads": self.threads(),
        }

    def threads(self):
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def listening(self):
        """The inodes of the sockets that the process listens on."""
        own = {each.readlink().name for each in Path(f"/proc/{self.process.pid}/fd").iterdir()}
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[9] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}

    def is_listening(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


def answer(connection):
    got = connection.getresponse()
    result = got.status, got.read()
    connection.close()
    return result


def next_event(client, sock):
    """Give what comes next on a websocket, as wsproto says it."""
    while True:
        for event in client.events():
            return event
        client.receive_data(sock.recv(65536))


def ask_http2(client, sock, path):
    headers = {":method": "GET", ":path": path, ":scheme": "https", ":authority": "subpool"}
    client.send_headers(
        client.get_next_available_stream_id(), list(headers.items()), end_stream=True
    )
    sock.sendall(client.data_to_send())


def http2_events(client, sock, last):
    """Give what has come, and the data of it, until something of that sort has."""
    seen = []
    while last not in seen:
        data = sock.recv(65536)
        assert data, f"the end came after {seen}"
        seen += [
            event.data if isinstance(event, DataReceived) else type(event)
            for event in client.receive_data(data)
        ]
        sock.sendall(client.data_to_send())
    return seen


class Load:
    """Clients that ask without a pause, on connections that are kept, or on a new one each time."""

    def __init__(self, served, clients=4, path="/", keep=True, trust=None):
        self.answers = 0
        self.errors = []
        self._served, self._path, self._keep, self._trust = served, path, keep, trust
        self._enough = threading.Event()
        self._lock = threading.Lock()
        self._grew = threading.Condition(self._lock)
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._enough.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, answers):
        with self._grew:
            assert self._grew.wait_for(lambda: self.answers >= answers or self.errors, 60)

    def _ask(self):
        connection = self._served.connect(self._trust)
        while not self._enough.is_set():
            try:
                connection.request("GET", self._path)
                got = connection.getresponse()
                body = got.read()
                assert got.status == 200, got.status
                assert body
            except Exception as error:
                with self._grew:
                    self.errors.append(repr(error))
                    self._grew.notify_all()
                connection.close()
                return
            if not self._keep:
                connection.close()
            with self._grew:
                self.answers += 1
                self._grew.notify_all()
        connection.close()
