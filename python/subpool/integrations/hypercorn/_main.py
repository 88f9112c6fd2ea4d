"""The server as a whole: what can be asked of it, its pid file, and who runs it."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subpool.integrations.hypercorn._workers import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config


def serve(
    config: Config,
    kind: str,
    on_reload: Callable[[], object] | None = None,
    on_ready: Callable[[], object] | None = None,
) -> int:
    """Do what `subpool.integrations.hypercorn.serve` says."""
    if kind not in KINDS:
        raise ValueError(f"workers_kind must be 'interpreter' or 'process', not {kind!r}")
    if config.worker_class not in {"asyncio", "uvloop"}:
        raise ValueError(
            f"worker class {config.worker_class!r} is not supported: use asyncio, or uvloop on "
            f"processes"
        )
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("serve() handles signals: call it in the main thread")
    if config.workers == 0:
        # In main, without anybody to supervise it, as Hypercorn does.
        from hypercorn.run import run  # noqa: PLC0415 - rare

        return run(config)
    settings = _settings(config)
    if config.pid_path is not None:
        Path(config.pid_path).write_text(str(os.getpid()), encoding="ascii")
    try:
        KINDS[kind].prepare(config.workers)
        # With it comes asyncio: meanwhile the workers import theirs.
        from subpool.integrations.hypercorn._supervisor import Supervisor  # noqa: PLC0415

        supervisor = Supervisor(config, settings, kind, lambda: _remove_pid_file(config))
        if on_reload is not None:
            supervisor.on_reload = on_reload
        if on_ready is not None:
            supervisor.on_ready = on_ready
        return supervisor.run()
    finally:
        KINDS[kind].drop_prepared()
        _remove_pid_file(config)


def _settings(config: Config) -> dict[str, Any]:
    """Give what makes another `Config` the same, without what cannot be sent."""
    found = {}
    for name, value in vars(config).items():
        if name == "_log":  # it has handlers; each worker makes its own
            continue
        try:
            pickle.dumps(value)
        except Exception as error:
            if not hasattr(type(config), name):
                continue  # what else stands in a Python configuration file, as helpers do
            raise ValueError(
                f"the configuration's {name} cannot be sent to workers ({error}). Let it be a "
                f"value, or what a module has under its name"
            ) from error
        found[name] = value
    return found


def _remove_pid_file(config: Config) -> None:
    """Remove the file with this process's number, if it is still that."""
    if config.pid_path is None:
        return
    path = Path(config.pid_path)
    with contextlib.suppress(OSError):
        if path.read_text(encoding="ascii") == str(os.getpid()):
            path.unlink()
