"""What the doctor examines: distributions, with the modules and extension modules they have."""

from __future__ import annotations

import itertools
import re
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
# No part of a library, though many install them by mistake.
_NOT_ITS_OWN = {"test", "tests", "testing", "doc", "docs", "examples", "benchmarks", "bin"}
_DEEPEST = 4
"""Folders to look into for the first package below namespaces such as ``google``."""
_MOST_EXTENSIONS = 20
_MOST_SOURCES = 200
_MOST_USERS = 10


class UsageError(Exception):
    """What was asked for makes no sense; the text says why."""


@dataclass(frozen=True)
class Target:
    """One thing to examine.

    Attributes:
        modules: Its outermost modules; without any there is nothing to load.
        extensions: Its extension modules.
        users: Those of its modules whose source names an extension module.
        requires: The distributions it may need, also the optional ones.

    """

    name: str
    version: str = ""
    installed: bool = True
    modules: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    requires: frozenset[str] = field(default_factory=frozenset)


def normalized(name: str) -> str:
    """Write a distribution's name as PyPI does."""
    return re.sub(r"[-_.]+", "-", name).lower()


def everything() -> list[Target]:
    """Give all installed distributions that have something to load, but for subpool."""
    found = (_of(distribution) for key, distribution in _installed().items() if key != "subpool")
    return [target for target in found if target.modules]


def named(names: Iterable[str]) -> list[Target]:
    """Give the distributions, or the modules, with these names."""
    return [_named(name) for name in dict.fromkeys(names)]


def required_by(file: Path) -> list[Target]:
    """Give what a requirements file names, with the files that it includes."""
    return _required(_lines(file, set()))


def of_project(folder: Path) -> list[Target]:
    """Give what the ``pyproject.toml`` in a folder names as its dependencies."""
    file = folder / "pyproject.toml"
    try:
        with file.open("rb") as source:
            content = tomllib.load(source)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    project = content.get("project", {})
    if "dependencies" in project:
        return _required(project["dependencies"])
    poetry = content.get("tool", {}).get("poetry", {}).get("dependencies")
    if poetry is not None:
        return _required(name for name in poetry if name != "python")
    if "dependencies" in project.get("dynamic", ()):
        raise UsageError(f"{file} leaves its dependencies to the build: use --requirements FILE")
    return []


@cache
def _installed() -> dict[str, metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a broken installation has none
            found.setdefault(normalized(name), distribution)
    return dict(sorted(found.items()))


def _named(name: str) -> Target:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"{name!r} is no name of a distribution or a module")
    installed = _installed()
    distribution = installed.get(normalized(name))
    if distribution is None:  # then a module's name
        top = name.partition(".")[0]
        for owner in metadata.packages_distributions().get(top, ()):
            candidate = _of(installed[normalized(owner)])
            if any(f"{name}.".startswith(f"{module}.") for module in candidate.modules):
                return candidate
        return _module(name)
    return _of(distribution)


def _module(name: str) -> Target:
    """Give a module that no distribution has: the standard library's, or the user's own."""
    try:
        found = find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a parent is missing, or no package
        found = None
    if found is None:
        return Target(name, installed=False)
    standard = name.partition(".")[0] in sys.stdlib_module_names
    version = ".".join(map(str, sys.version_info[:3])) if standard else ""
    return Target(name, version, modules=(name,))


def _of(distribution: metadata.Distribution) -> Target:
    modules, extensions, sources = _contents(distribution)
    extensions = extensions[:_MOST_EXTENSIONS]
    return Target(
        distribution.metadata["Name"],
        distribution.version,
        modules=tuple(modules),
        extensions=tuple(extensions),
        users=tuple(_naming(extensions, sources)),
        requires=frozenset(
            normalized(match[0]) for match in map(_NAME.match, distribution.requires or ()) if match
        ),
    )


def _contents(
    distribution: metadata.Distribution,
) -> tuple[list[str], list[str], dict[str, Path]]:
    """Give a distribution's outermost modules, its extension modules, and its sources."""
    files = [PurePosixPath(str(file)) for file in distribution.files or ()]
    modules: dict[str, int] = {}
    extensions = []
    sources = {}
    for file in files:
        full = _module_of(file)
        if full is None:
            continue
        if file.suffix != ".py":
            extensions.append(full)
        else:
            sources[full] = Path(str(distribution.locate_file(str(file))))
        modules[full] = full.count(".")
    packages = {".".join(file.parts[:-1]) for file in files if file.name == "__init__.py"}
    outer = [
        name
        for name in modules
        if modules[name] <= _DEEPEST
        and not any(parent in packages for parent in _parents(name))
        and (modules[name] == 0 or name in packages)
    ]
    if not outer:
        # Editable, or installed by something that keeps no list of files.
        listed = (distribution.read_text("top_level.txt") or "").split()
        guesses = listed or [distribution.metadata["Name"].replace("-", "_")]
        outer = [name for name in guesses if name.isidentifier() and _can_be_found(name)]
    public = [name for name in outer if not name.rpartition(".")[2].startswith("_")]
    ordered = sorted(set(extensions), key=lambda name: (name.count("."), name))
    return public or outer, ordered, sources


def _naming(extensions: list[str], sources: dict[str, Path]) -> list[str]:
    """Give the modules that name an extension module beside them: they know how to do without."""
    found: dict[str, None] = {}
    for extension in extensions:
        package, _, name = extension.rpartition(".")
        word = re.compile(rb"\b%b\b" % re.escape(name.encode()))
        beside = (module for module in sources if module.rpartition(".")[0] == package)
        for module in itertools.islice(beside, _MOST_SOURCES):
            with suppress(OSError):
                if word.search(sources[module].read_bytes()):
                    found[module] = None
    return list(found)[:_MOST_USERS]


def _module_of(file: PurePosixPath) -> str | None:
    """Give the name of the module in a file, if it is one that users import."""
    if file.suffix == ".py":
        stem = file.stem
    else:
        suffix = next((end for end in EXTENSION_SUFFIXES if file.name.endswith(end)), None)
        if suffix is None:
            return None
        stem = file.name.removesuffix(suffix)
    parts = [*file.parts[:-1], *([] if stem == "__init__" else [stem])]
    if not parts or not all(part.isidentifier() for part in parts) or stem == "__main__":
        return None
    if not _NOT_ITS_OWN.isdisjoint(parts) or any(part.startswith("test_") for part in parts):
        return None
    return ".".join(parts)


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _can_be_found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _required(requirements: Iterable[str]) -> list[Target]:
    """Give the distributions of requirements such as ``name[extra]>=1; marker``."""
    installed = _installed()
    targets: dict[str, Target] = {}
    for requirement in requirements:
        match = _NAME.match(requirement)
        if match is None:
            raise UsageError(
                f"cannot tell which distribution the requirement {requirement!r} names"
            )
        key = normalized(match[0])
        if key in installed:
            targets[key] = _of(installed[key])
        elif _applies(requirement):
            targets[key] = Target(match[0], installed=False)
    return list(targets.values())


def _applies(requirement: str) -> bool:
    """Tell whether a requirement's marker holds here; only where it can be evaluated is it not."""
    _, _, marker = requirement.partition(";")
    if not marker.strip():
        return True
    try:
        from packaging.markers import Marker  # noqa: PLC0415 - need not be installed
    except ImportError:
        return False  # a marker is most often why something is not installed
    return bool(Marker(marker.strip()).evaluate({"extra": ""}))


def _lines(file: Path, seen: set[Path]) -> Iterator[str]:
    """Give the requirements of a file, without its comments and its options for pip."""
    if file.resolve() in seen:
        return
    seen.add(file.resolve())
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None
    for raw in text.replace("\\\n", " ").splitlines():
        line = re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()
        included = re.match(r"(?:-r|--requirement)[ =]*(.+)", line)
        if included:
            yield from _lines(file.parent / included[1].strip(), seen)
        elif line and not line.startswith("-"):
            yield re.split(r"\s--", line, maxsplit=1)[0]
