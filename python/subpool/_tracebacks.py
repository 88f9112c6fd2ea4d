"""Tracebacks of a worker's frames, made anew in main.

A traceback shows code objects by their file, name and positions, so code that was never run but
says the same is shown the same: by `traceback`, `pdb`, `logging`, pytest and IPython. The source
lines are looked up in main, which knows more of them (what was typed into a REPL or a notebook).
"""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any

from subpool._exceptions import LeftBehind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from subpool._frames import Frame


# A generator that has not begun has a frame with nothing in it and nobody above it.
def _template() -> Iterator[None]:
    yield


_CODE = _template.__code__
_UNITS = len(_CODE.co_code) // 2

_LEFT = LeftBehind("<left in the worker>", "object", "")

# Kinds of entries in a code object's table of positions (CPython: InternalDocs/code_objects.md).
_NO_COLUMNS, _LONG = 13, 14
_MOST_UNITS = 8


def traceback(frames: tuple[Frame, ...], names: tuple[str, ...] = ()) -> TracebackType | None:
    """Build the traceback that shows these frames, the outermost first.

    The innermost frame knows the `names`, for `traceback` to choose from if one was misspelled.
    """
    built: TracebackType | None = None
    made: dict[Frame, FrameType] = {}
    for frame in reversed(frames):
        # A frame that comes again, as in a recursion without end, is the same one.
        if (here := made.get(frame)) is None:
            here = made[frame] = _frame(frame)
            if built is None:
                for name in names:
                    here.f_globals.setdefault(name, _LEFT)
        built = TracebackType(built, here, 0, frame[4])
    return built


def _frame(frame: Frame) -> FrameType:
    file, module = frame[0], frame[-1]
    namespace: dict[str, Any] = {"__name__": module, "__file__": file}
    here = getattr(sys.modules.get(module), "__dict__", None)
    if type(here) is dict and here.get("__file__") == file:
        # Who can tell its source, if it is in no file (an archive's member).
        for name in ("__loader__", "__spec__"):
            if name in here:
                namespace[name] = here[name]
    generator = FunctionType(_code(frame[:-1]), namespace)()
    return generator.gi_frame  # type: ignore[no-any-return]


@lru_cache(512)
def _code(frame: tuple[Any, ...]) -> CodeType:
    file, name, qualname, first, line, *rest = frame
    return _CODE.replace(
        co_filename=file,
        co_name=name,
        co_qualname=qualname,
        co_firstlineno=first,
        co_linetable=_table(line - first, *_columns(line, *rest)),
    )


def _columns(line: int, last: int | None, begin: int | None, end: int | None) -> tuple[int, ...]:
    if last is None or begin is None or end is None or last < line:
        return ()
    return last - line, begin + 1, end + 1


def _table(delta: int, *columns: int) -> bytes:
    """Give a table of positions that has the same one for each instruction."""
    kind = _LONG if columns else _NO_COLUMNS
    table = bytearray()
    for begin in range(0, _UNITS, _MOST_UNITS):
        units = min(_MOST_UNITS, _UNITS - begin)
        table.append(0x80 | kind << 3 | units - 1)
        _number(table, -delta << 1 | 1 if delta < 0 else delta << 1)
        for number in columns:
            _number(table, number)
        delta = 0  # from one entry to the next
    return bytes(table)


def _number(table: bytearray, number: int) -> None:
    while number >= 64:  # noqa: PLR2004 - six bits a byte
        table.append(0x40 | number & 0x3F)
        number >>= 6
    table.append(number)
