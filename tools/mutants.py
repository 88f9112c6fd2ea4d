#!/usr/bin/env python3
"""Break each protocol of the core on purpose, and see its model fail (`make test-mutants`).

A model that passes whatever the code does proves nothing. Each row below names a file of src/core,
what to change in it, and the models of which one at least must then fail. Works on a copy below
target/. A row whose text is not in its file any more is an error, so the list stays true.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from mutant_rows import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutants"
# A broken protocol may well run for ever.
LIMIT = 600


def run(models: tuple[str, ...]) -> tuple[int, str]:
    env = {**os.environ, "RUSTFLAGS": "--cfg loom -C opt-level=2", "RUST_BACKTRACE": "0"}
    command = ["cargo", "test", "--locked", "--no-default-features", "--lib"]
    command += ["--target-dir", str(ROOT / "target" / "loom"), "--", *models]
    with subprocess.Popen(
        command,
        cwd=COPY,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as cargo:
        try:
            output, _ = cargo.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            # Not cargo alone: the test would run on.
            os.killpg(cargo.pid, signal.SIGKILL)
            return 1, "runs for ever"
    return cargo.returncode, output


def try_mutant(mutant: Mutant) -> str:
    """Say why the mutant lives, or nothing."""
    path = COPY / "src" / "core" / mutant.file
    good = path.read_text()
    if good.count(mutant.old) != 1:
        return f"its text stands {good.count(mutant.old)} times in {mutant.file}"
    path.write_text(good.replace(mutant.old, mutant.new))
    try:
        status, output = run(mutant.models)
    finally:
        path.write_text(good)
    if status == 0:
        return "all of its models pass"
    failed = re.findall(r"^test (\S+) \.\.\. FAILED", output, re.MULTILINE)
    if not failed and "running " not in output and output != "runs for ever":
        return "it does not compile:\n" + output[-2000:]
    print("    " + ", ".join(name.rpartition("::")[2] for name in failed or [output[-200:]]))
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("only", nargs="?", default="", help="rows whose file or text has this")
    only = parser.parse_args().only
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, COPY / name)
    for name in ("src", "benches"):
        # As new, or cargo would take the last mutant of an earlier run for these.
        shutil.copytree(ROOT / name, COPY / name, copy_function=shutil.copy)
    print("the models, as they are", flush=True)
    status, output = run(())
    if status:
        sys.exit(f"they fail without a change:\n{output[-2000:]}")
    alive = 0
    chosen = [mutant for mutant in MUTANTS if only in f"{mutant.file} {mutant.what}"]
    for mutant in chosen:
        begun = time.monotonic()
        print(f"{mutant.file}: {mutant.what}", flush=True)
        if why := try_mutant(mutant):
            alive += 1
            print(f"    LIVES: {why}")
        else:
            print(f"    dead after {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants are dead")
    return bool(alive)


if __name__ == "__main__":
    sys.exit(main())
