"""The table of tests/table on each pool: of what a program may hand over, how much arrives.

Not a measurement: it is run once, and nothing in it is timed.  Guarantees: every row of every pool
has an outcome, also if its program hangs or dies, and each pool gets programs as a user would write
them.  Where a pool's workers run the program's file again, each row is a program of its own, so
that none fails for what another one imports.
"""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table as Shown

from schedule import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

TABLE = Path(__file__).resolve().parent.parent / "tests" / "table"
sys.path.append(str(TABLE))

import programs  # noqa: E402 - it lies beside the tests
import rows  # noqa: E402

# How a program imports each pool, by the keys of peers.PEERS.
POOLS = {
    "subpool": programs.SUBPOOL,
    "interpreters": "from untagged import Pool, tag",
    "aiointerpreters": "from tagging import Pool, tag",
}
FORMS = {
    "guarded": "script, guard",
    "bare": "script, no guard",
    "-c": "-c",
    "-i": "REPL",
    "notebook": "notebook",
}
# Forms in which a worker may import the program's file.
ALONE = ("guarded", "bare")
LIMIT = 10.0

# Pool, form, row: what came of it, and whether that was right.
type Found = dict[str, dict[str, dict[str, list[Any]]]]


def run(pools: list[str]) -> Iterator[tuple[str, Found]]:
    """Give the name of each part as it begins, and what was found so far."""
    found: Found = {}
    for pool in pools:
        found[pool] = {}
        for form in FORMS:
            yield f"{pool}, {form}", found
            found[pool][form] = run_form(pool, form)
    yield "", found


def run_form(pool: str, form: str) -> dict[str, list[Any]]:
    wanted = [
        row
        for row in rows.rows()
        if form in row.forms
        and sys.version_info >= row.since
        and (not row.needs or find_spec(row.needs))
    ]
    parts = [[row] for row in wanted] if form in ALONE else [wanted]

    def run_part(part: list[rows.Row]) -> programs.Report:
        return programs.run(part, form, POOLS[pool], env=environment(), limit=LIMIT)

    with ThreadPoolExecutor(os.process_cpu_count()) as side_by_side:
        reports = list(side_by_side.map(run_part, parts))
    outcomes = {name: one for report in reports for name, one in report.outcomes.items()}
    return {name: [one.saw[:300], one.right] for name, one in outcomes.items()}


def score(outcomes: dict[str, list[Any]]) -> str:
    return f"{sum(right for _, right in outcomes.values())} of {len(outcomes)}"


def show(console: Console, found: Found, labels: dict[str, str]) -> None:
    shown = Shown(title="What arrives: rows right", title_justify="left", title_style="bold")
    for text in ("", *FORMS.values()):
        shown.add_column(text)
    for pool, forms in found.items():
        shown.add_row(labels[pool], *(score(outcomes) for outcomes in forms.values()))
    console.print(shown)


def wrong(found: Found) -> list[str]:
    """Give what subpool itself got wrong."""
    return [
        f"subpool, {form}: {name}: {saw}"
        for form, outcomes in found.get("subpool", {}).items()
        for name, (saw, right) in outcomes.items()
        if not right
    ]


def markdown(found: Found, labels: dict[str, str]) -> str:
    lines = ["### Scores", "", *_grid(["", *FORMS.values()])]
    lines += [
        _line([labels[pool], *(score(outcomes) for outcomes in forms.values())])
        for pool, forms in found.items()
    ]
    for chapter, chosen in rows.table().items():
        lines += ["", f"### {chapter}", "", *_grid(["", *(labels[pool] for pool in found)])]
        for row in chosen:
            cells = [_cell(forms["guarded"].get(row.what)) for forms in found.values()]
            what = re.sub(r"([*_])", r"\\\1", row.what + (" (*)" if row.own else ""))
            lines.append(_line([what, *cells]))
    return "\n".join([*lines, ""])


def _grid(head: list[str]) -> list[str]:
    return [_line(head), _line(["---"] * len(head))]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(outcome: list[Any] | None) -> str:
    """Say it in a word: right, or how it failed."""
    if outcome is None:
        return "\N{EN DASH}"
    saw, right = outcome
    if right:
        return "yes"
    for pattern, text in (
        (r"(hung)", "hangs"),
        (r"died of (\w+)", "crashes: {}"),
        (r"(exit status \d+)", "{}"),
        (r"(\w+): ", "`{}`"),
    ):
        if found := re.match(pattern, saw):
            return text.format(found[1])
    return "not that"
