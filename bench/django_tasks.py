"""How many of Django's tasks a second: subpool_worker beside django-tasks-db's db_worker.

    make bench-django                      on SQLite and on PostgreSQL
    make bench-django BENCH_ARGS=--quick

Each row is one way to use so many cores: tasks are enqueued first, then the workers are started, in
batch mode, and the rate is that from the first start to the last end that the database has noted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import describe, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "tests" / "django"), str(HERE.parent / "tests")]

SECONDS_TOO_MANY = 300


@dataclass(frozen=True)
class Row:
    """A kind of worker."""

    label: str
    backend: str
    command: tuple[str, ...]
    processes: bool  # whether more cores are more processes


OURS = Row("subpool_worker", "default", ("subpool_worker", "--batch", "-v", "0"), processes=False)
THEIRS = Row(
    "db_worker",
    "theirs",
    ("db_worker", "--batch", "--backend", "theirs", "--no-startup-delay", "-v", "0"),
    processes=True,
)
JOBS = {"nothing": ("nothing", 1), "5 ms of a CPU": ("compute", 5)}


@contextlib.contextmanager
def database(kind: str) -> Iterator[None]:
    """Point the settings, here and in the workers, at a fresh database."""
    with contextlib.ExitStack() as stack:
        if kind == "PostgreSQL":
            import postgres

            os.environ["BENCH_POSTGRES"] = str(stack.enter_context(postgres.server()))
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="subpool-bench-"))
            os.environ["BENCH_SQLITE"] = f"{folder}/tasks.sqlite3"
        try:
            yield
        finally:
            os.environ.pop("BENCH_POSTGRES", None)


def measure(row: Row, job: str, tasks: int, workers: int) -> float:
    """Tasks a second."""
    from django.db import connections, transaction
    from django.db.models import Max, Min
    from django_tasks_db.models import DBTaskResult

    from django_site import jobs
    from subpool.integrations.django.models import StoredTask

    model: Any = StoredTask if row.backend == "default" else DBTaskResult
    model.objects.all().delete()
    name, argument = JOBS[job]
    with transaction.atomic():
        for _ in range(tasks):
            getattr(jobs, name).using(backend=row.backend).enqueue(argument)
    connections.close_all()
    command = [sys.executable, "-m", "django", *row.command]
    count = workers if row.processes else 1
    running = [subprocess.Popen(command) for _ in range(count)]
    end = time.monotonic() + SECONDS_TOO_MANY
    codes = [process.wait(end - time.monotonic()) for process in running]
    done = model.objects.filter(status="SUCCESSFUL")
    if any(codes) or done.count() != tasks:
        raise SystemExit(f"{row.label}: exit codes {codes}, {done.count()} of {tasks} tasks ended")
    times = done.aggregate(start=Min("started_at"), end=Max("finished_at"))
    return tasks / (times["end"] - times["start"]).total_seconds()


def one_database(options: argparse.Namespace) -> None:
    """Measure on the database of the environment."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    for job in JOBS:
        rates: dict[tuple[Row, int], list[float]] = {}
        for _ in range(options.rounds):
            for row in (OURS, THEIRS):
                for workers in (1, options.workers):
                    os.environ["BENCH_WORKERS"] = str(workers)
                    rate = measure(row, job, options.tasks, workers)
                    rates.setdefault((row, workers), []).append(rate)
        for (row, workers), found in rates.items():
            rate = statistics.median(found)
            ratio = rate / statistics.median(rates[THEIRS, workers])
            cells = (options.database, job, row.label, workers, f"{rate:.0f}", f"{ratio:.2f}")
            print("|", " | ".join(map(str, cells)), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of few tasks")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--database", help="only this: SQLite or PostgreSQL")
    options = parser.parse_args()
    if options.quick:
        options.tasks, options.rounds = 300, 1
    os.environ["DJANGO_SETTINGS_MODULE"] = "django_site.settings"
    paths = [str(HERE), str(HERE.parent / "python"), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    sys.path.insert(0, paths[1])
    if options.database:
        with database(options.database):
            one_database(options)
        return
    print(describe(machine()))
    print("| database | task | worker | cores | tasks/s | of db_worker's |")
    print("|---|---|---|---|---|---|", flush=True)
    for kind in ("SQLite", "PostgreSQL"):
        # A process each: settings are read once.
        words = ["--database", kind, "--tasks", str(options.tasks)]
        words += ["--rounds", str(options.rounds), "--workers", str(options.workers)]
        subprocess.run([sys.executable, __file__, *words], check=True)


if __name__ == "__main__":
    main()
