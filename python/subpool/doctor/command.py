"""The command line of ``subpool doctor``."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from subpool.doctor import report, targets
from subpool.doctor.examination import GOOD, examine, stop

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from subpool.doctor.examination import Finding
    from subpool.doctor.targets import Target

_USAGE = 2  # argparse's own exit code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.description = (
        "Tell which libraries work in an interpreter with its own GIL. Each is imported, and used "
        "a little, in a process of its own; without arguments, all that are installed here."
    )
    parser.epilog = (
        "Exit code: 0 if all work, also if in pure Python only; 1 if something does not; 2 if the "
        "command was used wrongly."
    )
    what = parser.add_argument_group("what to examine")
    what.add_argument("modules", nargs="*", help="distributions or modules, such as PyYAML or yaml")
    what.add_argument(
        "-r", "--requirements", type=Path, metavar="FILE", help="what a requirements file names"
    )
    what.add_argument(
        "--project", action="store_true", help="what the pyproject.toml of this folder depends on"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in the place of a table")
    parser.add_argument(
        "--timeout", type=_positive(float), default=60.0, metavar="SECONDS",
        help="for one process (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "-j", "--jobs", type=_positive(int), default=os.process_cpu_count() or 1, metavar="N",
        help="how many at a time (default: the CPUs)",
    )  # fmt: skip


def _positive(kind: type[int | float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise ValueError
        return value

    number.__name__ = "positive number"  # argparse shows it
    return number


def run(options: argparse.Namespace) -> int:
    """Examine what was asked for, show it, and give the exit code."""
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)  # for the user's own modules, behind all others
    try:
        wanted = _wanted(options)
    except targets.UsageError as error:
        print(f"subpool doctor: {error}", file=sys.stderr)  # noqa: T201 - a command
        return _USAGE
    findings = _examine(wanted, options.timeout, options.jobs)
    if options.json:
        print(report.as_json(findings))  # noqa: T201 - as above
    elif findings:
        report.show(findings)
    else:
        print("Nothing to examine.")  # noqa: T201 - as above
    return 0 if all(finding.verdict in GOOD for finding in findings) else 1


def _wanted(options: argparse.Namespace) -> list[Target]:
    wanted = targets.named(options.modules)
    if options.requirements is not None:
        wanted += targets.required_by(options.requirements)
    if options.project:
        wanted += targets.of_project(Path.cwd())
    if not (options.modules or options.requirements or options.project):
        wanted = targets.everything()
    return list({target.name: target for target in wanted}.values())


def _examine(wanted: list[Target], timeout: float, jobs: int) -> list[Finding]:
    """Examine several at a time; give the findings in the order of what was asked for."""
    with ThreadPoolExecutor(jobs) as executor:
        futures = [executor.submit(examine, target, timeout) for target in wanted]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                report.progress(done, len(futures), future.result().name)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
        return [future.result() for future in futures]
