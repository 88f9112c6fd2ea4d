"""From results to what is read: tables on the terminal and in Markdown, and the JSON file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from cases import (
    KINDS_BACK,
    KINDS_IN,
    KINDS_IN_DICT,
    Measurement,
    Settings,
    payload_name,
    size_name,
)
from machine import describe
from results import quantity, times

if TYPE_CHECKING:
    from rich.console import Console

    from peers import Peer
    from results import Results
    from targets import Target

# What a run that was not asked for, or could not be, leaves in its cells.
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Grid:
    """A table with pools as rows, measurements as columns, and lines in its cells."""

    title: str
    head: list[str]
    rows: list[list[list[str]]]


def grids(results: Results) -> list[Grid]:
    wanted: list[tuple[str, list[Measurement]]] = [
        ("Calls", of_cases(results, "burst", "round-trip", "map")),
        ("asyncio, each pool's own way", of_cases(results, "gather", "await")),
        (
            "asyncio, through the loop's executor, and on uvloop",
            of_cases(results, "to-thread", "gather-executor", "await-executor", "gather-uvloop"),
        ),
        ("The pool itself", of_cases(results, "start-up", "memory", "idle")),
        ("Parallel efficiency, share of the ideal", of_cases(results, "efficiency")),
        ("Structured data, there and back", of_cases(results, "nested")),
    ]
    for case, way, kinds, title in (
        ("payload-in", "in", KINDS_IN, "{} as the argument"),
        ("payload-dict", "dict", KINDS_IN_DICT, "{} in a dict as the argument"),
        ("payload-back", "back", KINDS_BACK, "{} as the result"),
    ):
        if of_cases(results, case):
            nothing = Measurement(f"{way}/nothing", "no data")
            wanted += [
                (title.format(kind), [nothing, *payloads(results.settings, way, kind)])
                for kind in kinds
            ]
    return [grid(results, title, columns) for title, columns in wanted if columns]


def of_cases(results: Results, *keys: str) -> list[Measurement]:
    return [one for key in keys for one in results.measurements(key)]


def payloads(settings: Settings, way: str, kind: str) -> list[Measurement]:
    return [Measurement(payload_name(way, kind, size), size_name(size)) for size in settings.sizes]


def grid(results: Results, title: str, columns: list[Measurement]) -> Grid:
    rows = [
        [[peer.label], *(cell(results, one, peer) for one in columns)]
        for peer in results.peers
        if any(results.samples.of(one.name, peer.key) for one in columns)
    ]
    return Grid(title, ["", *(one.heading for one in columns)], rows)


def cell(results: Results, measurement: Measurement, peer: Peer) -> list[str]:
    """Median, how many times subpool's, and the spread; or why there is none."""
    seen = results.spread(measurement.name, peer.key)
    missing = results.missing(measurement.name, peer.key)
    if seen is None:
        return missing.split(" ", 1) if missing else [NOTHING]
    first = quantity(seen.median, measurement.unit)
    ratio = results.ratio(measurement.name, peer.key, results.base.key)
    if measurement.unit in ("time", "bytes") and ratio and peer is not results.base:
        first += f"  {times(ratio.median)}"
    lines = [first]
    if seen.least < seen.greatest:
        least, unit = quantity(seen.least, measurement.unit).split()
        greatest, same = quantity(seen.greatest, measurement.unit).split()
        lines.append(f"{least}{'' if unit == same else f' {unit}'} to {greatest} {same}")
    if missing:
        lines.append(f"some {missing}")
    return lines


def notes(results: Results) -> list[str]:
    first = (
        f"Each cell: the median of the rounds and, with \N{MULTIPLICATION SIGN}, how many times "
        f"that of {results.base.label}, compared round by round; below, least and greatest. "
        f"Above 1\N{MULTIPLICATION SIGN} {results.base.label} was better."
    )
    said = [
        first,
        *(
            f"{peer.label} takes part in {', '.join(peer.only)} alone: {peer.why_only}."
            for peer in results.peers
            if peer.only
        ),
    ]
    if results.absent:
        names = ", ".join(peer.label for peer in results.absent)
        said.append(f"Not installed: {names} (`make bench` installs them).")
    return said


def heading(results: Results) -> str:
    return (
        f"{describe(results.where)}. {results.settings.workers} workers per pool, "
        f"{results.rounds} {'round' if results.rounds == 1 else 'rounds'}."
    )


# Terminal


def show(console: Console, results: Results, judged: list[Target]) -> None:
    for one in grids(results):
        table = Table(title=one.title, title_justify="left", title_style="bold")
        for number, text in enumerate(one.head):
            table.add_column(text, justify="right" if number else "left")
        for row in one.rows:
            style = "bold" if row[0][0] == results.base.label else None
            table.add_row(*("\n".join(lines) for lines in row), style=style)
        console.print(table)
    for note in notes(results):
        console.print(note)
    table = Table(title="Targets", title_justify="left", title_style="bold")
    for text in ("", "against", "wanted", "seen", ""):
        table.add_column(text)
    for target in judged:
        row = (target.what, target.against, target.wanted, target.seen, target.verdict)
        table.add_row(*row, style="bold" if target.met is False else None)
    console.print(table)


# Markdown


def markdown(results: Results, judged: list[Target], plot: str = "") -> str:
    lines = [heading(results), ""]
    if plot:
        lines += [f"![Time per call and per 100 MiB, by pool, on a logarithmic scale]({plot})", ""]
    lines += ["### Targets", ""]
    lines += rows_of(
        ["", "against", "wanted", "seen", ""],
        [[t.what, t.against, t.wanted, t.seen, bold(t.verdict, t.met is False)] for t in judged],
    )
    for one in grids(results):
        cells = [["<br>".join(lines) for lines in row] for row in one.rows]
        lines += ["", f"### {one.title}", "", *rows_of(one.head, cells)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(results)), ""])


def rows_of(head: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] * len(head)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def bold(text: str, really: bool) -> str:
    return f"**{text}**" if really else text


BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def replaced(page: str, text: str) -> str:
    """The page with this text between its two marks."""
    before, found_begin, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


# JSON


def as_json(results: Results, judged: list[Target]) -> dict[str, Any]:
    """Everything: the samples in seconds, bytes and shares, and what the tables show of them."""
    return {
        "machine": results.where,
        "settings": asdict(results.settings),
        "rounds": results.rounds,
        "cases": [case.key for case in results.cases],
        "peers": {peer.key: peer.label for peer in results.peers},
        "absent": [peer.key for peer in results.absent],
        "samples": results.samples.to_json(),
        "table": results.arrived,
        "summary": {
            name: {
                peer: {
                    "spread": asdict(seen),
                    "ratio": asdict(ratio) if ratio else None,
                }
                for peer in found
                if (seen := results.spread(name, peer))
                for ratio in [results.ratio(name, peer, results.base.key)]
            }
            for name, found in results.samples.outcomes.items()
        },
        "targets": [{**asdict(target), "verdict": target.verdict} for target in judged],
    }
