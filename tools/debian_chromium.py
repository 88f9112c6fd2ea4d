#!/usr/bin/env python3
"""Unpack Debian's headless Chromium into a private prefix, without root and without installing it.

For the tests of the examples that have pages, on a machine that has no browser.  As
debian_postgres.py does with PostgreSQL, which see.

Prints the program, and on a second line what it needs as LD_LIBRARY_PATH.  Runs on any Python from
3.9.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from pathlib import Path

from debian_postgres import apt, cache, release, unpacked
from debian_python import apt_environment

PACKAGES = ("chromium-headless-shell", "chromium-common", "fonts-dejavu-core")
# Of the machine's own, or for graphics cards and windows.
LEFT_OUT = re.compile(
    r"libc6|libc-|libllvm|libgcc|libdebian|libgl1-mesa|libglx-mesa|libz3|libicu|libnewt|libslang"
    r"|libsensors|libx11-data|libxaw|libxt6|libdrm-(amdgpu|intel|nouveau|radeon)|libreadline|libedit"
)


def download(into: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="subpool-apt-") as state:
        options = apt_environment(Path(state), release())
        apt("apt-get", "-q", *options, "update")
        depends = ("apt-cache", *options, "depends", "--important", "--recurse", PACKAGES[0])
        needed = {line for line in apt(*depends).splitlines() if re.match(r"lib[^<]+$", line)}
        wanted = sorted(name for name in needed if not LEFT_OUT.match(name))
        apt("apt-get", "-q", *options, "download", *PACKAGES, *wanted, cwd=into)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache() / "subpool")
    options = parser.parse_args()

    program = Path("usr/lib/chromium/chromium-headless-shell")
    prefix = unpacked(
        options.cache, "chromium", lambda prefix: (prefix / program).exists(), download
    )
    libraries = {path.parent for path in prefix.glob("**/lib/*-linux-gnu/**/lib*.so*")}
    print(prefix / program)
    print(os.pathsep.join(map(str, sorted(libraries))))


if __name__ == "__main__":
    main()
