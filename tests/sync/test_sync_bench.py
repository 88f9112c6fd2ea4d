"""`make bench-sharing` comes to its end, and its table has what it shall have."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "bench" / "sharing.py"


def test_it_runs():
    command = [sys.executable, PROGRAM, "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| subpool.Queue |" in done.stdout
    assert "| subpool.Event |" in done.stdout
    standard = "| concurrent.interpreters.Queue |" in done.stdout
    assert standard == (sys.version_info >= (3, 14))
