"""What workers do when certain modules are imported there (src/on_import.rs).

Imported in workers only, by the first import of such a module.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_native: Any = sys.modules.get("_subpool_worker")


def adopt(name: str) -> None:
    """Adapt the module `name`, which has been imported."""
    adapter = _native.on_import[name]
    __import__(adapter)
    sys.modules[adapter].adopt(sys.modules[name])


def find_spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Find the module as the other finders do, to be adapted when it has been executed."""
    for finder in sys.meta_path:
        find = None if finder is _native else getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, path, None)
        if spec is not None:
            if hasattr(spec.loader, "exec_module"):
                spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
            return spec
    return None


class _Loader:
    """Steps aside for the true loader before the module's code runs."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None  # noqa: S101 - the import system sets it
        spec.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        try:
            adopt(spec.name)
        except Exception:  # noqa: BLE001 - the import has not failed
            sys.excepthook(*sys.exc_info())
