"""Where a run took place, for the reader and for the JSON file."""

from __future__ import annotations

import os
import platform
import subprocess
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = ("aiointerpreters", "anyio", "loky", "uvloop")


def machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "subpool": subpool_version(),
        "peers": {name: found for name in DISTRIBUTIONS if (found := version(name))},
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "usable_cpus": os.process_cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        # Of the last minute, at the start: much above 0 and the figures are not to be trusted.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def describe(where: dict[str, Any]) -> str:
    peers = "".join(f", {name} {number}" for name, number in where["peers"].items())
    return (
        f"{where['python']}, subpool {where['subpool']}{peers}; "
        f"{where['cpu']}, {where['usable_cpus']} of {where['cpus']} CPUs, {where['system']}; "
        f"{where['date']}, load at the start {where['load']}"
    )


def version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def subpool_version() -> str:
    found = version("subpool")
    if not found:  # used from this source tree
        found = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    try:
        ask = ("git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude", "*")
        commit = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return found
    return f"{found} ({commit})"


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
