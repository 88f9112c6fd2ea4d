"""The server as a whole: what can be asked of it, and who runs it."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any

from subpool.integrations.hypercorn import _listening, _signals
from subpool.integrations.hypercorn._workers import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config


def check(config: Config, kind: str) -> None:
    """Raise for what cannot be served, before anything is started."""
    if kind not in KINDS:
        raise ValueError(f"workers_kind must be 'interpreter' or 'process', not {kind!r}")
    if config.worker_class not in {"asyncio", "uvloop"}:
        raise ValueError(
            f"worker class {config.worker_class!r} is not supported: use asyncio, or uvloop on "
            f"processes"
        )
    if config.workers < 0:
        raise ValueError(f"workers must be 0 or more, not {config.workers}")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("serve() handles signals: call it in the main thread")
    _settings(config)


def serve(
    config: Config,
    kind: str,
    on_reload: Callable[[], object] | None = None,
    on_ready: Callable[[], object] | None = None,
    *,
    is_last: bool = False,
    on_stop: Callable[[], object] | None = None,
) -> int:
    """Do what `subpool.integrations.hypercorn.serve` says.

    Args:
        config: Hypercorn's configuration.
        kind: The workers'.
        on_reload: Called when the workers begin to be replaced.
        on_ready: Called when all workers are ready for the first time.
        is_last: Whether the program ends after it: then signals do nothing from that on.
        on_stop: Called when the workers begin to end. It raises nothing.

    """
    check(config, kind)
    if config.workers == 0:
        # In main, without anybody to supervise it, as Hypercorn does.
        from hypercorn.run import run  # noqa: PLC0415 - rare

        return run(config)
    if kind == "interpreter":
        _listening.raise_limit()
    listening = _listening.Listening(config)
    with _signals.Signals(stay=is_last) as signals:
        try:
            KINDS[kind].prepare(config.workers)
            # With it comes asyncio: meanwhile the workers import theirs.
            from subpool.integrations.hypercorn._supervisor import Supervisor  # noqa: PLC0415

            supervisor = Supervisor(config, _settings(config), kind, listening)
            if on_reload is not None:
                supervisor.on_reload = on_reload
            if on_ready is not None:
                supervisor.on_ready = on_ready
            if on_stop is not None:
                supervisor.on_stop = on_stop
            return supervisor.run(signals)
        finally:
            KINDS[kind].drop_prepared()
            listening.remove_pid()


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
