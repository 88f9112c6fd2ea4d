"""A web worker as a process of its own: ``python -m subpool.integrations.hypercorn._process FD``."""

from __future__ import annotations

import os
import pickle
import signal
import sys

from subpool.integrations.hypercorn._errors import report
from subpool.integrations.hypercorn._messages import MESSAGE


def main() -> int:
    """Serve as the supervisor says; give the exit code."""
    # The terminal's Ctrl-C and hang-up reach all processes; the supervisor tells what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    from subpool.integrations.hypercorn import _worker  # noqa: PLC0415 - signals come first

    channel = _worker.Channel(os.dup(descriptor))
    settings, number, path = pickle.loads(channel.socket.recv(MESSAGE))
    channel.socket.close()
    sys.path[:] = path
    try:
        _worker.serve(settings, number, descriptor)
    except BaseException as error:  # noqa: BLE001 - told, and then it ends
        report(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
