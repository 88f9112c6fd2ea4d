"""Show what the doctor found: as a table, or as JSON."""

from __future__ import annotations

import json
import platform
import sys
import textwrap
from collections import Counter
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from subpool.doctor.examination import (
    CRASHES,
    GOOD,
    HANGS,
    PURE,
    REFUSES,
    UNKNOWN,
    WORKS,
    general_advice,
    special_advice,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from subpool.doctor.examination import Finding

_COLOURS = {WORKS: "green", PURE: "yellow", CRASHES: "bold red", HANGS: "bold red", UNKNOWN: "dim"}
_MOST_NAMES = 3
_HEADINGS = ("distribution", "version", "verdict", "details")


def as_json(findings: list[Finding]) -> str:
    """Give everything that was found."""
    return json.dumps(
        {
            "python": platform.python_version(),
            "subpool": _version(),
            "ok": all(finding.verdict in GOOD for finding in findings),
            "results": [asdict(finding) for finding in findings],
        },
        indent=2,
    )


def _version() -> str | None:
    try:
        return metadata.version("subpool")
    except metadata.PackageNotFoundError:  # run from its sources
        return None


def show(findings: list[Finding]) -> None:
    """Print a table, and what to do about what does not work."""
    if find_spec("rich") is None:
        _show_plainly(findings)
    else:
        _show_richly(findings)
    counts = Counter(finding.verdict for finding in findings)
    print("\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))  # noqa: T201


def _row(finding: Finding) -> tuple[str, str, str, str]:
    detail = finding.detail
    names = list(map(_written(finding), finding.extensions))
    more = len(names) - _MOST_NAMES
    named = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    if finding.verdict == REFUSES:
        # Loaded as such, and then a part of it refused.
        part = detail.partition(":")[0] not in {f"import {name}" for name in finding.modules}
        detail = f"{named}{', a part of it' if part and detail.startswith('import') else ''}"
    elif named:
        detail = f"goes on without {named}"
    if finding.beside:
        detail += ", if the main interpreter has loaded it before"
    return finding.name, finding.version or "-", finding.verdict, detail


def _written(finding: Finding) -> Callable[[dict[str, str | None]], str]:
    def written(extension: dict[str, str | None]) -> str:
        owner = extension["distribution"]
        if owner is None or owner == finding.name:
            return str(extension["name"])
        return f"{extension['name']} of {owner} {extension['version']}"

    return written


def _advice(findings: list[Finding]) -> list[tuple[str, str]]:
    """Give what to do, first for each verdict, then for single libraries."""
    lines = []
    for verdict in dict.fromkeys(finding.verdict for finding in findings):
        text = general_advice(verdict, "them" if len(findings) > 1 else findings[0].name)
        if text:
            lines.append((verdict, text))
    special: dict[str, list[str]] = {}
    for finding in findings:
        if text := special_advice(finding):
            special.setdefault(text, []).append(finding.name)
    return lines + [(", ".join(names), text) for text, names in special.items()]


def _show_richly(findings: list[Finding]) -> None:
    from rich.console import Console  # noqa: PLC0415 - need not be installed
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console()
    table = Table(*_HEADINGS, title=f"In an interpreter of Python {platform.python_version()}")
    for finding in findings:
        name, version, verdict, detail = _row(finding)
        colour = _COLOURS.get(verdict, "red")
        table.add_row(
            Text(name), Text(version), Text(verdict, style=colour), Text(detail, overflow="fold")
        )
    console.print(table)
    advice = Table.grid(padding=(0, 2))
    for name, todo in _advice(findings):
        advice.add_row(Text(name), Text(todo))
    if advice.row_count:
        console.print("\nWhat to do", style="bold")
        console.print(advice)


def _show_plainly(findings: list[Finding]) -> None:
    rows = [_HEADINGS, *map(_row, findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    width = max(get_terminal_size().columns, 60)
    indent = sum(widths) + 6
    for row in rows:
        head = "".join(f"{cell:<{size}}  " for cell, size in zip(row[:3], widths, strict=True))
        print(_wrapped(head, row[3], width, indent))  # noqa: T201 - what the command is for
    advice = _advice(findings)
    if advice:
        indent = max(len(name) for name, _ in advice) + 2
        print("\nWhat to do\n")  # noqa: T201 - as above
        for name, todo in advice:
            print(_wrapped(f"{name:<{indent}}", todo, width, indent))  # noqa: T201 - as above


def _wrapped(head: str, text: str, width: int, indent: int) -> str:
    lines = textwrap.wrap(text, max(width - indent, 30), break_on_hyphens=False) or [""]
    return (head + f"\n{' ' * indent}".join(lines)).rstrip()


def progress(done: int, total: int, name: str) -> None:
    """Say how far it is, on a terminal."""
    if sys.stderr.isatty():
        end = "\r" if done < total else ""
        print(f"\r\x1b[K{f'{done}/{total} {name}' if end else ''}", end=end, file=sys.stderr)  # noqa: T201
