"""What goes wrong around a pool, and what each pool does then: `make faults`.

Each fault of fault_programs.py is a program in a process of its own, with a limit to its time. It
is right if it says so, ends within its time with the exit code that it must have, and prints
nothing on standard error; after a Ctrl-C, nothing but that KeyboardInterrupt.

    faults.py --docs             write docs/reliability/faults.md as well
    faults.py subpool --short    one pool, few rounds for the memory's faults, and no second that
                                 the end after a Ctrl-C may take: for the test
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

from fault_programs import FAULTS, Fault
from fault_tasks import told

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "reliability" / "faults.md"
POOLS = {
    "interpreters": "from untagged import Pool, tag",
    "aiointerpreters": "from tagging import Pool, tag",
    "subpool": "from subpool import InterpreterPoolExecutor as Pool\n\ndef tag(f):\n    return f",
}
LABELS = {
    "interpreters": "standard library",
    "aiointerpreters": "aiointerpreters",
    "subpool": "subpool",
}
PROGRAM = """\
import atexit, logging, os, sys, threading
from fault_tasks import *
{pool}

def ready():
    judge(True)
    threading._register_atexit(os.write, 2, b"ready\\n")

def main():
{body}

if __name__ == "__main__":
    main()
"""
# How often, shortly and as in the docs.
ROUNDS = {"CYCLES": (20, 1000), "RESTARTS": (10, 100)}
# What Ctrl-C may print: that exception, as Python tells of it in a hook.
KEYBOARD_INTERRUPT = re.compile(
    r"(Exception ignored on threading shutdown.*\n)?Traceback .*\n(?: .*\n)*KeyboardInterrupt:? ?\n"
)
SECOND = 1.0


class Outcome(NamedTuple):
    rc: int
    out: str
    err: str


class Found(NamedTuple):
    right: bool
    saw: str


def filled(text: str, short: bool) -> str:
    for name, rounds in ROUNDS.items():
        text = text.replace(name, str(rounds[not short]))
    return text


def run(fault: Fault, pool: str, short: bool) -> Found:
    """Run a fault's program on a pool."""
    body = indent(filled(fault.code, short), "    ")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "main.py"
        file.write_text(PROGRAM.format(pool=POOLS[pool], body=body))
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        paths = [str(HERE), *([] if find_spec("subpool") else [str(HERE.parent / "python")])]
        child = subprocess.Popen(
            [sys.executable, *fault.options, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=env | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        try:
            return watch(child, fault, short)
        finally:
            # With what it has started: that holds the pipes as well.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


def watch(child: subprocess.Popen[bytes], fault: Fault, short: bool) -> Found:
    took = 0.0
    # A test has time: it shares the machine.
    limit, second = (4 * fault.limit, 10 * SECOND) if short else (fault.limit, SECOND)
    if (pipe := child.stderr) and fault.interrupt and "ready()" in fault.code:
        before, deadline = b"", time.monotonic() + limit
        while not before.endswith(b"ready\n"):
            if not select.select([pipe], [], [], max(deadline - time.monotonic(), 0))[0]:
                return Found(right=False, saw="hangs before its end")
            byte = os.read(pipe.fileno(), 1)
            if not byte:
                break
            before += byte
        while not asleep(child):
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        begun = time.monotonic()
    try:
        out, err = (part.decode(errors="replace") for part in child.communicate(timeout=limit))
    except subprocess.TimeoutExpired as expired:
        said = (expired.stdout or b"").decode(errors="replace").strip()
        wrong = said.rpartition("wrong: ")[2] if "wrong: " in said else ""
        return Found(right=False, saw=f"{wrong}; hangs" if wrong else "hangs")
    if fault.interrupt and "ready()" in fault.code:
        took = time.monotonic() - begun
    return judged(fault, Outcome(child.returncode, out, err), took, second)


def asleep(child: subprocess.Popen[bytes]) -> bool:
    """Whether the main thread sleeps, or the program has ended."""
    status = Path(f"/proc/{child.pid}/task/{child.pid}/status").read_text()
    return child.poll() is not None or "\nState:\tS" in status


def judged(fault: Fault, ended: Outcome, took: float, second: float | None) -> Found:
    rc, out, err = ended
    lines = [line for line in out.splitlines() if line.startswith(("right", "wrong"))]
    left = KEYBOARD_INTERRUPT.sub("", err) if fault.interrupt else err
    last = left.strip().rpartition("\n")[2]
    if rc not in (0, fault.rc):
        saw = told(rc)
        if rc > 0 and last:
            saw = last
    elif not lines:
        saw = last or "nothing"
    elif lines[-1] != "right":
        saw = lines[-1].removeprefix("wrong: ")
    elif left:
        saw = f"prints: {last}"
    elif second is not None and took > second:
        saw = f"ends after {took:.1f} s"
    else:
        return Found(right=True, saw=f"right, after {took:.2f} s" if took else "right")
    return Found(right=False, saw=saw)


def table(found: dict[str, dict[str, Found]], short: bool) -> str:
    """Give the table as Markdown."""
    labels = [LABELS[pool] for pool in found]
    lines = [
        "| | what is right | " + " | ".join(labels) + " |",
        "|---|---|" + "---|" * len(labels),
    ]
    for fault in FAULTS:
        cells = [cell(found[pool][fault.what]) for pool in found]
        lines.append(" | ".join(["| " + filled(fault.what, short), fault.right, *cells]) + " |")
    right = [str(sum(one.right for one in column.values())) for column in found.values()]
    lines.append(f"| **right, of {len(FAULTS)}** | | " + " | ".join(right) + " |")
    return "\n".join(lines)


def cell(found: Found) -> str:
    text = re.sub(r"(/[\w.+-]+){2,}/", "", found.saw).replace("|", "\\|")
    text = re.sub(r"([*_<>\[\]`])", r"\\\1", text)
    return text[:160] if found.right else f"**{text[:160]}**"


def page(found: dict[str, dict[str, Found]], short: bool) -> str:
    peers = ", ".join(
        f"{name} {version(name)}" for name in ("subpool", "aiointerpreters") if name in found
    )
    seconds = f"{FAULTS[0].limit:.0f} seconds"
    system = f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"""\
# The fault list

What goes wrong around a pool of interpreters, and what three pools do then. Each fault is a
program of its own, in a process of its own, with a limit of {seconds} (more for those that
measure memory). It is right if it says so, ends in time with the exit code that it must have, and
prints nothing on standard error; after a Ctrl-C, nothing but Python's own word of the
`KeyboardInterrupt`. Bold is wrong.

Made by `make faults`; the programs are in `bench/fault_programs.py`.
{datetime.now(UTC):%d %B %Y}, {system}; {peers}.

{table(found, short)}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pools", nargs="*", choices=[[], *POOLS], default=[])
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--short", action="store_true", help="few rounds for the memory's faults")
    parser.add_argument("--docs", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    pools = options.pools or list(POOLS)
    chosen = [fault for fault in FAULTS if options.only in fault.what]
    found: dict[str, dict[str, Found]] = {pool: {} for pool in pools}
    with ThreadPoolExecutor(os.process_cpu_count()) as side_by_side:
        running = {
            (pool, fault.what): side_by_side.submit(run, fault, pool, options.short)
            for fault in chosen
            for pool in pools
        }
        for fault in chosen:
            print(f"{filled(fault.what, options.short)}  ({fault.right})")
            for pool in pools:
                one = found[pool][fault.what] = running[pool, fault.what].result()
                mark = "    " if one.right else "  ! "
                print(f"{mark}{LABELS[pool]:18}{one.saw[:100]}", flush=True)
    if options.docs:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(found, options.short))
    return int(not all(one.right for one in found.get("subpool", {}).values()))


if __name__ == "__main__":
    sys.exit(main())
