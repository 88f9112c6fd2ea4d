"""A web worker as a process of its own: this module, with the channel's descriptor."""

from __future__ import annotations

import os
import pickle
import signal
import sys

from subpool.integrations.hypercorn._messages import MESSAGE


def main() -> int:
    """Serve as the supervisor says; give the exit code."""
    # A terminal and a service manager signal all processes; the supervisor tells what follows.
    # They are not ignored: what the app starts would ignore them, too.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _heed_not)
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    from subpool.integrations.hypercorn import _worker  # noqa: PLC0415 - signals come first

    channel = _worker.Channel(os.dup(descriptor))
    settings, number, path = pickle.loads(channel.socket.recv(MESSAGE))
    channel.socket.close()
    sys.path[:] = path
    try:
        _worker.serve(settings, number, descriptor)
    except BaseException:  # noqa: BLE001 - it has told the supervisor
        return 1
    return 0


def _heed_not(*_: object) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
