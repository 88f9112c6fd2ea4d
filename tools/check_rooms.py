#!/usr/bin/env python3
"""Checks the rules of the rooms (docs/design.md): who may use pyo3, what comments owe, file sizes.

Prints each breach as `file:line: what` and exits with 1 if there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# `pyo3` proper; `pyo3::ffi` is for everybody outside of core, and only through ffi.rs.
PYO3_ROOMS = {
    "lib.rs", "dispatch.rs", "map.rs", "executor.rs", "future.rs", "completer.rs", "error.rs",
    "encode.rs", "bridge.rs", "capture.rs", "errand.rs", "environ.rs", "output.rs", "streams.rs",
    "once.rs", "sharing.rs", "submit.rs", "line.rs", "ending.rs", "at_fork.rs",
}  # fmt: skip
LONGEST = 500

# A room may use those left of it: core ← ffi ← interp ← transfer ← task ← ... ← lib.
ORDER = (
    "core", "once", "ffi", "interp", "transfer", "task", "batch", "warden", "desk", "again",
    "on_import", "worker_api", "farewell", "worker", "pool", "error", "streams", "environ",
    "output", "completer", "encode", "sharing", "capture", "errand", "future", "bridge",
    "executor", "map", "dispatch", "lib",
)  # fmt: skip
# Two halves of one thing: the loop knows its pool, the pool starts loops; a job may be a task that
# moves from desk to desk, and that is a task of a job.
PEERS = {frozenset({"worker", "pool"}), frozenset({"again", "batch"})}


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
    if here not in ORDER:
        return [f"1: {here} has no place in ORDER (tools/check_rooms.py)"]
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


ORDERING = re.compile(r"\b(relaxed|acquire|release|acqrel|seqcst)\b", re.IGNORECASE)
ITEM = re.compile(r"\s*(pub(\(\w+\))? )?((const|unsafe|extern \"C\") )*(fn|static|impl)\b")


def says_ordering(line: str) -> bool:
    return bool(ORDERING.search(line.partition("//")[2]))


def check_orderings(lines: list[str]) -> list[str]:
    """Each atomic access has a comment on its ordering in its function, or above that.

    "Relaxed, here and below" (or "everywhere") counts for all relaxed accesses that follow.
    """
    problems = []
    all_relaxed = False
    for number, line in enumerate(lines, 1):
        if re.search(r"\brelaxed\b.*\b(here and below|everywhere)\b", line, re.IGNORECASE):
            all_relaxed = True
        used = set(re.findall(r"\bOrdering::(\w+)", code(line)))
        if not used or (all_relaxed and used == {"Relaxed"}):
            continue
        index, said = number - 1, False
        while index >= 0 and not said and not ITEM.match(lines[index]):
            said = says_ordering(lines[index])
            index -= 1
        while index > 0 and not said and lines[index - 1].strip().startswith(("//", "#[")):
            index -= 1
            said = says_ordering(lines[index])
        if not said:
            problems.append(f"{number}: an ordering without a word on its partner")
    return problems


def check_names(lines: list[str], files: set[str]) -> list[str]:
    """Files that a comment names are there: the reason for a SAFETY line is often elsewhere."""
    problems = []
    for number, line in enumerate(lines, 1):
        named = re.findall(r"(?<![\w./])(\w+\.(?:rs|py|md))\b", line.partition("//")[2])
        problems += [f"{number}: there is no {name}" for name in named if name not in files]
    return problems


def main() -> int:
    problems = []
    files = {path.name for path in tracked("*.rs", "*.py", "*.md")}
    for path in tracked("src/*.rs", "src/**/*.rs"):
        lines = path.read_text().splitlines()
        # Tests at a file's end may use what they like.
        tests = (
            index
            for index, (line, following) in enumerate(pairwise(lines))
            if re.match(r"#\[cfg\(.*\btest\b", line) and following.endswith("{")
        )
        body = lines[: next(tests, len(lines))]
        found = check_pyo3(path, body) + check_order(path, body) + check_safety(body)
        found += check_names(lines, files)
        if "models" not in path.parts and path.stem != "models":
            found += check_orderings(body)
        problems += [f"{path.relative_to(ROOT)}:{problem}" for problem in found]
    for path in tracked("*.rs", "*.py", "*.pyi"):
        count = len(path.read_text().splitlines())
        if count > LONGEST:
            problems.append(f"{path.relative_to(ROOT)}:{count}: longer than {LONGEST} lines")
    print("\n".join(problems) or "rooms: all in order")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
