"""Measure every file of Python's standard library, five ways, and compare.

Parses each `.py` file below the standard library (over 1,500 with its test package),
computes the metrics of `metrics.py`, and prints the ten most complex functions.  The same
work is done one file after another, on threads, in the standard library's interpreters, in
processes and in subpool's interpreters; the results must be equal, the times are a table.

    python examples/stdlib_metrics.py [--limit N] [--workers N] [--ways NAME ...] [--root DIR]

Every way is given the same files in the same order, one file per task, and its time runs
from before its pool is made until after it is shut down.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import platform
import sysconfig
import time
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from metrics import FileMetrics, analyse, rank
from subpool import InterpreterThreadPoolExecutor, interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    from concurrent.futures import InterpreterPoolExecutor
except ImportError:  # Python 3.13 has subinterpreters, but no executor over them
    InterpreterPoolExecutor = None  # type: ignore[assignment, misc]

# Installed packages may live below the standard library; they are not part of it.
NOT_STDLIB = {"site-packages", "dist-packages"}
MOST_COMPLEX = 10


def in_sequence(paths: list[str], _workers: int) -> Iterator[FileMetrics]:
    """Do the work here, one file after another."""
    yield from map(analyse, paths)


def on_threads(paths: list[str], workers: int) -> Iterator[FileMetrics]:
    """Do the work on threads that share one GIL."""
    yield from on(ThreadPoolExecutor(workers), analyse, paths)


def on_interpreters(paths: list[str], workers: int) -> Iterator[FileMetrics]:
    """Do the work in the standard library's pool of interpreters."""
    yield from on(InterpreterPoolExecutor(workers), analyse, paths)


def on_processes(paths: list[str], workers: int) -> Iterator[FileMetrics]:
    """Do the work in processes."""
    # Never "fork": the progress bar has a thread, and a child forked beside threads can hang.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    yield from on(ProcessPoolExecutor(workers, context), analyse, paths)


def on_subpool(paths: list[str], workers: int) -> Iterator[FileMetrics]:
    """Do the work in subpool's interpreters."""
    executor = InterpreterThreadPoolExecutor(max_interpreters=workers)
    yield from on(executor, interpreter(analyse), paths)


def on(
    executor: Executor, task: Callable[[str], FileMetrics], paths: list[str]
) -> Iterator[FileMetrics]:
    """Yield the results in the order of `paths`, then shut the executor down."""
    with executor:
        yield from executor.map(task, paths)


class Way(NamedTuple):
    """One way to run the work: its name in the tables, and how."""

    label: str
    run: Callable[[list[str], int], Iterator[FileMetrics]]


WAYS = {
    "sequential": Way("sequential", in_sequence),
    "threads": Way("ThreadPoolExecutor", on_threads),
    "interpreters": Way("InterpreterPoolExecutor (stdlib)", on_interpreters),
    "processes": Way("ProcessPoolExecutor", on_processes),
    "subpool": Way("subpool.InterpreterThreadPoolExecutor", on_subpool),
}


def main() -> int:
    """Run all ways, print what was found, and return 1 if they disagree."""
    options = parse_arguments()
    console = Console()
    paths = source_files(options.root)[: options.limit]
    if not paths:
        console.print(f"no Python files below {options.root}")
        return 1
    size = read_all(paths)
    console.print(
        f"[bold]{len(paths):,} Python files[/], {size / 1e6:.1f} MB, below {options.root}\n"
        f"Python {platform.python_version()}, {options.workers} workers, {os.cpu_count()} CPUs",
        soft_wrap=True,
    )

    results: dict[str, list[FileMetrics]] = {}
    seconds: dict[str, float] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        for name in options.ways:
            way = WAYS[name]
            if name == "interpreters" and InterpreterPoolExecutor is None:
                progress.console.print(f"{way.label}: skipped, it came with Python 3.14")
                continue
            bar = progress.add_task(way.label, total=len(paths))
            found = []
            start = time.perf_counter()
            for metrics in way.run(paths, options.workers):
                found.append(metrics)
                progress.advance(bar)
            seconds[name] = time.perf_counter() - start
            results[name] = found

    reference = results["sequential"]
    show_metrics(console, reference, options.root)
    show_times(console, seconds)
    different = {
        name: sum(a != b for a, b in zip(reference, found, strict=True))
        for name, found in results.items()
        if found != reference
    }
    for name, count in different.items():
        console.print(f"[bold red]{WAYS[name].label}: {count} files differ from sequential[/]")
    if not different:
        console.print(f"The results of all {len(results)} runs are equal.")
    return 1 if different else 0


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N files")
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        default=os.process_cpu_count() or 1,
        help="workers of each pool (default: the CPUs this process may use, %(default)s)",
    )
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=WAYS,
        default=list(WAYS),
        metavar="NAME",
        help=f"which ways to run, of: {', '.join(WAYS)}; the sequential one always runs",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        default=Path(sysconfig.get_path("stdlib")),
        help="measure the Python files below DIR instead",
    )
    options = parser.parse_args()
    # The sequential run comes first and always: it is what the others are compared with.
    options.ways = list(dict.fromkeys(["sequential", *options.ways]))
    return options


def positive(text: str) -> int:
    """Convert an argument that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def source_files(root: Path) -> list[str]:
    """List the Python files below `root`, sorted; links that lead nowhere are left out."""
    return [
        str(path)
        for path in sorted(root.rglob("*.py"))
        if path.is_file() and NOT_STDLIB.isdisjoint(path.relative_to(root).parts)
    ]


def read_all(paths: list[str]) -> int:
    """Read each file once, so that the first way timed finds them cached like the others."""
    return sum(len(Path(path).read_bytes()) for path in paths)


def show_metrics(console: Console, results: list[FileMetrics], root: Path) -> None:
    """Print the totals and the most complex functions."""
    functions = sum(file.functions for file in results)
    complexity = sum(file.complexity for file in results)
    console.print(
        f"{sum(file.lines for file in results):,} lines, "
        f"{sum(file.code_lines for file in results):,} of them code; "
        f"{sum(file.classes for file in results):,} classes; {functions:,} functions of a mean "
        f"cyclomatic complexity of {complexity / max(functions, 1):.2f}"
    )
    reasons = Counter(file.skipped for file in results if file.skipped)
    if reasons:
        listed = ", ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
        console.print(f"{reasons.total()} files could not be parsed ({listed}); they count as zero")

    table = Table(title=f"The {MOST_COMPLEX} most complex functions")
    table.add_column("complexity", justify="right")
    table.add_column("function", overflow="fold")
    table.add_column("where", overflow="fold")
    everywhere = (function for file in results for function in file.worst)
    for function in heapq.nsmallest(MOST_COMPLEX, everywhere, key=rank):
        where = f"{Path(function.path).relative_to(root)}:{function.line}"
        table.add_row(str(function.complexity), function.name, where)
    console.print(table)


def show_times(console: Console, seconds: dict[str, float]) -> None:
    """Print the table of times."""
    table = Table(title="Seconds, with the pool's start and shutdown")
    table.add_column("way", overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("speed-up", justify="right")
    for name, elapsed in seconds.items():
        speed_up = seconds["sequential"] / elapsed
        style = "bold" if name == "subpool" else None
        table.add_row(WAYS[name].label, f"{elapsed:.2f}", f"{speed_up:.2f}\u00d7", style=style)
    console.print(table)


if __name__ == "__main__":  # worker processes import this file again
    raise SystemExit(main())
