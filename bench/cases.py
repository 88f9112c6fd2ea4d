"""What the benchmarks run in workers.  All of it is shipped by name, so it lives in a module."""

from __future__ import annotations

import os
import threading
import time


def add(a: int, b: int) -> int:
    """A task that costs nothing: what is measured with it is the way there and back."""
    return a + b


def fib(n: int) -> int:
    """CPU-bound: pure Python that holds its GIL throughout and allocates next to nothing."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def who(seconds: float) -> tuple[int, int]:
    """Occupy a worker for `seconds` and say which one it was."""
    time.sleep(seconds)
    return os.getpid(), threading.get_ident()
