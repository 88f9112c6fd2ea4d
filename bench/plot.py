"""Draw the results as an SVG file: bars on a logarithmic scale, a group for each measurement.

Written by hand, since all it needs is rectangles and text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from cases import KINDS_IN, KINDS_IN_DICT, payload_name, size_name
from machine import describe
from results import duration, times

if TYPE_CHECKING:
    from results import Results

WIDTH, LABELS, VALUES = 820, 178, 128  # the whole; left of the bars; right of them
ROW, BAR = 15, 11
STYLE = """
text { font: 11px system-ui, 'DejaVu Sans', sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.group { font-weight: 600 }
.small, .missing { fill: #777 }
.missing { font-style: italic }
.grid { stroke: #999; stroke-opacity: .35 }
.bar { fill: #8aa1b8 }
.base { fill: #d9603b }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .small, .missing { fill: #999 } .bar { fill: #5f7d9c }
}
"""


@dataclass(frozen=True)
class Bar:
    label: str
    seconds: float | None
    text: str  # beside it, or instead of it
    base: bool = False


@dataclass(frozen=True)
class Group:
    title: str
    bars: list[Bar]


@dataclass
class Canvas:
    """Where things are drawn, from the top down."""

    y: float = 0
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def bar(self, x: float, y: float, width: float, style: str) -> None:
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" class="{style}"/>'
        )

    def line(self, x: float, top: float, bottom: float) -> None:
        self.parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" class="grid"/>'
        )


def svg(results: Results) -> str:
    """Draw a panel of calls and one of big payloads; what was not measured is left out."""
    big = max(results.settings.sizes)
    calls = [
        ("burst", "burst: submit all, collect all"),
        ("round trip", "round trip: one call at a time"),
        ("map", "map"),
        ("map chunks", "map with chunksize=1000"),
        ("gather", "asyncio.gather"),
        ("await", "await, one at a time"),
    ]
    payloads = [(payload_name("in", kind, big), kind) for kind in KINDS_IN]
    payloads += [(payload_name("dict", kind, big), f"{kind} in a dict") for kind in KINDS_IN_DICT]
    canvas = Canvas(y=8)
    for title, wanted in (
        ("Time per call of add(i, i)", calls),
        (f"Time of a call with {size_name(big)} as the argument", payloads),
    ):
        groups = [group(results, name, heading) for name, heading in wanted]
        groups = [one for one in groups if one.bars]
        if any(bar.seconds for one in groups for bar in one.bars):
            panel(canvas, title, groups)
    canvas.text(10, canvas.y + 14, describe(results.where).split("; ")[0], "small")
    height = canvas.y + 24
    body = "\n".join(canvas.parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img">\n'
        f"<title>subpool and other pools: shorter bars are better, logarithmic scale</title>\n"
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def group(results: Results, measurement: str, title: str) -> Group:
    bars = []
    for peer in results.peers:
        # The second front of one pool is in the tables; here it would only repeat the first.
        if peer.key == "subpool-threads" or not results.samples.of(measurement, peer.key):
            continue
        seen = results.spread(measurement, peer.key)
        is_base = peer is results.base
        if seen is None:
            bars.append(Bar(peer.label, None, results.missing(measurement, peer.key), is_base))
            continue
        ratio = results.ratio(measurement, peer.key, results.base.key)
        beside = f" \N{MIDDLE DOT} {times(ratio.median)}" if ratio and not is_base else ""
        bars.append(Bar(peer.label, seen.median, duration(seen.median) + beside, is_base))
    return Group(title, bars)


def panel(canvas: Canvas, title: str, groups: list[Group]) -> None:
    """Draw groups over one logarithmic scale of whole decades."""
    values = [bar.seconds for one in groups for bar in one.bars if bar.seconds]
    first = math.floor(math.log10(min(values)) - 0.05)  # so that the shortest can be seen
    last = max(first + 1, math.ceil(math.log10(max(values))))
    unit = (WIDTH - LABELS - VALUES) / (last - first)

    canvas.y += 20
    canvas.text(10, canvas.y, title, "title")
    canvas.text(WIDTH - 10, canvas.y, "logarithmic, shorter is better", "small", "end")
    canvas.y += 22
    top = canvas.y
    for power in range(first, last + 1):
        x = LABELS + (power - first) * unit
        canvas.text(x, top - 6, decade(power), "small", "middle")
    # Under the bars, and as long as all of them.
    bottom = top + sum(ROW * (len(one.bars) + 1) + 6 for one in groups)
    for power in range(first, last + 1):
        canvas.line(LABELS + (power - first) * unit, top, bottom)
    for one in groups:
        canvas.y += ROW
        canvas.text(10, canvas.y - 3, one.title, "group")
        for bar in one.bars:
            canvas.y += ROW
            draw(canvas, bar, first, unit)
        canvas.y += 6
    canvas.y += 14


def draw(canvas: Canvas, bar: Bar, first: int, unit: float) -> None:
    canvas.text(LABELS - 8, canvas.y - 3, bar.label, "", "end")
    if bar.seconds is None:
        canvas.text(LABELS + 5, canvas.y - 3, bar.text, "missing")
        return
    width = (math.log10(bar.seconds) - first) * unit
    canvas.bar(LABELS, canvas.y - ROW + 3, width, "base" if bar.base else "bar")
    canvas.text(LABELS + width + 5, canvas.y - 3, bar.text)


def decade(power: int) -> str:
    for unit, size in (("s", 0), ("ms", -3), ("\N{MICRO SIGN}s", -6), ("ns", -9)):
        if power >= size:
            return f"{10 ** (power - size)} {unit}"
    return f"{10.0**power:.0e} s"
