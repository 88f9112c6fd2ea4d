"""Runs programs that end, several at a time, and compares how they did with how they must."""

import os
import re
import signal
import subprocess
import sys
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
        self._env = {**os.environ, "PYTHONPATH": str(TESTS)}
        for name in ("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONFAULTHANDLER"):
            self._env.pop(name, None)
        # One more: a child that waits for its signal does nothing.
        self._executor = ThreadPoolExecutor((os.process_cpu_count() or 1) + 1)
        self._outcomes = {
            name: [
                self._executor.submit(self._run, prelude.replace("SEED", str(number)), row)
                for number in times
            ]
            for name, row in rows.items()
        }

    def close(self):
        self._executor.shutdown(cancel_futures=True)

    def check(self, name, row):
        for future in self._outcomes[name]:
            rc, out, err = future.result(PATIENCE)
            given = [row.out] if isinstance(row.out, str) else row.out
            wanted = [sorted(lines.splitlines()) for lines in given]
            codes = row.rc if isinstance(row.rc, tuple) else (row.rc,)
            assert rc in codes, f"exit code {rc}\n{out}\n{err}"
            assert sorted(out.splitlines()) in wanted, f"{out}\n{err}"
            assert is_all(err, row.err), err

    def _run(self, prelude, row):
        with subprocess.Popen(
            [sys.executable, "-c", prelude + row.code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._env,
            cwd=self._folder,
        ) as child:
            try:
                first = ""
                for number in getattr(row, "signals", ()):
                    if not first:
                        first = child.stdout.readline()
                        assert first == "ready\n", first + child.stderr.read()
                    eventually(lambda: asleep(child), "its sleep")
                    child.send_signal(number)
                out, err = child.communicate(timeout=PATIENCE)
            except BaseException:
                # What it does, into the log.
                child.send_signal(signal.SIGABRT)
                raise
        return Outcome(child.returncode, out, err)


def is_all(err, last):
    """Whether the words on standard error are one exception, which ends like this, or none."""
    if not last:
        return not err
    traceback = r"Traceback \(most recent call last\):\n(?: .*\n)+"
    return re.fullmatch(rf"(?:Exception ignored .*\n)?{traceback}{last}:? ?\n", err) is not None
