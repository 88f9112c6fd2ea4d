"""What the benchmarks run in workers.

All of it is shipped by name, and every worker imports this module, so it imports little.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

_kept: dict[tuple[str, int], Any] = {}


def add(a: int, b: int) -> int:
    """A task that costs nothing: what is measured with it is the way there and back."""
    return a + b


def nothing() -> None:
    """A task that costs nothing and has nothing to carry."""


def who(seconds: float) -> tuple[int, int]:
    """Occupy a worker for `seconds` and say which one it was."""
    time.sleep(seconds)
    return os.getpid(), threading.get_ident()


def spin(turns: int) -> int:
    """CPU-bound: pure Python that holds its GIL throughout and keeps nothing."""
    value = 0
    for i in range(turns):
        value ^= i
    return value


def look(data: Any) -> tuple[int, Any, Any, Any]:
    """Take something big, and tell enough of it to know that it came over whole."""
    if isinstance(data, dict):
        data = data["payload"]
    return len(data), data[0], data[len(data) // 2], data[-1]


def keep(wanted: tuple[str, int]) -> tuple[int, int]:
    """Have something big ready for `give`."""
    give(wanted)
    return who(0.01)


def give(wanted: tuple[str, int]) -> Any:
    """Send something big back: always the same, so that making it is not measured."""
    if wanted not in _kept:
        _kept[wanted] = payload(*wanted)
    return _kept[wanted]


def echo(value: Any) -> Any:
    """Send back what came."""
    return value


def payload(kind: str, size: int) -> Any:
    """Make `size` bytes of this kind, without long runs of one value."""
    pattern = bytes(range(128)) * (size // 128)
    match kind:
        case "bytes":
            return pattern
        case "bytearray":
            return bytearray(pattern)
        case "array":
            from array import array

            return array("q", pattern)
        case "memoryview":
            return memoryview(bytearray(pattern))
        case "str":
            return pattern.decode("ascii")
    raise ValueError(kind)


def document() -> dict[str, Any]:
    """What a web service might answer: a thousand records, about 6,000 strings and numbers."""
    return {
        "total": 1000,
        "next": None,
        "records": [
            {
                "id": 1_000_000 + i,
                "name": f"record number {i}",
                "active": i % 3 == 0,
                "score": i / 7,
                "tags": [f"tag{i % 50}", f"group{i % 7}"],
                "owner": {"id": i % 100, "email": f"user{i % 100}@example.org", "phone": None},
            }
            for i in range(1000)
        ],
    }
