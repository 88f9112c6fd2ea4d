"""Hypercorn without what most workers never need: HTTP/2, WebSocket and some more.

They are a quarter of a worker's start, and take 7 MB in each. Hypercorn imports them at its top
and uses them in functions only, so they may come when a client first speaks them.

Guarantees: a module that waits is loaded by the first look at something in it, as a whole, and is
from then on an ordinary module. Threads that look at it meanwhile wait for that; each module has
a lock of its own, so that they meet no other order than that in which modules import each other.
Python's own `LazyLoader` will not do: a second `import` of the same module looks at its
``__spec__``, and with that loads it.
"""

from __future__ import annotations

import sys
import threading
from importlib.machinery import PathFinder
from types import ModuleType

TYPE_CHECKING = False  # workers import this (routing.py)
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import TracebackType
    from typing import Any

_LATER = frozenset(
    {
        "h2.connection",
        "h2.events",
        "h2.exceptions",
        "hypercorn.protocol.ws_stream",
        "logging.config",
        "multiprocessing.synchronize",
        "priority",
        "tomllib",
    }
)

# What Hypercorn takes out of them at its top: to call it, or for annotations.
_TAKEN = frozenset(
    {
        ("hypercorn.protocol.ws_stream", "WSStream"),
        ("logging.config", "dictConfig"),
        ("logging.config", "fileConfig"),
        ("multiprocessing.synchronize", "Event"),
    }
)

# What the import system looks at, and what tells that this is a module, and whose.
_OF_IMPORT = frozenset(
    {
        "__cached__",
        "__class__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    }
)

_locks = {name: threading.RLock() for name in _LATER}
_loading: set[str] = set()  # each under its lock


class _StandIn(type):
    """The type of what stands for a class or a function until that is used."""

    _home: ModuleType
    _name: str

    def __call__(cls, *args: Any, **options: Any) -> Any:
        return getattr(cls._home, cls._name)(*args, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, getattr(cls._home, cls._name))


class _Waiting(ModuleType):
    """A module that is loaded when something of it is asked for."""

    def __getattribute__(self, name: str) -> Any:
        plain = super().__getattribute__
        if name not in _OF_IMPORT:
            own = plain("__name__")
            if is_entered and (own, name) in _TAKEN:
                return _StandIn(name, (), {"_home": self, "_name": name})
            with _locks[own]:
                if type(self) is _Waiting and own not in _loading:
                    _load(self)
        return plain(name)


class _Loader:
    """Makes a module that waits."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Waiting(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _load(module: ModuleType) -> None:
    spec: Any = module.__spec__
    loader = spec.loader
    module.__loader__ = spec.loader = loader.real
    _loading.add(module.__name__)
    try:
        loader.real.exec_module(module)
    except BaseException:
        module.__loader__ = spec.loader = loader  # and the next one meets the same
        raise
    else:
        module.__class__ = ModuleType
    finally:
        _loading.discard(module.__name__)


is_entered = False


class Later:
    """While this is entered, those modules are imported only by name."""

    def __enter__(self) -> None:
        global is_entered  # noqa: PLW0603 - an interpreter enters once
        is_entered = True
        sys.meta_path.insert(0, self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global is_entered  # noqa: PLW0603 - as above
        sys.meta_path.remove(self)
        is_entered = False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of them; all others are for those that come after this."""
        if name not in _LATER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


def load_http2() -> None:
    """Import HTTP/2 now, since the first client is likely to need it."""
    import h2.connection  # noqa: PLC0415 - see above

    _ = h2.connection.H2Connection  # any attribute does it
