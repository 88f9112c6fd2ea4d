"""Programs made of rows, in each form that a program can have, and how each is run.

A program runs its rows one after another in one process and notes what each gave
(table_harness.py).  One that hangs or dies costs the row it was at: another one is started behind
it.  Guarantees: every row of `run` has an outcome, and no process that it started is left.
"""

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUBPOOL = "from subpool import InterpreterPoolExecutor as Pool, interpreter as tag"
# Seconds without any progress after which a program counts as hung.
LIMIT = 30.0


@dataclass
class Outcome:
    """What came of one row."""

    saw: str
    right: bool


@dataclass
class Report:
    """What came of all rows of one form, and of the programs that ran them."""

    outcomes: dict[str, Outcome]
    # How each program ended, if not well: signals, exit statuses, what it said at last.
    faults: list[str]
    # All that they wrote.
    output: str = ""


def run(rows, form, pool=SUBPOOL, *, env=None, limit=LIMIT):
    """Run these rows as one program, or as several if one does not get to its end."""
    report = Report({}, [])
    left = list(rows)
    while left:
        with tempfile.TemporaryDirectory(prefix="table-", ignore_cleanup_errors=True) as folder:
            notes, fault, output = _run_once(
                left, form, pool, folder=Path(folder), env=env, limit=limit
            )
        saw = {note["row"]: note["saw"] for note in notes if "row" in note}
        begun = [note["begun"] for note in notes if "begun" in note]
        if fault and left[0].what not in begun:  # it never got as far as a row
            begun.append(left[0].what)
        if not begun:
            fault = fault or "ended before its first row"
            begun.append(left[0].what)
        for row in left[: len(begun)]:
            text = saw.get(row.what, fault)
            printed = row.printed in output if row.what in saw else True
            shown = text if printed else f"{text}, and printed otherwise: {output[-500:]!r}"
            report.outcomes[row.what] = Outcome(shown, row.right(text) and printed)
        left = left[len(begun) :]
        report.output += output
        if fault:
            report.faults.append(fault)
    return report


def _run_once(rows, form, pool, *, folder, env, limit):
    """Give what the program noted, what was wrong with its end, and what it wrote."""
    notes, output = folder / "notes", folder / "output"
    notes.touch()
    work = folder / "work"
    work.mkdir()
    command, given = _command(rows, form, pool, str(notes), work)
    env = dict(env or os.environ)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), env.get("PYTHONPATH")]))
    with output.open("wb") as log, Path(given or os.devnull).open("rb") as stdin:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=work,
            env=env,
            start_new_session=True,  # so that all it started can be ended with it
        )
        status = _wait(process, notes, limit)
    text = output.read_text(errors="replace").replace("\r\n", "\n")
    lines = [json.loads(line) for line in notes.read_text().splitlines()]
    fault = ""
    if status is None:
        fault = "hung"
    elif status < 0:
        fault = f"died of {signal.Signals(-status).name}"
    elif status or not any("ended" in line for line in lines):
        fault = f"exit status {status}"
    if fault:
        fault = f"{fault}; it said: {text[-2000:].strip()}"
    return lines, fault, text


def _wait(process, notes, limit):
    """Wait as long as there is progress; give the exit status, or None if it hung."""
    size = 0
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(limit)
            before, size = size, notes.stat().st_size
            if size == before:
                return None
    finally:
        # Also what outlived the program: a kernel, a fork server.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _command(rows, form, pool, notes, work):
    """Write the program down; give its command, and the file that it reads as its input."""
    file = work / "program.py"
    match form:
        case "guarded":
            file.write_text(guarded(rows, pool, notes))
            return [sys.executable, str(file)], None
        case "bare":
            file.write_text(bare(rows, pool, notes))
            return [sys.executable, str(file)], None
        case "-c":
            return [sys.executable, "-c", bare(rows, pool, notes)], None
        case "-m":
            package = work / "tablepackage"
            package.mkdir()
            (package / "__init__.py").touch()
            (package / "inside.py").write_text(bare(rows, pool, notes))
            return [sys.executable, "-m", "tablepackage.inside"], None
        case "-i":
            file.write_text(typed("\n".join(cells(rows, pool, notes))))
            return [sys.executable, "-i", "-q", "-"], str(file)
        case "terminal" | "notebook":
            file.write_text(json.dumps(cells(rows, pool, notes)))
            return [sys.executable, str(HERE / f"run_{form}.py"), str(file)], None
    raise ValueError(form)


def opening(pool, notes):
    return f"{pool}\nfrom table_harness import Table\n", (
        f"table = Table({notes!r}, Pool)\npool, make = table.pool, table.make\n"
    )


def calling(row):
    """Give the row's call as a function, and the statement that runs it."""
    body = ast.parse(row.call).body
    body[-1] = ast.Return(body[-1].value)
    lines = "\n".join(map(ast.unparse, body))
    return (
        f"def table_call():\n{textwrap.indent(lines, '    ')}\n"
        f"pool = table.row({row.what!r}, table_call)\n"
    )


def cells(rows, pool, notes):
    """What is entered one after another: at a prompt, or in a notebook."""
    texts = ["".join(opening(pool, notes))]
    texts += [row.setup + calling(row) for row in rows]
    return [*texts, "table.end()\n"]


def bare(rows, pool, notes):
    """Give a program without a guard: it starts anew wherever it is imported."""
    return "\n".join(cells(rows, pool, notes))


def guarded(rows, pool, notes):
    """Give a program of which only the definitions are run when it is imported."""
    imports, start = opening(pool, notes)
    parts = [imports, _guard(start)]
    for row in rows:
        parts += [row.setup, _guard(calling(row))]
    return "\n".join([*parts, _guard("table.end()\n")])


def _guard(text):
    return 'if __name__ == "__main__":\n' + textwrap.indent(text, "    ")


def typed(text):
    """Give a program as one types it: no empty line within a statement, one after each block."""
    lines = text.splitlines()
    typed = []
    for node in ast.parse(text).body:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        typed += [line for line in lines[first - 1 : node.end_lineno] if line.strip()]
        if hasattr(node, "body"):
            typed.append("")
    return "\n".join([*typed, ""])
