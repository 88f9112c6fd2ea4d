"""What this process and the processes below it use, read from Linux."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

# The clock of a process, whoever asks: what clock_getcpuclockid(3) computes.
_CPUCLOCK_SCHED = 2


def family() -> list[int]:
    """This process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # The name, in parentheses, may hold anything; the parent's number comes after it.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [os.getpid()]
    for pid in found:  # grows while it is walked
        found += parents.get(pid, [])
    return found


def memory() -> tuple[float, float]:
    """PSS (a shared page counts once) and RSS of the family, in bytes."""
    pss = rss = 0
    for pid in family():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    pss += int(line.split()[1]) * 1024
                elif line.startswith("Rss:"):
                    rss += int(line.split()[1]) * 1024
    return float(pss), float(rss)


def cpu_seconds(processes: list[int]) -> float:
    """CPU time of these, with the clock's own precision and not in ticks."""
    total = 0.0
    for pid in processes:
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    return total
