"""Tasks and helpers of the fault list, importable by the workers of every pool."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any


def nothing() -> None: ...


def add(first: int, second: int) -> int:
    return first + second


def spin(started: int) -> None:
    os.write(started, b"s")
    while True:
        pass


def nap(started: int, seconds: float) -> None:
    os.write(started, b"s")
    time.sleep(seconds)


def slow(seconds: float) -> None:
    time.sleep(seconds)
    os.write(1, b"done\n")


def fail_to_start() -> None:
    raise LookupError("the initializer")


def lock() -> object:
    import threading

    return threading.Lock()


class Picky(Exception):  # noqa: N818 - a user's
    """One that pickle cannot make again: it wants two arguments and keeps one."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def raise_picky() -> None:
    raise Picky(7, "seven")


def leave(code: int) -> None:
    sys.exit(code)


def recurse(depth: int) -> int:
    return 1 + recurse(depth + 1)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def close_descriptors() -> None:
    os.closerange(3, 256)


def wreck_modules() -> None:
    sys.modules.clear()


def wreck_builtins() -> None:
    import builtins

    del builtins.len, builtins.__import__


def lower_limit() -> None:
    sys.setrecursionlimit(60)


def daemon_thread() -> None:
    import threading

    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()


def own_metaclass() -> None:
    """Do what h11 does at its import: types that are their own types, and never die."""
    import asyncio  # noqa: F401 - something to leak

    class Sentinel(type): ...

    for name in ("a", "b"):
        one: Any = Sentinel(name, (Sentinel,), {})
        one.__class__ = one
        globals()[name] = one


def ended(pid: int) -> str:
    """Tell how a child process ended: nothing if well."""
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return told(code) if code else ""
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"


def told(code: int) -> str:
    return f"dies of {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def memory() -> float:
    """Give what the process occupies, in MiB, after giving back what is free."""
    import ctypes
    import gc

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def outcome(call: Any, *args: Any) -> Any:
    """Give a call's value or its exception."""
    try:
        return call(*args)
    except BaseException as error:  # noqa: BLE001 - that is what is looked at
        return error


def judge(right: bool, saw: object = "") -> None:
    """Say how it went. Whoever says nothing has not got there."""
    text = saw if isinstance(saw, str) else f"{type(saw).__name__}: {saw}"
    sys.stdout.write("right\n" if right else f"wrong: {text.splitlines()[0] if text else ''}\n")
    sys.stdout.flush()
