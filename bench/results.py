"""From samples to numbers: medians, spreads, ratios.

Every comparison is made within a round, where both sides saw the same machine; what is shown is
the median over the rounds and, beside it, the least and the greatest.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cases import Case, Measurement, Settings
    from peers import Peer
    from schedule import Samples


@dataclass(frozen=True)
class Spread:
    """One number per round, and what is shown of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        return cls(statistics.median(values), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Results:
    where: dict[str, Any]
    settings: Settings
    rounds: int
    cases: list[Case]
    peers: list[Peer]
    absent: list[Peer]  # asked for, and not installed
    samples: Samples
    arrived: dict[str, Any] | None = None  # what compatibility.py found

    @property
    def base(self) -> Peer:
        """Whom ratios refer to."""
        return self.peers[0]

    def measurements(self, case: str) -> list[Measurement]:
        return [
            one
            for found in self.cases
            if found.key == case
            for one in found.measurements(self.settings)
        ]

    def spread(self, measurement: str, peer: str) -> Spread | None:
        found = self.samples.of(measurement, peer)
        return Spread.of([one.value for one in found if one.value is not None])

    def ratio(self, measurement: str, peer: str, base: str) -> Spread | None:
        """How many times as much as `base` this pool took, round by round."""
        return self.compared((measurement, peer), (measurement, base))

    def ratio_within(self, measurement: str, reference: str, peer: str) -> Spread | None:
        """How many times as much one measurement of a pool is as another."""
        return self.compared((measurement, peer), (reference, peer))

    def compared(self, one: tuple[str, str], other: tuple[str, str]) -> Spread | None:
        ones, others = self.samples.of(*one), self.samples.of(*other)
        if not (ones and others):
            return None
        pairs = zip(ones, others, strict=True)  # both took part in the same rounds
        return Spread.of([a.value / b.value for a, b in pairs if a.value is not None and b.value])

    def missing(self, measurement: str, peer: str) -> str:
        """Why there is no number, or some rounds are without: what was said most often."""
        said = Counter(one.missing for one in self.samples.of(measurement, peer) if one.missing)
        return said.most_common(1)[0][0] if said else ""


def quantity(value: float, unit: str) -> str:
    """A number as the tables show it, with its unit."""
    match unit:
        case "time":
            return duration(value)
        case "bytes":
            return f"{value / (1 << 20):.2f} MiB"
        case "share":
            return f"{floor(100 * value, 1):.1f} %"
        case "cpu":
            return f"{100 * value:.2f} %"
    raise ValueError(unit)


def duration(seconds: float) -> str:
    """Three significant digits, in the unit that makes them short."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("\N{MICRO SIGN}s", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{three_digits(seconds / size)} {unit}"
    return f"{three_digits(seconds / 1e-9)} ns"


def three_digits(value: float) -> str:
    decimals = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{min(decimals, 2)}f}"


def times(ratio: float, *, up: bool = False) -> str:
    """A ratio, cut to three digits, or two below 1: never shown better than it was.

    `up` where less is better.
    """
    digits = 3 if ratio >= 1 else 2
    decimals = max(0, digits - 1 - math.floor(math.log10(ratio))) if ratio > 0 else 0
    cut = -floor(-ratio, decimals) if up else floor(ratio, decimals)
    return f"{cut:,.{decimals}f}\N{MULTIPLICATION SIGN}"


def floor(value: float, decimals: int) -> float:
    scale = 10**decimals
    return math.floor(value * scale) / scale
