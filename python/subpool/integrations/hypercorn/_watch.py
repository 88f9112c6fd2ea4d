"""Which files an app consists of, and whether they have changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    type _Stamp = tuple[int, int] | None


class Watch:
    """Files, and how they were when they were looked at last."""

    def __init__(self) -> None:
        self._stamps: dict[str, _Stamp] = {}

    def add(self, files: Iterable[str], since: int) -> None:
        """Watch these, too: one that has changed `since` then (in ns) may have been read before."""
        for file in files:
            if file not in self._stamps:
                stamp = _stamp(file)
                if stamp is not None and stamp[0] > since:
                    stamp = None
                self._stamps[file] = stamp

    def changed(self) -> list[str]:
        """Give the files that have changed, come or gone since the last time."""
        found = [file for file, stamp in self._stamps.items() if _stamp(file) != stamp]
        for file in found:
            self._stamps[file] = _stamp(file)
        return found


def _stamp(file: str) -> _Stamp:
    try:
        status = Path(file).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def files_of(error: BaseException) -> set[str]:
    """Name the files that an error is about, and those in which what it has missed may come to be.

    A module that fails is in no interpreter's ``sys.modules``.
    """
    found: set[str] = set()
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
        trace = one.__traceback__
        while trace is not None:
            found.add(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        if isinstance(one, SyntaxError) and one.filename:
            found.add(one.filename)
        if isinstance(one, ImportError) and one.path:
            found.add(one.path)
        if isinstance(one, ModuleNotFoundError) and one.name:
            found |= _where(one.name)
    return {file for file in found if not file.startswith("<")}


def _where(name: str) -> set[str]:
    """Name the files that a module could be in."""
    package, _, last = name.rpartition(".")
    folders = getattr(sys.modules.get(package), "__path__", []) if package else sys.path
    return {
        str(Path(folder, *parts).absolute())
        for folder in folders
        for parts in ((f"{last}.py",), (last, "__init__.py"))
    }
