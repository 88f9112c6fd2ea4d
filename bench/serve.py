"""`make bench-serve`: subpool serve, hypercorn and uvicorn, same app and workers, in one run.

The servers take turns: in each round every one of them is started, loaded and ended, so that what
else the machine does falls on all. Shown are medians over the rounds, and as ratios to hypercorn
the medians of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from machine import cpu_model

HERE = Path(__file__).resolve().parent
COMPILED = tempfile.TemporaryDirectory()
TIMES = "\N{MULTIPLICATION SIGN}"
HYPERCORN = "hypercorn, processes"
PYTHON = [sys.executable, "-m"]
SERVERS = {
    "subpool serve": [*PYTHON, "subpool", "serve", "serve_app:app", "-w", "{n}", "-b", "{at}"],
    HYPERCORN: [*PYTHON, "hypercorn", "serve_app:app", "-w", "{n}", "-b", "{at}"],
    "uvicorn, processes": [
        *PYTHON, "uvicorn", "serve_app:app", "--workers", "{n}", "--host", "127.0.0.1",
        "--port", "{port}", "--no-access-log",
    ],
    "subpool serve, processes": [
        *PYTHON, "subpool", "serve", "--workers-kind=process", "serve_app:app", "-w", "{n}",
        "-b", "{at}",
    ],
}  # fmt: skip

# What is measured: a name, its unit, and what it is multiplied with.
FIGURES = {
    "up": ("start to all answering", "ms", 1e3),
    "hello": ("hello", "requests/s", 1),
    "hello_p99": ("hello, p99", "ms", 1e3),
    "hello_cost": ("hello, CPU time of each", "ms", 1e3),
    "cpu": ("CPU page", "requests/s", 1),
    "cpu_p99": ("CPU page, p99", "ms", 1e3),
    "cpu_cost": ("CPU page, CPU time of each", "ms", 1e3),
    "memory": ("proportional memory", "MB", 1e-6),
    "reload_errors": ("reload: failed requests", "", 1),
    "reload_worst": ("reload: longest answer", "ms", 1e3),
    "down": ("stop", "ms", 1e3),
}


class Server:
    """One of the servers, as it runs."""

    def __init__(self, command: list[str], workers: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = {"n": workers, "at": f"127.0.0.1:{self.port}", "port": self.port}
        self.workers = workers
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(
            [word.format(**words) for word in command],
            cwd=HERE,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def who(self, _: int = 0) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/who")
            return connection.getresponse().read().decode()
        except OSError:
            return ""
        finally:
            connection.close()

    def until_up(self, threads: ThreadPoolExecutor) -> float:
        seen: set[str] = set()
        while len(seen) < self.workers:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) != 0:
                    time.sleep(0.005)
                    continue
            seen.update(filter(None, threads.map(self.who, range(2 * self.workers))))
            if time.perf_counter() - self.begin > 60:
                raise TimeoutError("the server does not come up")
        return time.perf_counter() - self.begin

    def load(self, path: str, connections: int, seconds: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable, HERE / "serve_load.py", str(self.port), path, str(connections),
                str(seconds),
            ],
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def memory(self) -> int:
        return sum(pss(number) for number in family(self.process.pid))

    def used(self) -> float:
        return sum(processor_time(number) for number in family(self.process.pid))

    def stop(self) -> float:
        begin = time.perf_counter()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for number in family(self.process.pid):
                os.kill(number, signal.SIGKILL)
            self.process.wait()
        return time.perf_counter() - begin


def environment() -> dict[str, str]:
    """Give that of servers: what was imported once is compiled, wherever this runs."""
    kept = {**os.environ, "PYTHONPYCACHEPREFIX": COMPILED.name}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


def family(number: int) -> list[int]:
    children = Path(f"/proc/{number}/task/{number}/children").read_text(encoding="ascii").split()
    return [number, *(each for child in children for each in family(int(child)))]


def pss(number: int) -> int:
    for line in Path(f"/proc/{number}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def processor_time(number: int) -> float:
    """Seconds, of which other programs on the machine take none away."""
    status = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    user, system = status.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def finish(load: subprocess.Popen[bytes]) -> dict[str, float]:
    output, _ = load.communicate()
    result: dict[str, float] = json.loads(output)
    return result


def measure(command: list[str], options: argparse.Namespace) -> dict[str, float]:
    server = Server(command, options.workers)
    figures: dict[str, float] = {}
    try:
        with ThreadPoolExecutor(2 * options.workers) as threads:
            figures["up"] = server.until_up(threads)
        finish(server.load("/", options.connections, 0.3))
        for path, name in (("/", "hello"), ("/cpu", "cpu")):
            before = server.used()
            found = finish(server.load(path, options.connections, options.seconds))
            figures[name], figures[f"{name}_p99"] = found["rate"], found["p99"]
            figures[f"{name}_cost"] = (server.used() - before) / found["answers"]
        figures["memory"] = server.memory()
        under = server.load("/", options.connections, 2 * options.seconds)
        time.sleep(options.seconds / 2)
        server.process.send_signal(signal.SIGHUP)
        found = finish(under)
        figures["reload_errors"], figures["reload_worst"] = found["errors"], found["worst"]
    finally:
        figures["down"] = server.stop()
    return figures


def show(rounds: list[dict[str, dict[str, float]]], names: list[str]) -> None:
    print("| | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for key, (label, unit, factor) in FIGURES.items():
        cells = []
        for name in names:
            values = [each[name][key] for each in rounds]
            cell = f"{statistics.median(values) * factor:.4g}"
            if HYPERCORN in names and name != HYPERCORN and not key.startswith("reload"):
                ratios = [each[name][key] / each[HYPERCORN][key] for each in rounds]
                cell += f" ({statistics.median(ratios):.2f}{TIMES})"
            if key == "reload_errors":
                cell = f"{sum(values):.0f}"
            cells.append(cell)
        print(f"| {label}{', ' + unit if unit else ''} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--servers", default="", help="some of them, by what their names contain")
    parser.add_argument("--json", type=Path, help="keep all figures in this file")
    options = parser.parse_args()
    wanted = [word for word in options.servers.split(";") if word]
    names = [name for name in SERVERS if not wanted or any(word == name for word in wanted)]
    with ThreadPoolExecutor(2 * options.workers) as threads:
        for name in names:  # compile what it imports
            server = Server(SERVERS[name], options.workers)
            server.until_up(threads)
            server.stop()
    rounds = []
    for number in range(options.rounds):
        turn = names[number % len(names) :] + names[: number % len(names)]
        rounds.append({name: measure(SERVERS[name], options) for name in turn})
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("subpool", "hypercorn", "uvicorn")
    )
    print(
        f"Python {sys.version.split()[0]}, {versions}; {cpu_model()}, {os.process_cpu_count()} "
        f"CPUs; {options.workers} workers, {options.connections} connections, median of "
        f"{options.rounds} rounds, in brackets against hypercorn\n"
    )
    show(rounds, names)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
