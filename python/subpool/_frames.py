"""A traceback on its way out of a worker. `_tracebacks` makes one of it again, in main.

Imported in workers when a task has failed, so it imports next to nothing.
"""

from __future__ import annotations

from itertools import islice

from subpool._bootstrap import TaskInterrupted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, TracebackType

    # File, name, qualified name, its first line; line, last line, columns; module.
    type Frame = tuple[str, str, str, int, int, int | None, int | None, int | None, str]

_MOST_NAMES = 20


class Frames:
    """The frames of several tracebacks, each described once."""

    def __init__(self) -> None:
        # By addresses, which stay the code's own while its traceback lives.
        self._known: dict[tuple[int, int], Frame] = {}

    def of(self, traceback: TracebackType | None) -> tuple[Frame, ...]:
        """Give the frames of a traceback, the outermost first, without subpool's own."""
        frames: list[Frame] = []
        ours: list[Frame] = []
        while traceback is not None:
            frame = self._frame(traceback)
            module = frame[-1]
            (ours if module == "subpool" or module.startswith("subpool.") else frames).append(frame)
            traceback = traceback.tb_next
        # All ours: a task of our own, or our own mistake, which should be found.
        return tuple(frames or ours)

    def _frame(self, traceback: TracebackType) -> Frame:
        code, place = traceback.tb_frame.f_code, traceback.tb_lasti
        frame = self._known.get((id(code), place))
        if frame is None:
            module = traceback.tb_frame.f_globals.get("__name__")
            frame = _describe(code, place, traceback.tb_lineno, module)
            self._known[id(code), place] = frame
        return frame


def _describe(code: CodeType, place: int, line: int | None, module: object) -> Frame:
    positions = next(islice(code.co_positions(), place // 2, None), None) if place >= 0 else None
    first, *rest = positions or (None, None, None, None)
    if first is None or first != line:
        first, rest = line or code.co_firstlineno, [None, None, None]
    last, begin, end = rest
    return (
        code.co_filename, code.co_name, code.co_qualname, code.co_firstlineno,
        first, last, begin, end,
        module if type(module) is str else "",
    )  # fmt: skip


def names_near(error: BaseException, traceback: TracebackType | None) -> tuple[str, ...]:
    """Give the names that could have been meant: main could not tell without the names here.

    Which of them it is, `traceback` finds out in main; what it needs for that loads only there.
    """
    if type(error) not in (NameError, UnboundLocalError, AttributeError) or traceback is None:
        return ()
    try:
        wrong = error.name  # type: ignore[attr-defined]
        if type(error) is AttributeError:
            names = dir(error.obj)
        else:
            while traceback.tb_next is not None:
                traceback = traceback.tb_next
            names = [*traceback.tb_frame.f_locals, *traceback.tb_frame.f_globals]
        near = (name for name in names if type(name) is str and _is_like(name, wrong))
        return tuple(islice(near, _MOST_NAMES))
    except TaskInterrupted:
        raise
    except BaseException:  # noqa: BLE001 - a user's __dir__ may raise anything; it is only a hint
        return ()


def _is_like(name: str, wrong: str) -> bool:
    """Tell whether at most every third letter or so differs, in whatever order they come."""
    limit = (len(name) + len(wrong) + 3) // 6
    if abs(len(name) - len(wrong)) > limit:
        return False
    rest, missing = list(wrong.lower()), 0
    for letter in name.lower():
        if letter in rest:
            rest.remove(letter)
        else:
            missing += 1
    return max(missing, len(rest)) <= limit
