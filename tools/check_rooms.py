#!/usr/bin/env python3
"""Checks the rules of the rooms (docs/design.md): who may use pyo3, SAFETY lines, file sizes.

Prints each breach as `file:line: what` and exits with 1 if there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# `pyo3` proper; `pyo3::ffi` is for everybody outside of core, and only through ffi.rs.
PYO3_ROOMS = {
    "lib.rs", "dispatch.rs", "map.rs", "executor.rs", "future.rs", "completer.rs", "error.rs",
    "encode.rs", "bridge.rs", "capture.rs", "errand.rs", "environ.rs", "output.rs", "streams.rs",
    "submit.rs", "at_fork.rs",
}  # fmt: skip
LONGEST = 500

# A room may use those left of it: core ← ffi ← interp ← transfer ← task ← ... ← lib.
ORDER = (
    "core", "ffi", "interp", "transfer", "task", "batch", "warden", "desk", "on_import",
    "worker_api", "farewell", "worker", "pool", "error", "streams", "environ", "output",
    "completer", "encode", "capture", "errand", "future", "bridge", "executor", "map", "dispatch",
    "lib",
)  # fmt: skip
# Two halves of one thing: the loop knows its pool, the pool starts loops.
PEERS = {frozenset({"worker", "pool"})}


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [path for line in listing.splitlines() if (path := ROOT / line).exists()]


def room(path: Path) -> str:
    return path.relative_to(ROOT / "src").parts[0].removesuffix(".rs")


def code(line: str) -> str:
    """Strip a line of its comment (and so of documentation)."""
    return line.split("//", 1)[0]


def check_pyo3(path: Path, lines: list[str]) -> list[str]:
    if path.name in PYO3_ROOMS:
        return []
    allowed = r"pyo3(?!::ffi\b)" if path.name == "ffi.rs" else r"\bpyo3\b"
    return [
        f"{number}: pyo3 has no place in this room"
        for number, line in enumerate(lines, 1)
        if re.search(allowed, code(line))
    ]


def check_order(path: Path, lines: list[str]) -> list[str]:
    here = room(path)
    problems = []
    for number, line in enumerate(lines, 1):
        for used in re.findall(r"\bcrate::(\w+)", code(line)):
            if used not in ORDER:
                continue
            if ORDER.index(used) > ORDER.index(here) and frozenset({here, used}) not in PEERS:
                problems.append(f"{number}: {here} may not use {used}")
    return problems


def check_safety(lines: list[str]) -> list[str]:
    """Each `unsafe` block, impl and call site has a SAFETY comment right above its statement."""
    problems = []
    for number, line in enumerate(lines, 1):
        if not re.search(r"\bunsafe\s*(\{|impl\b)", code(line)):
            continue
        # Up over the statement the block stands in, then over the comment above it.
        index = number - 1
        while index > 0 and not lines[index - 1].strip().startswith("//"):
            index -= 1
            if re.search(r"[;{}]\s*$", code(lines[index])) and index < number - 1:
                break
        above = []
        while index > 0 and lines[index - 1].strip().startswith("//"):
            index -= 1
            above.append(lines[index])
        if not any("SAFETY:" in comment for comment in above):
            problems.append(f"{number}: unsafe without a SAFETY comment")
    return problems


def main() -> int:
    problems = []
    for path in tracked("src/*.rs", "src/**/*.rs"):
        lines = path.read_text().splitlines()
        # Tests at a file's end may use what they like.
        body = lines[: next((i for i, x in enumerate(lines) if x == "#[cfg(test)]"), len(lines))]
        found = check_pyo3(path, body) + check_order(path, body) + check_safety(body)
        problems += [f"{path.relative_to(ROOT)}:{problem}" for problem in found]
    for path in tracked("*.rs", "*.py", "*.pyi"):
        count = len(path.read_text().splitlines())
        if count > LONGEST:
            problems.append(f"{path.relative_to(ROOT)}:{count}: longer than {LONGEST} lines")
    print("\n".join(problems) or "rooms: all in order")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
