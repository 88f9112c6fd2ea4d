"""A little of everything works, and nothing is said, in each mode that Python may be run in.

The whole suite in each of them: `make test-modes`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

EVERYDAY = Path(__file__).with_name("everyday.py")

# How the process is started: options, and what is added to the environment.
MODES = {
    "tracemalloc": (["-X", "tracemalloc=5"], {}),
    "dev": (["-X", "dev"], {}),
    "error": (["-W", "error"], {}),
    "malloc debug": ([], {"PYTHONMALLOC": "debug"}),
    "faulthandler": (["-X", "faulthandler"], {}),
    # What tracemalloc and the debug allocators do together: each wraps the other's.
    "dev tracemalloc": (["-X", "dev", "-X", "tracemalloc"], {}),
    "coverage ctrace": (["-m", "coverage", "run"], {"COVERAGE_CORE": "ctrace"}),
    "coverage sysmon": (["-m", "coverage", "run"], {"COVERAGE_CORE": "sysmon"}),
    # These the program turns on by itself.
    "tracemalloc later": ([], {}),
    "cProfile": ([], {}),
    "setprofile": ([], {}),
    "settrace": ([], {}),
    "sys.monitoring": ([], {}),
}


@pytest.mark.parametrize("mode", MODES)
def test_everyday_work(mode, child_env, tmp_path):
    """tracemalloc on 3.14 hung at the first worker, and crashed at exit."""
    if mode.startswith("coverage"):
        pytest.importorskip("coverage")
    options, extra = MODES[mode]
    command = [sys.executable, *options, str(EVERYDAY), mode]
    done = subprocess.run(
        command, env=child_env | extra, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == "printed in a task\ndone\n"
    assert done.stderr == ""


WORK = """
def double(number):
    if number > 3:
        return number + number
    return 2 * number
"""

MEASURED = """
import sys, work
from subpool import InterpreterPoolExecutor

def measure():
    import coverage
    coverage.Coverage(data_suffix=True, auto_data=True).start()

if __name__ == "__main__":
    initializer = measure if sys.argv[1] == "inside" else None
    with InterpreterPoolExecutor(1, initializer=initializer) as pool:
        assert list(pool.map(work.double, range(6))) == [0, 2, 4, 6, 8, 10]
"""


@pytest.mark.parametrize(("where", "missing"), [("outside", [3, 4, 5]), ("inside", [])])
def test_coverage_of_tasks(where, missing, tmp_path, child_env):
    """What docs/reliability/modes.md says: an initializer starts it in each interpreter."""
    coverage = pytest.importorskip("coverage")
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "main.py").write_text(MEASURED)
    command = [sys.executable, "-m", "coverage", "run", "--parallel-mode", "main.py", where]
    subprocess.run(command, env=child_env, cwd=tmp_path, timeout=60, check=True)
    data = coverage.Coverage(data_file=str(tmp_path / ".coverage"))
    data.combine([str(tmp_path)])
    assert data.analysis2(str(tmp_path / "work.py"))[3] == missing
