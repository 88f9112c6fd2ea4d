"""Runs programs that end, several at a time, and compares how they did with how they must."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import Outcome, asleep, eventually

TESTS = Path(__file__).parent.parent
# Seconds that a child may take, also beside others on a busy machine.
PATIENCE = 100


class Children:
    """Programs that run ahead of the tests that ask for their outcomes.

    A program costs the start of a Python, so there run as many at a time as there are cores.
    """

    def __init__(self, folder, rows, prelude, times):
        self._folder = folder
        # As a user's program has it: no development mode, no unbuffered streams.
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._env = env | {"PYTHONPATH": str(TESTS)}
        # One more: a child that waits for its signal does nothing.
        self._executor = ThreadPoolExecutor((os.process_cpu_count() or 1) + 1)
        self._outcomes = {
            name: [
                self._executor.submit(self._run, f"SEED = {number}\n{prelude}{row.code}", row)
                for number in times
            ]
            for name, row in rows.items()
        }

    def close(self):
        self._executor.shutdown(cancel_futures=True)

    def outcomes(self, name):
        """Give what came of a program, each time."""
        for future in self._outcomes[name]:
            yield future.result(PATIENCE)

    def check(self, name, row):
        """Compare what came of a program, each time, with what its row says."""
        for rc, out, err in self.outcomes(name):
            given = [row.out] if isinstance(row.out, str) else row.out
            wanted = [sorted(lines.splitlines()) for lines in given]
            codes = row.rc if isinstance(row.rc, tuple) else (row.rc,)
            assert rc in codes, f"exit code {rc}\n{out}\n{err}"
            assert sorted(out.splitlines()) in wanted, f"{out}\n{err}"
            assert is_all(err, row.err), err

    def _run(self, code, row):
        file = Path(tempfile.mkdtemp(dir=self._folder), "program.py")
        file.write_text(code)
        with subprocess.Popen(
            [sys.executable, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._env,
            cwd=self._folder,
        ) as child:
            # Also before its first word, which nobody waits for with a limit.
            killer = threading.Timer(PATIENCE, child.kill)
            killer.start()
            try:
                signals = getattr(row, "signals", ())
                if signals:
                    first = first_line(child)
                    assert first == b"ready\n", first
                said = ""
                for index, number in enumerate(signals):
                    while index and (line := first_line(child)) != b"heard\n":
                        assert line, "the end, without a word of the signal"
                        said += line.decode()
                    eventually(lambda: asleep(child), "its sleep")
                    child.send_signal(number)
                out, err = child.communicate()
            except BaseException:
                child.kill()
                raise
            finally:
                killer.cancel()
        return Outcome(child.returncode, said + out, err)


def chosen(request, programs):
    """Give those of the programs whose tests of this file were chosen."""
    items = [item for item in request.session.items if item.path == request.path]
    names = [item.callspec.params["name"] for item in items if hasattr(item, "callspec")]
    return {name: programs[name] for name in names}


def first_line(child):
    """Read no more than that: `communicate` does not see what a file object has read."""
    text = b""
    while not text.endswith(b"\n") and (byte := os.read(child.stdout.fileno(), 1)):
        text += byte
    return text


def is_all(err, last):
    """Whether the words on standard error are one exception, which ends like this, or none."""
    if not last:
        return not err
    traceback = r"Traceback \(most recent call last\):\n(?: .*\n)+"
    return re.fullmatch(rf"(?:Exception ignored .*\n)?{traceback}{last}:? ?\n", err) is not None
