"""From samples to tables, targets and JSON.

Every comparison is made within a round, where both sides saw the same machine; what is
shown is the median over the rounds and, beside it, the least and the greatest.  Ratios and
speed-ups are truncated, so that none is ever shown better than it was.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from measure import Sample
    from peers import Peer

# In the order of the report.
MEASUREMENTS = {
    "burst": ("Burst: submit all, collect all", "µs per task", 1e6),
    "round_trip": ("Round trip: one call at a time, median", "µs", 1e6),
    "round_trip_p99": ("Round trip: one call at a time, 99th percentile", "µs", 1e6),
    "cpu": ("CPU-bound work: speed-up over sequential", "times", 1.0),
    "first_result": ("First result of a new pool", "ms", 1e3),
}


@dataclass(frozen=True)
class Spread:
    """One number per round, and what is shown of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Rounds:
    """All samples: by peer, one per round."""

    peers: list[Peer]
    samples: dict[str, list[Sample]]

    def values(self, peer: Peer, measurement: str) -> list[float]:
        return [sample[measurement] for sample in self.samples[peer.key]]

    def ratio(self, peer: Peer, base: Peer, measurement: str) -> Spread:
        """How many times as long as `base` this peer took: above 1, `base` was faster."""
        pairs = zip(self.values(peer, measurement), self.values(base, measurement), strict=True)
        return Spread.of([ours / theirs for ours, theirs in pairs])

    def speed_up(self, peer: Peer) -> Spread:
        return Spread.of(
            [sample["sequential"] / sample["cpu"] for sample in self.samples[peer.key]]
        )

    def shown(self, peer: Peer, measurement: str) -> Spread:
        """What the table of a measurement shows, in its unit."""
        if measurement == "cpu":
            return self.speed_up(peer)
        factor = MEASUREMENTS[measurement][2]
        return Spread.of([value * factor for value in self.values(peer, measurement)])


@dataclass(frozen=True)
class Target:
    """What subpool promises of one figure, and what came of it.  `met` is None if not judged."""

    text: str
    pool: str
    wanted: float
    figure: float | None
    met: bool | None
    why_not_judged: str = ""

    def __str__(self) -> str:
        if self.figure is None or self.met is None:
            return f"{self.text}: {self.pool} not judged, {self.why_not_judged}"
        verdict = "met" if self.met else "NOT met"
        return f"{self.text}: {self.pool} {truncated(self.figure)}, {verdict}"


def targets(rounds: Rounds, workers: int) -> list[Target]:
    by_key = {peer.key: peer for peer in rounds.peers}
    ours = [peer for peer in rounds.peers if peer.key.startswith("subpool")]
    found = []
    for peer in ours:
        text, wanted = "burst at least 20 times the standard InterpreterPoolExecutor", 20.0
        if stdlib := by_key.get("interpreters"):
            figure = rounds.ratio(stdlib, peer, "burst").median
            found.append(Target(text, peer.label, wanted, figure, figure >= wanted))
        else:
            reason = "this Python has no standard interpreter pool"
            found.append(Target(text, peer.label, wanted, None, None, reason))
    usable = os.process_cpu_count() or 1
    for peer in ours:
        text, wanted = "CPU-bound work at least 1.8 times sequential on 2 cores", 1.8
        figure = rounds.speed_up(peer).median
        if workers == 2 and usable >= 2:
            found.append(Target(text, peer.label, wanted, figure, figure >= wanted))
        else:
            reason = f"it is for 2 workers on 2 CPUs, here {workers} on {usable}"
            found.append(Target(text, peer.label, wanted, figure, None, reason))
    return found


def truncated(value: float) -> str:
    """Cut a ratio to two decimals, or three digits below 1; never up: 1.799 is not 1.80."""
    decimals = 2 if value >= 1 or value <= 0 else 2 - math.floor(math.log10(value))
    scale = 10**decimals
    return f"{math.floor(value * scale) / scale:.{decimals}f}"


def three_digits(value: float) -> str:
    """Round a time to three significant digits, without an exponent."""
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def show(console: Console, rounds: Rounds) -> None:
    base = rounds.peers[0]
    for measurement, (title, unit, _) in MEASUREMENTS.items():
        number = truncated if measurement == "cpu" else three_digits
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("pool", min_width=37)
        table.add_column(unit, justify="right", min_width=8)
        table.add_column("min\u2013max", justify="right")
        table.add_column("/ subpool", justify="right")
        for peer in rounds.peers:
            shown = rounds.shown(peer, measurement)
            ratio = rounds.ratio(peer, base, measurement)
            table.add_row(
                peer.label,
                number(shown.median),
                f"{number(shown.least)}\u2013{number(shown.greatest)}",
                truncated(ratio.median),
                style="bold" if peer is base else None,
            )
        console.print(table)
    console.print(f"/ subpool: time over that of {base.label} in the same round")


def machine() -> dict[str, Any]:
    """Describe where this ran, for the reader and for the JSON file."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "subpool": subpool_version(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "usable_cpus": os.process_cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        # Of the last minute, at the start: much above 0 and the figures are not to be trusted.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def subpool_version() -> str:
    try:
        return metadata.version("subpool")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def as_json(
    where: dict[str, Any], settings: dict[str, Any], rounds: Rounds, judged: list[Target]
) -> dict[str, Any]:
    """Everything: the raw samples in seconds, and the figures that the tables show."""
    base = rounds.peers[0]
    return {
        "machine": where,
        "settings": settings,
        "samples": rounds.samples,
        "figures": {
            measurement: {
                "unit": MEASUREMENTS[measurement][1],
                "pools": {
                    peer.key: {
                        "label": peer.label,
                        **vars(rounds.shown(peer, measurement)),
                        "ratio": vars(rounds.ratio(peer, base, measurement)),
                    }
                    for peer in rounds.peers
                },
            }
            for measurement in MEASUREMENTS
        },
        "targets": [vars(target) for target in judged],
    }
