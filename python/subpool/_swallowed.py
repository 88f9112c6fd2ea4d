"""Recognise libraries that fail because they went on without a refused extension module.

polars does so: it imports, and its functions raise `NameError`. Used by `_incompatible.refusal`,
in workers, for errors that are no refusals themselves.
"""

from __future__ import annotations

import sys

from subpool._bootstrap import text_of
from subpool._incompatible import is_installed, is_refusal, stem

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ModuleType = type(sys)

_MOST_FOLDERS = 2000
_MOST_TRIES = 20

_scanned: dict[str, tuple[str, str, str] | None] = {}


def broken_inside(
    error: BaseException, frames: list[tuple[FrameType, int]]
) -> tuple[str, str, str, str] | None:
    """Tell whether a library fails because it went on without its refused extension module.

    polars does. Its functions then raise `NameError`. What else a library raises may have
    any reason, so only errors count that say that a name is not there.
    """
    if not frames:
        return None
    package, wanted = _suspect(error, frames[-1][0])
    if package is None:
        return None
    found = _refused_in(package)
    if found is None or (wanted is not None and not _mentions(package, wanted)):
        return None
    return package, *found


def _suspect(error: BaseException, frame: FrameType) -> tuple[str | None, str | None]:
    """Give the package that may lack a part of itself, and the name that is not there.

    The name only where it is the user's code that asks for it.
    """
    if isinstance(error, AttributeError):
        if type(error.obj) is ModuleType:
            return _top_package(error.obj.__name__), error.name
        if _is_about_none(error) and _has_global_none(frame):
            return _package_of(frame), None
    elif isinstance(error, TypeError):
        if _is_about_none(error) and _has_global_none(frame):
            return _package_of(frame), None
    elif isinstance(error, ImportError):
        if error.name_from is not None:
            return _top_package(error.name), error.name_from
    elif isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        return _package_of(frame), None
    return None, None


def _package_of(frame: FrameType) -> str | None:
    return _top_package(frame.f_globals.get("__name__"))


def _is_about_none(error: BaseException) -> bool:
    return "'NoneType' object" in text_of(error)


def _has_global_none(frame: FrameType) -> bool:
    """Tell whether the code uses a global that is ``None``, as those of a failed import are."""
    names = frame.f_globals
    return any(names.get(name, names) is None for name in frame.f_code.co_names)


def _top_package(name: object) -> str | None:
    """Give the package at the top of a module's name, if it is an installed one.

    A mistake in the user's own code is more likely than a part that is missing there.
    """
    if type(name) is not str or name.startswith("subpool."):
        return None
    top = name.partition(".")[0]
    folders = getattr(sys.modules.get(top), "__path__", ())
    return top if any(is_installed(str(folder)) for folder in folders) else None


def _refused_in(package: str) -> tuple[str, str, str] | None:
    """Find an extension module of a package that is not loaded, and is refused here."""
    if package not in _scanned:
        _scanned[package] = next(_scan(package), None)
    return _scanned[package]


def _scan(package: str) -> Iterator[tuple[str, str, str]]:
    tried = 0
    for folder in _folders_of(package):
        parent, _, name = folder.rpartition("/")
        for full, path in _extensions_below(parent, name):
            if full in sys.modules or "test" in full:
                continue
            text = _refusal_of(full, path)
            if text:
                yield full, path, text
            tried += 1
            if tried >= _MOST_TRIES:
                return


def _folders_of(package: str) -> list[str]:
    """Give a package's folders, and those beside it that bear its name: parts of it, often."""
    import posix  # noqa: PLC0415 - built in

    own = [str(folder).rstrip("/") for folder in sys.modules[package].__path__]
    parts: list[str] = []
    for folder in own:
        parent = folder.rpartition("/")[0]
        parts += (
            f"{parent}/{name}"
            for name in sorted(posix.listdir(parent))
            if package in name and name != package and "." not in name and "-" not in name
        )
    return own + parts


def _extensions_below(root: str, name: str) -> Iterator[tuple[str, str]]:
    """Give name and file of the extension modules in a package, the outer ones first."""
    import posix  # noqa: PLC0415 - built in

    folders = [name]
    for seen, folder in enumerate(folders):
        if seen > _MOST_FOLDERS:
            return
        try:
            entries = sorted(posix.scandir(f"{root}/{folder}"), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{folder}/{entry.name}")
                continue
            base = stem(entry.name)
            if base:
                yield f"{folder}/{base}".replace("/", "."), entry.path


def _refusal_of(name: str, path: str) -> str | None:
    """Try to load an extension module, without its package; give the words of a refusal."""
    import _frozen_importlib as importlib  # noqa: PLC0415 - built in
    import _frozen_importlib_external as machinery  # noqa: PLC0415 - built in

    loader = machinery.ExtensionFileLoader(name, path)
    spec = importlib.ModuleSpec(name, loader, origin=path)
    try:
        loader.create_module(spec)
    except ImportError as error:
        return text_of(error) if is_refusal(error) else None
    except Exception:  # noqa: BLE001 - it fails for a reason of its own
        return None
    return None


def _mentions(package: str, name: str) -> bool:
    """Tell whether a package's own sources know a name, so that it is no slip of the user's."""
    import posix  # noqa: PLC0415 - built in

    word = name.encode()
    for folder in sys.modules[package].__path__:
        for entry in posix.scandir(folder):
            if entry.name.endswith(".py"):
                with open(entry.path, "rb") as file:  # noqa: PTH123 - pathlib is slow to import
                    if word in file.read():
                        return True
    return False
