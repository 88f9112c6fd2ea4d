"""The server's own log: where it goes, and files that somebody has moved."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypercorn.config import Config


def logger_of(config: Config) -> logging.Logger:
    """Give what the supervisor logs to: Hypercorn's error log, if it has one."""
    logger = getattr(config.log, "error_logger", None)
    return logger if isinstance(logger, logging.Logger) else logging.getLogger("hypercorn.error")


def reopen(logger: logging.Logger) -> None:
    """Have all files that it writes to opened anew with the next line."""
    one: logging.Logger | None = logger
    while one is not None:
        for handler in one.handlers:
            if isinstance(handler, logging.FileHandler):
                _reopen(handler)
        one = one.parent if one.propagate else None


def _reopen(handler: logging.FileHandler) -> None:
    # Not `close`: a handler that is closed and overwrites its file does not open it again.
    with handler.lock:  # type: ignore[union-attr]
        stream, handler.stream = handler.stream, None
        handler.mode = handler.mode.replace("w", "a").replace("x", "a")  # it is the same run
        if stream is not None:
            stream.close()
