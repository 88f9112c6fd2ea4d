"""Run every cell in its turn: a process each, with a time limit.

In each round every pool takes its turn at a case before the next case comes, and each round
begins with another pool, so that whatever else the machine does falls on all of them.  Guarantees:
a cell that hangs, dies or refuses costs its own numbers and no other's, and says so; nothing that
a cell started outlives it, and nothing else is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cases import Case, Settings
    from peers import Peer

HERE = Path(__file__).resolve().parent
# Where subpool is used from if it is not installed (.venv-bench), next to its compiled part.
SOURCE = str(HERE.parent / "python")


@dataclass(frozen=True)
class Outcome:
    """What one cell found for one measurement: a value, or why there is none."""

    value: float | None = None
    calls: int = 0
    missing: str = ""  # short: for the table
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value or name == "value"}


@dataclass
class Samples:
    """All outcomes: by measurement, by pool, one per round."""

    outcomes: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)

    def add(self, measurement: str, peer: str, outcome: Outcome) -> None:
        self.outcomes.setdefault(measurement, {}).setdefault(peer, []).append(outcome)

    def of(self, measurement: str, peer: str) -> list[Outcome]:
        return self.outcomes.get(measurement, {}).get(peer, [])

    def to_json(self) -> dict[str, Any]:
        return {
            name: {peer: [one.to_json() for one in found] for peer, found in peers.items()}
            for name, peers in self.outcomes.items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Samples:
        return cls(
            {
                name: {peer: [Outcome(**one) for one in found] for peer, found in peers.items()}
                for name, peers in data.items()
            }
        )


def run_round(
    number: int, cases: list[Case], peers: list[Peer], settings: Settings, samples: Samples
) -> Iterator[str]:
    """Give the name of each case as it begins."""
    turn = number % len(peers)
    in_turn = [*peers[turn:], *peers[:turn]]
    for case in cases:
        yield case.key
        taking_part = [
            peer
            for peer in in_turn
            if peer.takes_part(case.key) and (not case.peers or peer.key in case.peers)
        ]

        def run(peer: Peer, case: Case = case) -> dict[str, Outcome]:
            return run_cell(case, peer, settings)

        if case.together and taking_part:
            with ThreadPoolExecutor(len(taking_part)) as side_by_side:
                found = list(side_by_side.map(run, taking_part))
        else:
            found = [run(peer) for peer in taking_part]
        for peer, outcomes in zip(taking_part, found, strict=True):
            for name, outcome in outcomes.items():
                samples.add(name, peer.key, outcome)


def run_cell(case: Case, peer: Peer, settings: Settings) -> dict[str, Outcome]:
    """Measure one case of one pool: every measurement of the case gets an outcome."""
    with tempfile.TemporaryDirectory(prefix="subpool-bench-") as folder:
        found, log = Path(folder) / "found", Path(folder) / "log"
        command = (sys.executable, HERE / "cell.py", case.key, peer.key)
        with log.open("w") as output:
            # A session of its own, so that its worker processes can be ended with it.
            process = subprocess.Popen(
                [*command, json.dumps(asdict(settings)), found],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            end = wait(process, settings.limit)
        lines = found.read_text().splitlines() if found.exists() else []
        said = log.read_text(errors="replace").strip().splitlines()
    whole = Outcome(missing=end or "no result", detail=said[-1][:300] if said else "")
    outcomes = {}
    for line in lines:
        with contextlib.suppress(ValueError):  # cut short when its process was ended
            entry = json.loads(line)
            outcome = outcome_of(entry)
            if entry.get("name"):
                outcomes[entry["name"]] = outcome
            else:
                whole = outcome
    return {one.name: outcomes.get(one.name, whole) for one in case.measurements(settings)}


def outcome_of(entry: dict[str, Any]) -> Outcome:
    if entry.get("wrong"):
        return Outcome(missing="WRONG RESULT")
    if "refused" in entry:
        return Outcome(missing=f"refused: {entry['refused']}", detail=entry["detail"])
    return Outcome(entry["value"], entry["calls"])


def wait(process: subprocess.Popen[bytes], limit: float) -> str:
    """Wait for the process, or end it and its children; say what was wrong with its end."""
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        return f"over {limit:g} s"
    finally:
        if process.returncode is None:  # too long, or Ctrl-C here
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status < 0:
        return f"crashed: {signal.Signals(-status).name}"
    return f"exit status {status}" if status else ""


def environment() -> dict[str, str]:
    """Let workers of all kinds find the tasks, and subpool where it is not installed."""
    paths = [str(HERE), *(path for path in sys.path if path == SOURCE)]
    if inherited := os.environ.get("PYTHONPATH"):
        paths.append(inherited)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # Start-up as users have it: what they installed comes with its byte code.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env
