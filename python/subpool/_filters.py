"""The filters of warnings, in a worker: main's take the place of CPython's own.

Not imported there: the native side brings the code along, because the first import from a path
costs a new interpreter milliseconds. So it imports what is built in and nothing else, not even
from ``__future__``. A pattern is compiled when it is first needed, and a category is known by its
name, since the module that defines it may never be imported there.
"""

import marshal
import sys

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from typing import Any

    # The action, the message, the category's module and name, the module and the line.
    type Text = str | tuple[str, int] | None
    type Described = tuple[str, Text, tuple[str, str], Text, int]

# As CPython starts (Python/_warnings.c): a debug build has none.
DEFAULT: "list[Described]" = [
    ("default", None, ("builtins", "DeprecationWarning"), "__main__", 0),
    ("ignore", None, ("builtins", "DeprecationWarning"), None, 0),
    ("ignore", None, ("builtins", "PendingDeprecationWarning"), None, 0),
    ("ignore", None, ("builtins", "ImportWarning"), None, 0),
    ("ignore", None, ("builtins", "ResourceWarning"), None, 0),
]
if hasattr(sys, "gettotalrefcount"):
    DEFAULT = []


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
        return any(cls == base for base in subclass.__mro__)

    def __eq__(cls, other: object) -> bool:
        return (
            isinstance(other, type)
            and other.__qualname__ == cls.__qualname__
            and other.__module__ == cls.__module__
        )

    def __hash__(cls) -> int:
        return hash(cls.__qualname__)


def _read(filters: bytes | None) -> "list[tuple[Any, ...]]":
    described = DEFAULT if filters is None else marshal.loads(filters)  # noqa: S302 - main's own
    return [_made(item) for item in described]


def _made(described: "Described") -> "tuple[Any, ...]":
    action, message, (home, name), module, line = described
    if home == "builtins":
        category = getattr(sys.modules[home], name)
    else:
        category = _ByName(name.rpartition(".")[2], (Warning,), {})
        category.__module__, category.__qualname__ = home, name
    return action, _compiled(message), category, _compiled(module), line


def _compiled(text: "Text") -> "Pattern | str | None":
    return Pattern(*text) if isinstance(text, tuple) else text


def adopt(old: bytes | None, new: bytes | None) -> None:
    """Put main's filters in the place of those that it had before, here.

    What this interpreter's own code has put before or behind them stays there.
    """
    if sys.warnoptions:
        # It puts what ``-W`` says before all others, and so must be there first.
        import warnings  # noqa: F401, PLC0415 - as above
    native: Any = sys.modules["_warnings"]  # built in, and always there
    # Until `warnings` is imported CPython looks at this list, which that will take over.
    module: Any = sys.modules.get("warnings", native)
    filters: Any = module.filters
    before, after = _read(old), _read(new)
    if not _adopted:
        _adopted.append(True)
        if sys.warnoptions:
            before += filters  # what it has of ``-W``, main has too
    own = [item not in before for item in filters]
    first = own.index(False) if False in own else len(own)
    kept = [item for item, is_own in zip(filters[first:], own[first:], strict=True) if is_own]
    filters[first:] = after + kept
    # What has been decided by the old ones is forgotten.
    if hasattr(native, "_acquire_lock"):  # since 3.14
        native._acquire_lock()  # noqa: SLF001 - as `warnings` does
        try:
            native._filters_mutated_lock_held()  # noqa: SLF001
        finally:
            native._release_lock()  # noqa: SLF001
    else:
        native._filters_mutated()  # noqa: SLF001


_adopted: "list[bool]" = []
