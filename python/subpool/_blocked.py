"""Packages that cannot be imported in this worker, since an extension module of theirs refused.

To find that out takes an import that does most of its work first. The second one fails at once.
"""

from __future__ import annotations

import sys
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import NoReturn

    from subpool._incompatible import Refusal

# What was refused, for each package, and where the package was found then.
_blocked: dict[str, tuple[Refusal, str | None]] = {}


def block(refusal: Refusal) -> None:
    """Remember that the package of the refused module cannot be imported, if it was not."""
    package = refusal.name.partition(".")[0]
    if package in sys.modules or package in _blocked or not package:
        return  # it does without
    spec = PathFinder.find_spec(package)
    if spec is not None:
        _blocked[package] = refusal, spec.origin
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)


class _Finder:
    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _blocked:
            return None
        refusal, origin = _blocked[name]
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.origin != origin:
            return None
        spec.loader = _Loader(refusal)  # type: ignore[assignment]
        return spec


class _Loader:
    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def create_module(self, _spec: ModuleSpec) -> NoReturn:
        name, path, text, _ = self._refusal
        error = ImportError(text, name=name, path=path)
        error.subpool_refusal = self._refusal  # type: ignore[attr-defined]
        raise error

    def exec_module(self, _module: ModuleType) -> None:
        """Never comes: there is no module. Its absence would mean an old kind of loader."""
