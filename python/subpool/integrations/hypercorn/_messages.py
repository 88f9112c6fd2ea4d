"""What the supervisor and its workers agree on.

The supervisor sends ``["serve", secure, insecure, quic]`` with that many sockets' descriptors,
``["retire"]`` when another worker has taken the place, ``["stop"]`` at the end of the server.
A worker sends ``["here"]`` when it has its end of the channel, ``["option", name]`` before it loads
what an option needs and ``["option", null]`` after it, ``["loaded"]``, ``["files", ...]``,
``["ready"]``, ``["worn"]`` after its most requests, ``["draining"]`` when it takes no more
connections, ``["cut", n, seconds]``, ``["closing"]`` when the lifespan's end begins,
``["ended", cut]``, and, as a process, ``["failed", text]``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hypercorn.config import Config

MESSAGE = 1 << 17  # bytes, the longest message

_LONG = 60.0


def patience(config: Config, word: str) -> float:
    """Give the seconds that a worker's requests have to end, by what it was told.

    A worker that another one follows costs little, and nobody waits for it. With ``--reload``
    somebody wants to see the new code, also on a connection that stays open.
    """
    if word == "retire" and not config.use_reloader:
        return max(_LONG, config.graceful_timeout)
    return config.graceful_timeout
