#!/usr/bin/env python3
"""Run the core's tests under ThreadSanitizer, AddressSanitizer and Miri (`make sanitize`).

All three need a nightly compiler: ThreadSanitizer with the component `rust-src`, since the standard
library must be built with it too, Miri with the component `miri`. What is not at hand is said, and
makes the run fail: nothing was checked then. Each sanitizer must first find a planted fault.

    tools/sanitize.py            all three
    tools/sanitize.py thread     one
    tools/sanitize.py --extension [-- pytest arguments]
        the extension under AddressSanitizer, in CPython 3.14; needs gcc's libasan
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target" / "sanitize"
CORE = ("--locked", "--no-default-features", "--lib", "--test", "core_races")
# What Miri interprets takes a thousand times as long: without the loops over random values.
MIRI_SKIPS = ("random", "damaged", "every_accepted", "no_wake_up_is_lost", "depth", "numbers_come")

PLANTED = {
    "thread": """
        static mut COUNT: u64 = 0;
        fn main() {
            let add = || for _ in 0..1000 { unsafe { COUNT += 1 } };
            let other = std::thread::spawn(add);
            add();
            other.join().unwrap();
        }
    """,
    "address": """
        fn main() {
            let gone = { let boxed = Box::new(7_u64); &raw const *boxed };
            std::process::exit(unsafe { gone.read_volatile() } as i32 * 0);
        }
    """,
}


class LackingError(Exception):
    """Says what is not at hand."""


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=env, check=False, text=True)


def nightly(*command: str) -> str:
    """What a command of the nightly toolchain prints."""
    program, *rest = command
    try:
        done = subprocess.run(
            [program, "+nightly", *rest], cwd=ROOT, check=False, text=True, capture_output=True
        )
    except FileNotFoundError:
        raise LackingError(f"no {program} on PATH") from None
    if done.returncode:
        raise LackingError(f"no nightly {program}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def host() -> str:
    found = re.search(r"^host: (\S+)$", nightly("rustc", "-vV"), re.MULTILINE)
    return found[1] if found else ""


def find_planted(sanitizer: str) -> None:
    """A sanitizer that finds nothing here would find nothing anywhere."""
    TARGET.mkdir(parents=True, exist_ok=True)
    source, program = TARGET / f"planted_{sanitizer}.rs", TARGET / f"planted_{sanitizer}"
    source.write_text(PLANTED[sanitizer])
    flags = ("-Zsanitizer=" + sanitizer, "-Cunsafe-allow-abi-mismatch=sanitizer")
    nightly("rustc", "--edition", "2024", *flags, str(source), "-o", str(program))
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    if "Sanitizer: " not in done.stderr:
        raise LackingError(
            f"the {sanitizer} sanitizer does not find a planted fault: {done.stderr}"
        )


def check_core(sanitizer: str) -> int:
    find_planted(sanitizer)
    command = ["cargo", "+nightly", "test", *CORE, "--target", host()]
    command += ["--target-dir", str(TARGET)]
    if sanitizer == "thread":
        library = Path(nightly("rustc", "--print", "sysroot").strip()) / "lib/rustlib/src/rust"
        if not library.exists():
            raise LackingError("no sources of the standard library: rustup component add rust-src")
        # An uninstrumented standard library hides what its locks and threads order.
        command.append("-Zbuild-std")
    flags = f"-Zsanitizer={sanitizer} -Copt-level=1"
    return run(*command, RUSTFLAGS=flags, RACES=os.environ.get("RACES", "30")).returncode


def check_miri() -> int:
    nightly("cargo", "miri", "--version")
    skips = [word for skip in MIRI_SKIPS for word in ("--skip", skip)]
    flags = "-Zmiri-disable-isolation"
    command = ("cargo", "+nightly", "miri", "test", "--locked", "--no-default-features", "--lib")
    command += ("--target-dir", str(TARGET / "miri"), "--", *skips)
    return run(*command, MIRIFLAGS=flags).returncode


def check_extension(arguments: list[str]) -> int:
    """CPython itself is not instrumented: what ASan sees are the heap, and our own accesses."""
    find_planted("address")
    venv = ROOT / ".venv-3.14"
    python = venv / "bin" / "python"
    found = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], check=False, capture_output=True, text=True
    )
    runtime = found.stdout.strip()
    if found.returncode or "/" not in runtime:
        raise LackingError("no libasan of gcc, which has to be loaded into CPython")
    build = ("cargo", "+nightly", "build", "--locked", "--lib", "--target", host())
    done = run(
        *build, "--features", "pyo3/extension-module", "--target-dir", str(TARGET / "extension"),
        RUSTFLAGS="-Zsanitizer=address -Copt-level=1", PYO3_PYTHON=str(python),
    )  # fmt: skip
    if done.returncode:
        return done.returncode
    package = TARGET / "python" / "subpool"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(
        ROOT / "python" / "subpool", package, ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    suffix = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
    suffix = subprocess.check_output([python, "-c", suffix], text=True).strip()
    library = TARGET / "extension" / host() / "debug" / "lib_subpool.so"
    shutil.copy(library, package / f"_subpool{suffix}")
    arguments = arguments or ["tests", "--ignore", "tests/conformance", "-q"]
    # Leaks are CPython's own business; its allocator hides from ASan what lies in its arenas.
    return run(
        python, "-m", "pytest", "-p", "no:cacheprovider", *arguments,
        LD_PRELOAD=runtime, ASAN_OPTIONS="detect_leaks=0:abort_on_error=1",
        PYTHONMALLOC="malloc", PYTHONPATH=str(package.parent),
    ).returncode  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("which", nargs="*", choices=["thread", "address", "miri", []])
    parser.add_argument("--extension", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    options = parser.parse_args()
    if options.extension is not None:
        checks = {"extension": lambda: check_extension(options.extension)}
    else:
        known = {
            "thread": lambda: check_core("thread"),
            "address": lambda: check_core("address"),
            "miri": check_miri,
        }
        checks = {name: known[name] for name in options.which or known}
    results = {}
    for name, check in checks.items():
        print(f"sanitize: {name}", flush=True)
        try:
            results[name] = "clean" if check() == 0 else "FAILED"
        except LackingError as lacking:
            results[name] = f"NOT CHECKED: {lacking}"
    for name, result in results.items():
        print(f"sanitize: {name}: {result}")
    return any(result != "clean" for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
