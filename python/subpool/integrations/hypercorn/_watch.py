"""Which files an app consists of, and whether they have changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    type _Stamp = tuple[int, int] | None


class Watch:
    """Files, and how they were when they were looked at last."""

    def __init__(self) -> None:
        self._stamps: dict[str, _Stamp] = {}

    def add(self, files: Iterable[str]) -> None:
        """Watch these, too."""
        for file in files:
            if file not in self._stamps:
                self._stamps[file] = _stamp(file)

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
