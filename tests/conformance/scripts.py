"""Scripts that CPython's tests run in a child process, rewritten to import from subpool.

Such a script says ``from concurrent.futures import InterpreterPoolExecutor``. Left alone it would
test the standard class under the name of ours, and pass. A mention of a pool that the rewriting
does not understand is an error for the same reason.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

# What a script imports from concurrent.futures -> what it gets from subpool. Ours is among the
# keys because the tests write `executor_type.__name__` into their scripts.
FROM_SUBPOOL = {
    "ThreadPoolExecutor": "InterpreterThreadPoolExecutor as ThreadPoolExecutor",
    "InterpreterThreadPoolExecutor": "InterpreterThreadPoolExecutor",
    "InterpreterPoolExecutor": "InterpreterPoolExecutor",
}

_IMPORT = re.compile(
    r"^(?P<indent>[ \t]*)from concurrent\.futures import (?P<names>[\w, ]+)$", re.MULTILINE
)
_CONCURRENT = re.compile(r"\bconcurrent(\.|\s+import\s+)futures\b")
_POOL = re.compile(r"\b(Interpreter|Thread|InterpreterThread)PoolExecutor\b")
_FROM_SUBPOOL = re.compile(r"\bfrom subpool import\b")
_DOTTED_POOL = re.compile(rf"\.\s*{_POOL.pattern}")

# The functions of test.support.script_helper that start a Python or write a script for one.
SCRIPT_HELPERS = (
    "assert_python_ok",
    "assert_python_failure",
    "make_script",
    "run_python_until_end",
    "spawn_python",
)


def rewrite(text: str) -> str:
    """Return `text` with its pools imported from subpool; other text comes back unchanged."""

    def replace(match: re.Match[str]) -> str:
        names = [name.strip() for name in match["names"].split(",")]
        kept = [name for name in names if name not in FROM_SUBPOOL]
        ours = [FROM_SUBPOOL[name] for name in names if name in FROM_SUBPOOL]
        parts = []
        if kept:
            parts.append(f"from concurrent.futures import {', '.join(kept)}")
        if ours:
            parts.append(f"from subpool import {', '.join(ours)}")
        return match["indent"] + "; ".join(parts)  # one line: line numbers stay as they were

    rewritten = _IMPORT.sub(replace, text)
    if uses_standard_pool(rewritten):
        raise AssertionError(f"a script takes its pool from concurrent.futures:\n{rewritten}")
    return rewritten


def uses_standard_pool(text: str) -> bool:
    """Whether `text` is a script that reaches a pool through ``concurrent.futures``."""
    if not _CONCURRENT.search(text):
        return False
    by_name = _POOL.search(text) and not _FROM_SUBPOOL.search(text)
    return bool(by_name or _DOTTED_POOL.search(text))


def rewriting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of ``script_helper``: every text that it is given is rewritten first."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> Any:
        return function(*(rewrite(arg) if isinstance(arg, str) else arg for arg in args), **kwargs)

    return wrapper
