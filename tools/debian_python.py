#!/usr/bin/env python3
"""Unpack Debian's CPython packages into a private prefix, without root.

For machines where neither an installed CPython nor uv's own download is to be
had, but an apt source is.  The machine's own apt configuration says where the
archive is and which keyring signs it; a private apt state directory asks that
archive for a newer suite.  Nothing of the system is changed: packages are
unpacked (not installed) below the cache directory, and `patchelf` makes the
interpreter use the C library that came with it.

Prints the path of the interpreter.  Runs on any Python from 3.9.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITES = ("forky", "sid")
LIBRARIES = [
    "libc6", "libexpat1", "zlib1g", "libssl3t64", "libffi8", "libsqlite3-0", "libbz2-1.0",
    "liblzma5", "libreadline8t64", "libncursesw6", "libtinfo6", "libuuid1", "libzstd1",
    "libdb5.3t64", "libgdbm6t64", "libgcc-s1",
]  # fmt: skip


def packages(version: str, debug: bool) -> list[str]:
    names = [
        f"python{version}",
        f"python{version}-minimal",
        f"libpython{version}-minimal",
        f"libpython{version}-stdlib",
        f"libpython{version}-dev",
        f"python{version}-dev",
        f"python{version}-venv",
        f"libpython{version}-testsuite",
        f"libpython{version}",
        "python3-pip-whl",
    ]
    if debug:
        names += [f"python{version}-dbg", f"libpython{version}-dbg"]
    return names + LIBRARIES


def apt_source() -> tuple[str, str]:
    """The archive's address and keyring, from the machine's own configuration."""
    fields = "$(REPO_URI)|$(ORIGIN)|$(LABEL)"
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = [line.split("|") for line in listing.splitlines() if line.strip()]
    # Before the first `apt-get update` origin and label are empty, so the path decides.
    main = [uri for uri, origin, label in rows if (origin, label) == ("Debian", "Debian")]
    main += [uri for uri, *_ in rows if uri.rstrip("/").endswith("/debian")]
    if not main:
        raise SystemExit("debian_python: this machine's apt configuration names no Debian archive")
    return main[0], signed_by(main[0])


def signed_by(uri: str) -> str:
    etc = Path("/etc/apt")
    for source in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in source.read_text().split("\n\n"):
            entries = dict(
                (part.strip() for part in line.split(":", 1))
                for line in stanza.splitlines()
                if ":" in line and not line.startswith(("#", " "))
            )
            if uri.rstrip("/") in entries.get("URIs", "").replace("/ ", " ").rstrip("/").split():
                return entries.get("Signed-By", "")
    return ""


def apt_environment(state: Path, suite: str) -> list[str]:
    """Options that confine apt to `state`, with `suite` as its only source."""
    uri, keyring = apt_source()
    for part in ("lists/partial", "cache/archives/partial", "etc"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    option = f"[signed-by={keyring}] " if keyring else ""
    (state / "etc/sources.list").write_text(f"deb {option}{uri} {suite} main\n")
    settings = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "etc/sources.list",
        "Dir::Etc::sourceparts": "-",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none",
        "APT::Update::Post-Invoke-Success::": "true",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def download(version: str, debug: bool, into: Path) -> list[Path]:
    errors = []
    for suite in SUITES:
        with tempfile.TemporaryDirectory(prefix="subpool-apt-") as state:
            options = apt_environment(Path(state), suite)
            for command in (["update"], ["download", *packages(version, debug)]):
                done = subprocess.run(
                    ["apt-get", "-q", *options, *command],
                    cwd=into, capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode:
                    errors.append(f"{suite}: apt-get {command[0]}: {done.stderr.strip()[-600:]}")
                    break
            else:
                return sorted(into.glob("*.deb"))
    raise SystemExit("debian_python: no suite has CPython " + version + "\n" + "\n".join(errors))


def relink(prefix: Path, version: str, patchelf: str) -> None:
    """Point the interpreters at the C library that was unpacked beside them."""
    library = prefix / "usr/lib/x86_64-linux-gnu"
    loaders = [
        path
        for folder in (library, prefix / "lib64", prefix / "usr/lib64")
        for path in folder.glob("ld-linux-x86-64.so.2")
    ]
    if not loaders:
        raise SystemExit(f"debian_python: no dynamic loader below {prefix}")
    for binary in (prefix / "usr/bin").glob(f"python{version}*"):
        if binary.is_symlink() or binary.read_bytes()[:4] != b"\x7fELF":
            continue
        subprocess.run(
            [patchelf, "--set-interpreter", loaders[0],
             "--force-rpath", "--set-rpath", library, binary],
            check=True,
        )  # fmt: skip


def compile_library(python: Path) -> None:
    """What Debian's post-installation script does: without it every import compiles."""
    # A few files of the test suite are bad syntax on purpose, so the exit status says nothing.
    library = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(
        [python, "-W", "ignore", "-m", "compileall", "-q", "-j", "0", library],
        env=environment, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def unpack(debs: list[Path], prefix: Path) -> None:
    # Debian merged /lib into /usr/lib: packages of both kinds must meet in one place.
    for name in ("lib", "lib64", "bin", "sbin"):
        (prefix / "usr" / name).mkdir(parents=True, exist_ok=True)
        (prefix / name).symlink_to(f"usr/{name}")
    for deb in debs:
        subprocess.run(["dpkg", "-x", deb, prefix], check=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="for example 3.14")
    parser.add_argument("--debug", action="store_true", help="the debug build, beside the other")
    parser.add_argument("--patchelf", default="patchelf")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--cache", type=Path, default=cache / "subpool" / "python")
    options = parser.parse_args()

    name = options.version + ("-dbg" if options.debug else "")
    prefix = options.cache / name
    binary = prefix / "usr/bin" / f"python{name}"
    with locked(options.cache / f"{name}.lock"):
        if not binary.exists():
            print(f"debian_python: unpacking CPython {name} below {prefix}", file=sys.stderr)
            partial = options.cache / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            with tempfile.TemporaryDirectory(prefix="subpool-deb-") as folder:
                # apt downloads as another user where it can.
                Path(folder).chmod(0o755)
                unpack(download(options.version, options.debug, Path(folder)), partial)
            # The rpath names the final place, so the folder moves before it is relinked.
            partial.rename(prefix)
            try:
                relink(prefix, options.version, options.patchelf)
                compile_library(binary)
            except BaseException:
                shutil.rmtree(prefix)
                raise
    print(binary)


if __name__ == "__main__":
    main()
