"""Measure subpool and every other pool in one run, as ratios.

    python bench/bench.py [--quick] [--cases A,B] [--peers A,B] [--json FILE] [--plot FILE] [--docs]
    python bench/bench.py --from FILE [--plot FILE] [--docs]     the tables of an earlier run

A missed target is said, and is no failure: times depend on the machine, so the exit status says
only that the run came to its end.  It is 1 when a pool gave a wrong result.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

import cases
import compatibility
import peers
from machine import describe, machine
from plot import svg
from report import as_json, heading, markdown, replaced, show
from results import Results
from schedule import SOURCE, Samples, run_round
from targets import targets

ROOT = Path(__file__).resolve().parent.parent
PAGE, PLOT = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.svg"
ARRIVED = ROOT / "docs" / "compatibility.md"


def main() -> int:
    if find_spec("subpool") is None:
        sys.path.append(SOURCE)
    options = parse_arguments()
    # As Ctrl-C does: through the code that ends the process which is measuring.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Wide enough for the tables where the output goes to a file.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
    results = read(options.from_) if options.from_ else measured(options, console)
    judged = targets(results)
    labels = {peer.key: peer.label for peer in results.peers}
    if results.samples.outcomes:
        show(console, results, judged)
    if results.arrived:
        compatibility.show(console, results.arrived, labels)
    if options.json:
        options.json.write_text(json.dumps(as_json(results, judged), indent=1) + "\n")
    if options.plot:
        options.plot.write_text(svg(results))
    if options.markdown:
        print(markdown(results, judged))
    if options.docs and results.arrived:
        text = f"{describe(results.where)}.\n\n{compatibility.markdown(results.arrived, labels)}"
        ARRIVED.write_text(replaced(ARRIVED.read_text(), text))
    if options.docs and results.samples.outcomes:
        page = replaced(PAGE.read_text(), markdown(results, judged, PLOT.name))
        PLOT.write_text(svg(results))
        PAGE.write_text(page)
    wrong = wrong_results(results) + compatibility.wrong(results.arrived or {})
    for text in wrong:
        console.print(f"WRONG RESULT: {text}", style="bold red")
    return 1 if wrong else 0


def measured(options: argparse.Namespace, console: Console) -> Results:
    settings = cases.quick(options.workers) if options.quick else cases.Settings(options.workers)
    if options.limit:
        settings = dataclasses.replace(settings, limit=options.limit)
    rounds = options.rounds or (1 if options.quick else 5)
    present = [peer for peer in options.peers if not peer.missing()]
    absent = [peer for peer in options.peers if peer.missing()]
    if not present:
        sys.exit(f"not installed: {', '.join(peer.label for peer in absent)}")
    samples = Samples()
    results = Results(machine(), settings, rounds, options.cases, present, absent, samples)
    console.print(heading(results))
    for case in options.cases:
        if case.once:
            results = dataclasses.replace(results, arrived=arrived(case, present, console))
    if options.quick:
        console.print("Quick: small sizes, rough figures.")

    in_rounds = [case for case in options.cases if not case.once]
    for number in range(rounds if in_rounds else 0):
        start = time.perf_counter()
        due = [case for case in in_rounds if not case.heavy or number % 2 == 0]
        for case in run_round(number, due, present, settings, samples):
            if console.is_terminal:
                console.print(f"round {number + 1} of {rounds}: {case}\N{ESCAPE}[K", end="\r")
        elapsed = time.perf_counter() - start
        console.print(f"round {number + 1} of {rounds}: {elapsed:.0f} s" + " " * 20)
    return results


def arrived(case: cases.Case, present: list[peers.Peer], console: Console) -> dict[str, Any]:
    """Run the table on the pools that it is about."""
    start = time.perf_counter()
    found: dict[str, Any] = {}
    for part, found in compatibility.run([one.key for one in present if one.key in case.peers]):  # noqa: B007
        if part and console.is_terminal:
            console.print(f"{case.key}: {part}\N{ESCAPE}[K", end="\r")
    console.print(f"{case.key}: {time.perf_counter() - start:.0f} s" + " " * 20)
    return found


def read(path: Path) -> Results:
    """Take an earlier run from its JSON file."""
    data = json.loads(path.read_text())
    settings = cases.Settings(**{**data["settings"], "sizes": tuple(data["settings"]["sizes"])})
    return Results(
        data["machine"],
        settings,
        data["rounds"],
        [case for case in cases.CASES if case.key in data["cases"]],
        [peers.BY_KEY[key] for key in data["peers"]],
        [peers.BY_KEY[key] for key in data["absent"]],
        Samples.from_json(data["samples"]),
        data.get("table"),
    )


def wrong_results(results: Results) -> list[str]:
    return [
        f"{peer}, {name}"
        for name, found in results.samples.outcomes.items()
        for peer, outcomes in found.items()
        if any(outcome.missing == "WRONG RESULT" for outcome in outcomes)
    ]


def parse_arguments() -> argparse.Namespace:
    all_cases = {case.key: case for case in cases.CASES}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="about a minute, one round, rough figures")
    add("--rounds", type=positive, metavar="N", help="default: 5, or 1 if quick")
    add("--workers", type=positive, metavar="N", default=2, help="of each pool (default: 2)")
    add(
        "--cases",
        type=lambda text: chosen(text, all_cases),
        metavar="A,B",
        help=f"of: {', '.join(all_cases)}; default: all, or all but the table if quick",
    )
    add(
        "--peers",
        type=lambda text: chosen(text, peers.BY_KEY),
        default=list(peers.PEERS),
        metavar="A,B",
        help=f"of: {', '.join(peers.BY_KEY)}; ratios refer to the first",
    )
    add("--limit", type=float, metavar="SECONDS", help="that one pool may take for one case")
    add("--json", type=Path, metavar="FILE", help="write all samples there")
    add("--plot", type=Path, metavar="FILE", help="draw the results there, as SVG")
    add("--markdown", action="store_true", help="print the tables as Markdown too")
    add("--docs", action="store_true", help=f"write them into {PAGE.relative_to(ROOT)}, with plot")
    add("--from", dest="from_", type=Path, metavar="FILE", help="measure nothing: show this JSON")
    options = parser.parse_args()
    if options.cases is None:  # the table takes minutes
        options.cases = [case for case in cases.CASES if not (options.quick and case.once)]
    return options


def chosen[T](text: str, known: dict[str, T]) -> list[T]:
    """Take those named, in the order of the program, which is that of the tables."""
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return [value for key, value in known.items() if key in names]


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


if __name__ == "__main__":
    sys.exit(main())
