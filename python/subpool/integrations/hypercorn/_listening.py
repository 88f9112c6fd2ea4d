"""What the server has to itself: its listening sockets, and the file with its number.

Guarantees: a second server that is started by mistake gets no socket of the first one's, and leaves
its file alone.
"""

from __future__ import annotations

import contextlib
import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from hypercorn.config import Config, Sockets

_MOST_DESCRIPTORS = 1 << 16  # more does not help, and some programs close all that there may be


class Listening:
    """The sockets, which are made once, when the app has loaded."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._has_written = False
        self.sockets: Sockets | None = None

    def open(self) -> Sockets:
        """Make the sockets, and let clients wait in their queues from now on."""
        config = copy.copy(self._config)
        # With more Hypercorn shares the port with whoever asks for it (SO_REUSEPORT).
        config.workers = 1
        self.sockets = sockets = config.create_sockets()
        for sock in self._all():
            sock.set_inheritable(False)
            if sock not in sockets.quic_sockets:
                sock.listen(self._config.backlog)
        return sockets

    def write_pid(self) -> None:
        """Write this process's number into the file for it, if there is to be one."""
        if self._config.pid_path is not None:
            Path(self._config.pid_path).write_text(str(os.getpid()), encoding="ascii")
            self._has_written = True

    def remove_pid(self) -> None:
        """Remove that file, if it is still ours."""
        if self._config.pid_path is None or not self._has_written:
            return
        path = Path(self._config.pid_path)
        with contextlib.suppress(OSError):
            if path.read_text(encoding="ascii") == str(os.getpid()):
                path.unlink()

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._all():
            sock.close()

    def _all(self) -> list[Any]:
        sockets = self.sockets
        if sockets is None:
            return []
        return [*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets]


def raise_limit() -> None:
    """Allow as many descriptors as may be: all workers share this process's."""
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
