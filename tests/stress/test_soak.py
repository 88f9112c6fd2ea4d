"""`make soak`, for a few seconds; and that it would notice."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parent.parent / "soak.py"


def run(child_env, *args):
    return subprocess.run(
        [sys.executable, str(SOAK), "--seed", "1", *args],
        capture_output=True,
        text=True,
        timeout=110,
        env=child_env,
        check=False,
    )


@pytest.mark.slow
def test_a_short_soak(child_env):
    """What only a mix of everything shows."""
    done = run(child_env, "--seconds", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("soak: SEED=1, 3 s")
    assert "\nclean: " in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_it_says_how_to_repeat(child_env, tmp_path):
    """A failure that nobody could repeat."""
    (tmp_path / "sitecustomize.py").write_text("import load; load.run_mix = lambda *_: 1 / 0")
    env = {**child_env, "PYTHONPATH": f"{tmp_path}:{child_env['PYTHONPATH']}"}
    done = run(env, "--round", "3")
    assert done.returncode != 0
    assert "To repeat it: make soak SEED=1 ROUND=3" in done.stdout
