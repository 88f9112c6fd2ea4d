"""Forks for tests: what a child gives comes back, and a child that hangs is killed."""

import os
import pickle
import signal
import traceback

# Seconds; a child has little to do.
_LONGEST = 30


def forked(body, fork=os.fork):
    """Fork, and give what ``body()`` gives in the child, which ends then."""
    reader, writer = os.pipe()
    pid = fork()
    terminal = None
    if isinstance(pid, tuple):  # forkpty
        pid, terminal = pid
    if pid == 0:
        end_child(body, writer)
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123 - a descriptor
        given = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if terminal is not None:
        os.close(terminal)  # not before: it would hang up
    assert status == 0, f"the child ended with {status}"
    return pickle.loads(given)


def forked_within(act, body):
    """Fork where ``act(fork)`` calls ``fork()``; both processes go on with it.

    Give what it gave here, and what ``body`` makes in the child of what it gave there.
    """
    pids, given = [], []

    def fork():
        pids.append(os.fork())
        if pids == [0]:
            _limit()

    def whole():
        try:
            given.append(act(fork))
        except BaseException:
            if pids == [0]:
                traceback.print_exc()
                os._exit(1)
            raise
        return pids[0]

    there = forked(lambda: body(given[0]), whole)
    return given[0], there


def _limit():
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LONGEST)


def end_child(body, writer):
    """Write what ``body()`` gives, and end the process."""
    status = 1
    try:
        _limit()
        with open(writer, "wb") as file:  # noqa: PTH123
            pickle.dump(body(), file)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
