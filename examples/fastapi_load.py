"""How fast `/ping` answers while a CPU-bound endpoint is loaded: `fastapi_app.py`, all ways.

    python examples/fastapi_load.py [--clients N] [--rounds N] [--seconds S]

Starts the app under uvicorn in a process of its own.  Then, for each way: some clients request
suggestions one after another, another one pings, with a short rest between two pings.  In each
round all ways take their turn, so that what else the machine does meets them alike.  Every answer
is compared with what this process computes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import math
import os
import platform
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import spelling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

APP = Path(__file__).with_name("fastapi_app.py")
WORDS = ["genrator", "exeption", "itarable", "asyncronous", "retreive", "funciton", "inheritence"]
WAYS = {
    "": "no load",
    "/inline": "inline in async def",
    "/to_thread": "await asyncio.to_thread(interpreter(f), ...)",
    "/def": "def endpoint calling a tagged function",
    "/run": "await executor.run(f, ...)",
}
ROW = "{:46} {:>10} {:>6} {:>12} {:>12}"
REST = 0.005  # between two pings: they shall sample the server, not load it
PATIENCE = 30  # for one answer


@dataclasses.dataclass
class Measured:
    """What one way gave so far."""

    requests: int = 0
    wrong: int = 0
    seconds: float = 0
    pings: list[float] = dataclasses.field(default_factory=list)

    def row(self, name: str) -> str:
        """Give a line of the table."""
        speed = f"{self.requests / self.seconds:.1f}" if self.requests else "-"
        times = (f"{quantile(self.pings, share) * 1e3:.2f}" for share in (0.5, 0.99))
        return ROW.format(name, speed, len(self.pings), *times)


class Client:
    """A keep-alive connection, on plain streams: the clients shall cost little CPU."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, port: int) -> AsyncIterator[Client]:
        """Connect, and close at the end."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        try:
            yield client
        finally:
            client.writer.close()

    async def get(self, path: str) -> object:
        """Request a path and decode the answer's JSON."""
        async with asyncio.timeout(PATIENCE):
            self.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
            body = await self.reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(f"{path}: {head.splitlines()[0].decode()}: {body[:500]!r}")
        return json.loads(body)


async def measure(port: int, path: str, found: Measured, options: argparse.Namespace) -> None:
    """Load a path ("": nothing) and ping meanwhile."""
    expected = {word: [list(pair) for pair in spelling.suggest(word)] for word in WORDS}
    most = len(found.pings) + options.pings
    enough = asyncio.Event()

    async def load(first: int) -> None:
        async with Client.connected(port) as client:
            for word in itertools.islice(itertools.cycle(WORDS), first, None):
                found.wrong += await client.get(f"{path}?word={word}") != expected[word]
                found.requests += 1
                if enough.is_set():
                    break

    async def ping() -> None:
        end = time.perf_counter() + options.seconds
        async with Client.connected(port) as client:
            while len(found.pings) < most and time.perf_counter() < end:
                await asyncio.sleep(REST)
                sent = time.perf_counter()
                await client.get("/ping")
                found.pings.append(time.perf_counter() - sent)
        enough.set()

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(options.clients if path else 0):
            group.create_task(load(number))
        group.create_task(ping())
    found.seconds += time.perf_counter() - start


async def announced(log: asyncio.StreamReader) -> int:
    """Read uvicorn's log until it names the port."""
    seen = ""
    while line := (await log.readline()).decode():
        seen += line
        if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise RuntimeError(f"the server did not start:\n{seen}")


async def pass_on(log: asyncio.StreamReader) -> None:
    """Show what the server complains of."""
    while line := (await log.readline()).decode():
        if not line.startswith("INFO:"):
            print(line, end="", file=sys.stderr)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Run the app; give its port. It ends with the block, by Ctrl-C's signal."""
    command = (sys.executable, str(APP), "--port", "0")
    server = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert server.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(PATIENCE):
            port = await announced(server.stderr)
        rest = asyncio.create_task(pass_on(server.stderr))
        yield port
        server.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(server.wait(), rest)
        print(f"the server ended with exit code {server.returncode}")
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


def quantile(values: list[float], share: float) -> float:
    """Give the least value that so many are not above."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


async def run(options: argparse.Namespace) -> int:
    """Measure all ways on one server, and print the table."""
    print(
        f"Python {platform.python_version()}, {os.process_cpu_count()} CPUs,"
        f" load {os.getloadavg()[0]:.1f}; {options.clients} clients"
    )
    results = {path: Measured() for path in WAYS}
    async with serving() as port:
        for number in range(1, options.rounds + 1):
            print(f"round {number} of {options.rounds}", flush=True)
            for path, found in results.items():
                await measure(port, path, found, options)
    print(ROW.format("way", "requests/s", "pings", "ping p50, ms", "ping p99, ms"))
    for path, way in WAYS.items():
        print(results[path].row(way))
    wrong = sum(found.wrong for found in results.values())
    print(f"WRONG: {wrong} answers" if wrong else "all ways gave the same answers")
    return 1 if wrong else 0


def main() -> int:
    """Parse the command line and run; 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=4, help="clients that load the endpoint")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="for each way in a round")
    parser.add_argument("--pings", type=int, default=10_000, help="the most in that time")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
