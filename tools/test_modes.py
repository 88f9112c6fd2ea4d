#!/usr/bin/env python3
"""Runs the suite once in each mode that Python may be run in, and ends with a table.

    tools/test_modes.py 3.14 3.15                 all modes on both
    tools/test_modes.py 3.14 --mode dev -- -x     one mode, with words for pytest

Left out is tests/conformance: CPython's own tests, most of which are about the standard pools. What
a test starts in a child process it starts without the mode, as a user's program does
(`child_env` in tests/conftest.py); tests/modes is what starts children in each of them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Under some of them Python is several times slower.
PATIENT = ["--timeout", "900", "-o", "faulthandler_timeout=800"]

# What stands before `-m pytest`, what is added to the environment, what comes after.
MODES: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "tracemalloc": (["-X", "tracemalloc=3"], {}, []),
    "dev": (["-X", "dev"], {}, []),
    "error": (["-W", "error"], {}, []),
    "malloc": ([], {"PYTHONMALLOC": "debug"}, []),
    "faulthandler": (["-X", "faulthandler"], {}, ["-p", "no:faulthandler"]),
    "profile": ([], {}, ["-p", "profiled"]),
    "ctrace": (["-m", "coverage", "run", "--concurrency=thread"], {"COVERAGE_CORE": "ctrace"}, []),
    "sysmon": (["-m", "coverage", "run"], {"COVERAGE_CORE": "sysmon"}, []),
}


def run(version: str, mode: str, words: list[str]) -> tuple[int, str]:
    """Run the suite; give the exit status, and pytest's last line."""
    before, environment, after = MODES[mode]
    python = ROOT / f".venv-{version}" / "bin" / "python"
    folder = ROOT / "target" / "modes" / version
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **environment,
        "COVERAGE_FILE": str(folder / "coverage"),
        "PYTHONPATH": str(ROOT / "tests" / "modes"),  # the plug-in `profiled`
    }
    log = folder / f"{mode}.log"
    command = [
        str(python),
        *before,
        "-m",
        "pytest",
        "-q",
        *PATIENT,
        "--ignore",
        "tests/conformance",
    ]
    with log.open("w") as file:
        done = subprocess.run(
            [*command, *after, *words],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if re.search(r"\d+ (passed|failed)", line)), "")
    return done.returncode, told.strip("= ") or f"ended early: {log.relative_to(ROOT)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="+", metavar="X.Y")
    parser.add_argument("--mode", action="append", choices=MODES, help="all by default")
    parser.add_argument("words", nargs="*", help="for pytest, behind --")
    here = sys.argv[1:]
    split = here.index("--") if "--" in here else len(here)
    options = parser.parse_args(here[:split])
    rows, failed = [], False
    for version in options.versions:
        for mode in options.mode or MODES:
            begun = time.monotonic()
            status, told = run(version, mode, here[split + 1 :])
            failed |= status != 0
            rows.append((version, mode, "ok" if status == 0 else f"status {status}", told))
            print(*rows[-1], f"({time.monotonic() - begun:.0f} s)", flush=True)
    print("\n| Python | mode | | pytest |\n|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    return failed


if __name__ == "__main__":
    sys.exit(main())
