"""The filters of warnings, on their way from main to the workers.

Imported in workers if main's filters are not those that CPython starts with, so it imports next to
nothing. A pattern is compiled when it is first needed, and a category is known by its name, since
the module that defines it may never be imported there.
"""

from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    # action, message, category (module and name), module, line
    type Described = tuple[str, _Text, tuple[str, str], _Text, int]
    type _Text = str | tuple[str, int] | None

# As CPython starts (Python/_warnings.c): a debug build has none.
_DEFAULT: list[Described] = [
    ("default", None, ("builtins", "DeprecationWarning"), "__main__", 0),
    ("ignore", None, ("builtins", "DeprecationWarning"), None, 0),
    ("ignore", None, ("builtins", "PendingDeprecationWarning"), None, 0),
    ("ignore", None, ("builtins", "ImportWarning"), None, 0),
    ("ignore", None, ("builtins", "ResourceWarning"), None, 0),
]
if hasattr(sys, "gettotalrefcount"):
    _DEFAULT = []


def describe_filters(filters: Iterable[object]) -> bytes | None:
    """Put main's ``warnings.filters`` in plain words; ``None``: they are as CPython starts.

    What does not look like a filter is left out.
    """
    described = []
    for item in filters:
        try:
            action, message, category, module, line = item  # type: ignore[misc]
            named = category.__module__, category.__qualname__
            plain = str(action), _plain(message), named, _plain(module), int(line)
            marshal.dumps(plain)
        except Exception:  # noqa: BLE001, S112 - a program may put anything there
            continue
        described.append(plain)
    return None if described == _DEFAULT else marshal.dumps(described)


def _plain(pattern: Any) -> _Text:
    if pattern is None or isinstance(pattern, str):
        return pattern
    return pattern.pattern, pattern.flags


class Pattern:
    """What the warnings module asks of a compiled pattern; compiled when it is first asked."""

    __slots__ = ("_compiled", "flags", "pattern")

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags
        self._compiled: Any = None

    def match(self, text: str) -> object:
        if self._compiled is None:
            import re  # noqa: PLC0415 - most workers never warn

            self._compiled = re.compile(self.pattern, self.flags)
        return self._compiled.match(text)

    def __eq__(self, other: object) -> bool:
        try:
            return (self.pattern, self.flags) == (other.pattern, other.flags)  # type: ignore[attr-defined]
        except AttributeError:
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"<pattern {self.pattern!r}>"


class _ByName(type):
    """The type of stand-ins for categories: a class is of one if it, or a base, has its name."""

    def __subclasscheck__(cls, subclass: type) -> bool:
        return any(
            base.__qualname__ == cls.__qualname__ and base.__module__ == cls.__module__
            for base in subclass.__mro__
        )

    def __eq__(cls, other: object) -> bool:
        return (
            isinstance(other, type)
            and other.__qualname__ == cls.__qualname__
            and other.__module__ == cls.__module__
        )

    def __hash__(cls) -> int:
        return hash(cls.__qualname__)


def _made(described: Described) -> tuple[Any, ...]:
    action, message, (home, name), module, line = described
    if home == "builtins":
        category = getattr(sys.modules[home], name)
    else:
        category = _ByName(name.rpartition(".")[2], (Warning,), {})
        category.__module__, category.__qualname__ = home, name
    message, module = (
        Pattern(*text) if isinstance(text, tuple) else text for text in (message, module)
    )
    return action, message, category, module, line


def adopt_filters(old: bytes | None, new: bytes | None) -> None:
    """Put main's filters in the place of those that it had before, here.

    What this interpreter's own code has put before or behind them stays there.
    """
    # Before the look at the filters: it adds what ``-W`` says.
    import warnings  # noqa: PLC0415 - main imports this module, too

    filters = warnings.filters
    before = [_made(item) for item in (_DEFAULT if old is None else marshal.loads(old))]
    after = [_made(item) for item in (_DEFAULT if new is None else marshal.loads(new))]
    if not _adopted:
        # The interpreter is as it began, or nearly so.
        _adopted.append(True)
        before += filters
    own = [item not in before for item in filters]
    first = own.index(False) if False in own else len(own)
    rest = [item for item, is_own in zip(filters[first:], own[first:], strict=True) if is_own]
    filters[first:] = after + rest  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way


_adopted: list[bool] = []
