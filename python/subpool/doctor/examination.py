"""Examine one target: run child processes, and conclude from how far they got."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subpool._advice import advice_for
from subpool._incompatible import distribution
from subpool.doctor.targets import normalized
from subpool.doctor.uses import FIRST, USES

if TYPE_CHECKING:
    from subpool.doctor.targets import Target

WORKS = "works"
PURE = "works in pure Python only"
REFUSES = "refuses"
FAILS = "fails"
CRASHES = "crashes"
HANGS = "hangs"
ABSENT = "not installed"
UNKNOWN = "cannot tell"
GOOD = frozenset({WORKS, PURE})

_MOST_WORDS = 2000

# Of this process, whose main thread may be told to stop; never started again then.
_children: set[subprocess.Popen[bytes]] = set()
_stopped = threading.Event()


class StoppedError(Exception):
    """Nobody waits for the finding any more."""


@dataclass
class Finding:
    """What became of one target.

    Attributes:
        extensions: The extension modules that were refused, each with its distribution.
        detail: In which step, and with what words.
        beside: It happened only beside a copy that the main interpreter had loaded before.
        traceback: The end of the traceback, or of what the dying process wrote.

    """

    name: str
    version: str
    verdict: str
    detail: str = ""
    extensions: list[dict[str, str | None]] = field(default_factory=list)
    beside: bool = False
    todo: str = ""
    modules: list[str] = field(default_factory=list)
    traceback: str = ""
    seconds: float = 0.0


@dataclass
class _Run:
    """How one child process ended, and what it had said by then."""

    stages: dict[str, dict[str, Any]]
    code: int | None
    words: str

    @property
    def ended_well(self) -> bool:
        return self.code == 0 and "closed" in self.stages

    def failed_in(self, stage: str) -> dict[str, Any] | None:
        found = self.stages.get(stage)
        return found if found and found["error"] else None


def examine(target: Target, timeout: float) -> Finding:
    """Tell how a target does in an interpreter with its own GIL."""
    began = time.monotonic()
    finding = Finding(target.name, target.version, WORKS, modules=list(target.modules))
    if not target.installed:
        finding.verdict = ABSENT
    elif not target.modules:
        finding.detail = "has no modules"
    else:
        _conclude(finding, target, timeout)
    general = general_advice(finding.verdict, finding.name)
    finding.todo = f"{general} {special_advice(finding)}".strip()
    finding.seconds = round(time.monotonic() - began, 3)
    return finding


def _conclude(finding: Finding, target: Target, timeout: float) -> None:
    alone = _run(target, timeout, main=False)
    if _judge(finding, alone, timeout):
        if finding.verdict == REFUSES:
            return  # it loads in no interpreter, whatever main has loaded
        elsewhere = _run(target, timeout, main=True, interpreter=False)
        broken = elsewhere.failed_in("main")
        if broken or not elsewhere.ended_well:
            finding.verdict = UNKNOWN
            finding.detail = f"fails in the main interpreter as well: {_why(broken, elsewhere)}"
            finding.traceback = broken["error"][2] if broken else elsewhere.words
        return
    beside = _run(target, timeout, main=True)
    broken = beside.failed_in("main")
    if broken:
        finding.verdict = UNKNOWN
        finding.detail = f"works in an interpreter, but not in main: {_why(broken, beside)}"
        finding.traceback = broken["error"][2]
        return
    if _judge(finding, beside, timeout):
        finding.beside = True
        return
    _look_for_parts(finding, target, [alone.stages["interpreter"], beside.stages["interpreter"]])


def _judge(finding: Finding, run: _Run, timeout: float) -> bool:
    """Note what went wrong in a run, if anything did."""
    broken = run.failed_in("interpreter")
    if broken:
        refusal = broken["refusal"]
        finding.verdict = REFUSES if refusal else FAILS
        finding.detail = _why(broken, run)
        finding.traceback = broken["error"][2]
        if refusal:
            finding.extensions = [_extension(*refusal[:3])]
    elif run.ended_well:
        return False
    elif "start" not in run.stages and "main" not in run.stages:
        finding.verdict = UNKNOWN
        finding.detail = "the interpreter did not start"
        finding.traceback = run.words
    else:
        finding.verdict = HANGS if run.code is None else CRASHES
        step = "when its interpreter is closed" if "interpreter" in run.stages else "when it loads"
        finding.detail = f"{step}: {_end(run, timeout)}"
        finding.traceback = run.words
    return True


def _why(broken: dict[str, Any] | None, run: _Run) -> str:
    if broken is None:
        return _end(run, None)
    kind, text, _ = broken["error"]
    return f"{broken['stage']}: {kind}: {text.strip().partition('\n')[0]}".rstrip(": ")


def _end(run: _Run, timeout: float | None) -> str:
    if run.code is None:
        return "did not end" if timeout is None else f"did not end in {timeout:g} s"
    if run.code < 0:
        try:
            return signal.Signals(-run.code).name
        except ValueError:
            return f"signal {-run.code}"
    return f"exit code {run.code}"


def _look_for_parts(finding: Finding, target: Target, runs: list[dict[str, Any]]) -> None:
    """See what the library went on without: parts of its own, or other libraries."""
    name = normalized(target.name)
    # psycopg's compiled part comes as psycopg-binary.
    own = {name, *(other for other in target.requires if name in other)}
    for refused in (entry for run in runs for entry in run["refused"]):
        extension = _extension(*refused)
        top = str(extension["name"]).partition(".")[0]
        if extension in finding.extensions or top in sys.stdlib_module_names:
            continue
        finding.extensions.append(extension)
        owner = extension["distribution"]
        if owner is not None and normalized(owner) in own:
            finding.verdict = PURE
    if finding.extensions:
        names = ", ".join(str(extension["name"]) for extension in finding.extensions)
        finding.detail = f"goes on without {names}"


def _extension(name: str, path: str | None, _text: str) -> dict[str, str | None]:
    owner, version = distribution(name, path) or (None, None)
    return {"name": name, "path": path, "distribution": owner, "version": version}


def _run(target: Target, timeout: float, *, main: bool, interpreter: bool = True) -> _Run:
    key = normalized(target.name)
    use = USES.get(key, "")
    modules = [*([FIRST[key]] if key in FIRST else []), *target.modules]
    job = {
        "main": main,
        "interpreter": interpreter,
        "path": [str(Path(folder).absolute()) for folder in sys.path],
        "modules": modules,
        "use": use,
        # A use shows more than the loading of parts that users may never need.
        "parts": [] if use else [*target.users, *target.extensions],
    }
    command = [sys.executable, "-P", "-X", "faulthandler", "-m", "subpool.doctor.child"]
    code: int | None
    # Files, not pipes: nobody reads while the child writes, and what it started may live on.
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as report:
        child = subprocess.Popen(  # noqa: S603 - ourselves
            [*command, json.dumps(job), str(report.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            pass_fds=[report.fileno()],
        )
        _children.add(child)
        try:
            if _stopped.is_set():
                raise StoppedError
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            code = None
        finally:
            child.kill()  # unless it has ended
            _children.discard(child)
        report.seek(0)
        lines = report.read().splitlines()
        words.seek(0)
        said = _end_of(words.read().decode(errors="replace"))
    return _Run({entry["at"]: entry for entry in map(json.loads, lines)}, code, said)


def stop() -> None:
    """End all child processes, and start no more: nobody waits for what they find."""
    _stopped.set()
    for child in list(_children):
        child.kill()


def _end_of(words: str) -> str:
    """Give what matters of a process's last words: faulthandler's report, if there is one."""
    _, fatal, report = words.rpartition("Fatal Python error:")
    return (fatal + report)[:_MOST_WORDS] if fatal else words[-_MOST_WORDS:]


def general_advice(verdict: str, name: str) -> str:
    """Say what to do about libraries with a verdict; `name` stands for them in the text."""
    texts = {
        PURE: (
            f"Use {name} as ever. What lacks its compiled part is slower: where that matters, "
            f"call {name} outside of interpreters."
        ),
        REFUSES: (
            f'Run tasks that use {name} with fallback="process" or fallback="thread", on the '
            f"tag or the executor."
        ),
        FAILS: f"Call {name} outside of tasks, or in functions that are not tagged.",
        ABSENT: f"Install {name} in this environment: {sys.executable} -m pip install ...",
        UNKNOWN: f"Repair the import of {name} in an ordinary Python process first.",
    }
    texts[CRASHES] = texts[HANGS] = (
        f"Keep {name} out of interpreters, or the whole program ends or stands still: use "
        f"threads or a ProcessPoolExecutor, and tell the authors."
    )
    return texts.get(verdict, "")


def special_advice(finding: Finding) -> str:
    """Say what can be used in the place of what was refused, if that is known."""
    if finding.verdict not in {REFUSES, PURE}:
        return ""
    first = finding.extensions[0]
    return advice_for(first["distribution"] or str(first["name"]))
