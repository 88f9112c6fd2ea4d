"""Hypercorn's server in interpreters: what `subpool serve` runs, and how an app sees it.

Nothing of Hypercorn's is imported before `serve` is called.
"""

from __future__ import annotations

TYPE_CHECKING = False  # workers import this with the apps that use it (routing.py)
if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config

__all__ = ["serve", "worker_number"]

_number: int | None = None


def serve(
    config: Config,
    *,
    workers_kind: str = "interpreter",
    on_reload: Callable[[], object] | None = None,
    on_ready: Callable[[], object] | None = None,
) -> int:
    """Serve ``config.application_path`` until a signal ends it, and give the exit code.

    What ``subpool serve`` does. SIGTERM and SIGINT let the requests in flight finish, SIGHUP
    replaces the workers one after another. Call it in the main thread. If a worker does not end at
    all, that is logged, and the program's end does not wait for it, nor for threads: the process
    then exits with this code, whatever the program's own would have been.

    Args:
        config: Hypercorn's own configuration.
        workers_kind: ``"interpreter"``: all workers in this process. ``"process"``: a process for
            each.
        on_reload: Called when the workers begin to be replaced.
        on_ready: Called when all workers are ready for the first time. What these two raise is
            logged, and the server goes on.

    Returns:
        0 after a graceful stop, 1 if the app failed, 3 if it needs a library that cannot load in
        an interpreter, 4 if requests were cut off.

    Raises:
        ValueError: `workers_kind` or ``config.worker_class`` is unknown, or `config` has something
            that cannot be, such as a certificate's file that is not there.
        RuntimeError: It was not called in the main thread.

    Example::

        config = Config.from_toml("hypercorn.toml")
        config.application_path = "shop:app"
        sys.exit(serve(config))

    """
    from subpool.integrations.hypercorn import _main  # noqa: PLC0415 - main's

    _main.check(config, workers_kind)
    return _main.serve(config, workers_kind, on_reload, on_ready)


def worker_number() -> int | None:
    """Tell which of the server's workers the caller runs in, from 1; ``None`` elsewhere.

    A worker that takes the place of another has the same number; while the old one finishes its
    requests, both have it.

    Example::

        @app.get("/")
        async def root():
            return {"worker": worker_number()}

    """
    return _number
