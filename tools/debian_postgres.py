#!/usr/bin/env python3
"""Unpack Debian's PostgreSQL into a private prefix, without root and without installing it.

For the tests of the Django integration and of an example, on a machine that has none.  The packages
are those of the machine's own release, so they use the C library that is there; other libraries
come along.  How the archive is found and asked is in debian_python.py.

Prints the folder of the server's programs.  They need LD_LIBRARY_PATH as printed on a second line.
Runs on any Python from 3.9.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from debian_python import apt_environment, locked, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

# Of the machine's own, or of no use to a server that runs for a test: its compiler of queries.
LEFT_OUT = re.compile(r"libc6|libc-|libllvm|libperl|libgcc|libpam-|libdebconf|libselinux")


def release() -> str:
    """The machine's own release, as the archive calls it."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        lines = []
    entries = dict(line.split("=", 1) for line in lines if "=" in line)
    name = entries.get("VERSION_CODENAME", "").strip('"')
    if entries.get("ID", "").strip('"') != "debian" or not name:
        raise SystemExit("debian_postgres: this machine is no released Debian")
    return name


def apt(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"debian_postgres: {words[0]}: {done.stderr.strip()[-600:]}")
    return done.stdout


def download(into: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="subpool-apt-") as state:
        options = apt_environment(Path(state), release())
        apt("apt-get", "-q", *options, "update")
        depends = ("apt-cache", *options, "depends", "--important")
        found = re.search(r"postgresql-\d+", apt(*depends, "postgresql"))
        if not found:
            raise SystemExit("debian_postgres: the archive has no PostgreSQL")
        listed = apt(*depends, "--recurse", found[0], "libpq5")
        needed = {line for line in listed.splitlines() if re.match(r"lib[^<]+$", line)}
        wanted = sorted(name for name in needed if not LEFT_OUT.match(name))
        clients = found[0].replace("postgresql-", "postgresql-client-")
        apt("apt-get", "-q", *options, "download", found[0], clients, *wanted, cwd=into)


def programs(prefix: Path) -> Path | None:
    """Where the server's programs lie below a prefix."""
    found = sorted(prefix.glob("usr/lib/postgresql/*/bin/initdb"))
    return found[-1].parent if found else None


def cache() -> Path:
    """A folder for what can be had again.

    PostgreSQL does not run as root, and another user cannot read what lies in root's home.
    """
    if os.geteuid() == 0:
        return Path("/var/cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def unpacked(
    folder: Path, name: str, is_there: Callable[[Path], bool], download: Callable[[Path], None]
) -> Path:
    """The prefix of that name in a folder, with the packages in it: also the next time."""
    prefix = folder / name
    with locked(folder / f"{name}.lock"):
        if not is_there(prefix):
            if not (shutil.which("apt-get") and shutil.which("dpkg")):
                raise SystemExit(f"debian_{name}: only on Linux with apt")
            print(f"debian_{name}: unpacking below {prefix}", file=sys.stderr)
            partial = folder / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            with tempfile.TemporaryDirectory(prefix="subpool-deb-") as packages:
                Path(packages).chmod(0o755)  # apt downloads as another user where it can
                download(Path(packages))
                unpack(sorted(Path(packages).glob("*.deb")), partial)
            shutil.rmtree(prefix, ignore_errors=True)
            partial.rename(prefix)
    return prefix


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache() / "subpool")
    options = parser.parse_args()

    prefix = unpacked(
        options.cache, "postgres", lambda prefix: programs(prefix) is not None, download
    )
    folder = programs(prefix)
    if folder is None:
        raise SystemExit("debian_postgres: the packages have no initdb")
    for library in prefix.glob("usr/lib/*/libpq.so.5"):
        with contextlib.suppress(FileExistsError):
            # The name by which `ctypes.util.find_library` asks for it.
            (library.parent / "libpq.so").symlink_to(library.name)
    print(folder)
    print(
        os.pathsep.join(
            map(str, sorted({path.parent for path in prefix.glob("usr/lib/*/lib*.so*")}))
        )
    )


if __name__ == "__main__":
    main()
