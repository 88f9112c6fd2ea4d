"""The server as a whole: what can be asked of it, and who runs it."""

from __future__ import annotations

import pickle
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subpool.integrations._signals import Signals
from subpool.integrations.hypercorn import _listening
from subpool.integrations.hypercorn._workers import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config


SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP

# What a configuration file may have as something else.
_NUMBERS = (
    "workers", "backlog", "graceful_timeout", "startup_timeout", "shutdown_timeout",
    "keep_alive_timeout", "read_timeout", "websocket_ping_interval", "max_requests",
    "max_requests_jitter",
)  # fmt: skip


def check(config: Config, kind: str) -> None:
    """Raise for what cannot be served, before anything is started."""
    if kind not in KINDS:
        raise ValueError(f"workers_kind must be 'interpreter' or 'process', not {kind!r}")
    if config.worker_class not in {"asyncio", "uvloop"}:
        raise ValueError(
            f"worker class {config.worker_class!r} is not supported: use asyncio, or uvloop on "
            f"processes"
        )
    for name in _NUMBERS:
        value = getattr(config, name)
        is_whole = name == "workers"
        if value is None and not is_whole:
            continue
        if not isinstance(value, int if is_whole else (int, float)):
            what = "whole number" if is_whole else "number"
            raise ValueError(f"{name} must be a {what}, not {value!r}")  # noqa: TRY004 - as below
    if config.workers < 0:
        raise ValueError(f"workers must be 0 or more, not {config.workers}")
    if config.workers == 0 and config.use_reloader:
        raise ValueError("--reload needs at least one worker, and workers is 0")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("serve() handles signals: call it in the main thread")
    _check_tls(config)
    try:
        _ = config.log
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the log cannot be made as configured: {type(error).__name__}: {error}"
        ) from error
    _settings(config)


def _check_tls(config: Config) -> None:
    if not config.ssl_enabled:
        return
    try:
        for file in (config.certfile, config.keyfile, config.ca_certs):
            if file is not None:
                Path(file).open("rb").close()  # `ssl` does not name the one that is not there
        config.create_ssl_context()
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"TLS cannot be had with the certfile {config.certfile} and the keyfile "
            f"{config.keyfile}: {error}"
        ) from error


def serve(
    config: Config,
    kind: str,
    on_reload: Callable[[], object] | None = None,
    on_ready: Callable[[], object] | None = None,
    *,
    is_last: bool = False,
    on_stop: Callable[[], object] | None = None,
) -> int:
    """Do what `subpool.integrations.hypercorn.serve` says, with what `check` has passed.

    Args:
        config: Hypercorn's configuration.
        kind: The workers'.
        on_reload: Called when the workers begin to be replaced.
        on_ready: Called when all workers are ready for the first time.
        is_last: Whether the program ends after it: then signals do nothing from that on.
        on_stop: Called when the workers begin to end.

    """
    if config.workers == 0:
        return _serve_in_main(config)
    if kind == "interpreter":
        _listening.raise_limit()
    listening = _listening.Listening(config)
    with Signals(*SIGNALS, stay=is_last) as signals:
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


def _serve_in_main(config: Config) -> int:
    """Run Hypercorn's worker without anybody to supervise it, as Hypercorn does."""
    from hypercorn.asyncio import run  # noqa: PLC0415 - rare

    worker = run.uvloop_worker if config.worker_class == "uvloop" else run.asyncio_worker
    listening = _listening.Listening(config)
    try:
        sockets = config.create_sockets()
        listening.write_pid()
        worker(config, sockets)
    finally:
        listening.remove_pid()
    return 0


def _settings(config: Config) -> dict[str, Any]:
    """Give what makes another `Config` the same, without what cannot be sent."""
    found: dict[str, Any] = {}
    kind = type(config)
    if kind.__module__ != "hypercorn.config":
        found["class"] = _name(kind)
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


def _name(kind: type[Config]) -> str:
    """Give the name under which workers find that class."""
    import pkgutil  # noqa: PLC0415 - rare

    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        if kind.__module__ != "__main__" and pkgutil.resolve_name(name) is kind:
            return name
    except (ImportError, AttributeError, ValueError):
        pass
    raise ValueError(
        f"the configuration's class {kind.__qualname__} cannot be sent to workers. Let it be what "
        f"a module, other than the one that is run, has under its name"
    )
