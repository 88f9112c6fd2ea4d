"""Recognise extension modules that refuse to load in an interpreter with its own GIL.

`refusal` looks at the exception of a task: in a worker, when something has failed, so this module
imports next to nothing. It goes by the root cause, not by the wrapper's text, and it is careful:
to take a user's own error for a refusal would be worse than to miss one. The other functions are
main's, and say what was found.
"""

from __future__ import annotations

import sys

from subpool._bootstrap import text_of

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any, Self

# CPython's words (Python/import.c): the module is named, sometimes without its package.
_NAMED = " does not support loading in subinterpreters"

# The words of those who look themselves, or fail when they are loaded a second time.
_NAMELESS = (
    "failed to import from subinterpreter",  # CPython, if the module's first half fails in main
    "cannot load module more than once per process",  # numpy, and others after CPython's manual
    "this module can only be loaded into one interpreter per process",  # Cython
    "do not yet support subinterpreters",  # PyO3
    "may only be initialized once per interpreter process",  # PyO3, abi3 before 3.9
)

# What else a library raises may have any reason; these say that something is not there.
_NOT_THERE = (NameError, AttributeError, TypeError, ImportError)

_MOST_NODES = 100


# No `NamedTuple`, as in _bootstrap.py.
class Refusal(tuple["str | None", ...]):
    """An extension module that refused to load here.

    Attributes:
        name: Its full name, as far as it is known.
        path: Its file; ``None`` if it was not found, or is built into Python.
        text: The words of the refusal.
        modules: The modules whose import led there, outermost first, without those of the
            package that the extension belongs to.

    """

    __slots__ = ()

    def __new__(cls, name: str, path: str | None, text: str, modules: tuple[str, ...]) -> Self:
        return super().__new__(cls, (name, path, text, modules))  # type: ignore[arg-type]

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    @property
    def name(self) -> str:
        return self[0]  # type: ignore[return-value]

    @property
    def path(self) -> str | None:
        return self[1]

    @property
    def text(self) -> str:
        return self[2]  # type: ignore[return-value]

    @property
    def modules(self) -> tuple[str, ...]:
        return self[3]  # type: ignore[return-value]


def refusal(error: BaseException) -> Refusal | None:
    """Tell whether `error` came about because an extension module refused to load here.

    For workers: it may try to load extension modules that the libraries involved have not loaded.
    """
    try:
        chains = list(_chains(error))
        # The root causes come first.
        for chain in chains:
            known = getattr(chain[-1], "subpool_refusal", None)  # _blocked.py
            if isinstance(known, Refusal):
                led = _led_there(known.name, _frames(chain))
                return Refusal(known.name, known.path, known.text, led)
            if is_refusal(chain[-1]) or _quotes(chain[-1]):
                return _describe(text_of(chain[-1]), _frames(chain))
        for chain in chains:
            if isinstance(chain[-1], _NOT_THERE):
                frames = _frames(chain)
                from subpool._swallowed import broken_inside  # noqa: PLC0415 - rarely needed

                found = broken_inside(chain[-1], frames)
                if found is not None:
                    package, name, path, text = found
                    return Refusal(name, path, text, _led_there(package, frames))
    except Exception:  # noqa: BLE001 - a user's exception may do anything; it is then told as it is
        return None
    return None


def is_refusal(error: BaseException) -> bool:
    """Tell whether the error itself is a refusal."""
    if not isinstance(error, ImportError):
        return False
    text = text_of(error)
    return _NAMED in text or any(words in text for words in _NAMELESS)


def _quotes(error: BaseException) -> bool:
    """Tell whether a library gives the words of a refusal as the reason for its own error.

    SQLAlchemy does, for greenlet. The user's own code may say what it likes.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not is_installed(last.tb_frame.f_code.co_filename):
        return False
    return _NAMED in text_of(error)


def is_installed(path: str) -> bool:
    """Tell whether a file is an installed library's, not the user's own."""
    return "/site-packages/" in path or "/dist-packages/" in path


def _chains(error: BaseException) -> Iterator[tuple[BaseException, ...]]:
    """Give each exception behind `error` with those that lead to it, root causes first."""
    seen: set[int] = set()

    def visit(chain: tuple[BaseException, ...]) -> Iterator[tuple[BaseException, ...]]:
        last = chain[-1]
        if id(last) in seen or len(seen) > _MOST_NODES:
            return
        seen.add(id(last))
        if last.__cause__ is not None:
            yield from visit((*chain, last.__cause__))
        elif last.__context__ is not None and _is_about(last, last.__context__):
            yield from visit((*chain, last.__context__))
        if isinstance(last, BaseExceptionGroup):
            for member in last.exceptions:
                yield from visit((*chain, member))
        yield chain

    return visit((error,))


def _is_about(error: BaseException, context: BaseException) -> bool:
    """Tell whether `error` was raised for `context`, not in what was tried instead.

    That is so for import errors, and for what the function that caught `context` raises itself.
    """
    if isinstance(error, ImportError):
        return True
    raising, caught = error.__traceback__, context.__traceback__
    while raising is not None and raising.tb_next is not None:
        raising = raising.tb_next
    return (
        raising is not None
        and caught is not None
        and raising.tb_frame.f_code is caught.tb_frame.f_code
    )


def _frames(chain: tuple[BaseException, ...]) -> list[tuple[FrameType, int]]:
    """Give the frames and lines that lead to the last exception, outermost first."""
    frames = []
    for error in chain:
        traceback = error.__traceback__
        while traceback is not None:
            frames.append((traceback.tb_frame, traceback.tb_lineno))
            traceback = traceback.tb_next
    return frames


def _describe(text: str, frames: list[tuple[FrameType, int]]) -> Refusal:
    head, named, _ = text.partition(_NAMED)
    if named:
        name, path = _locate(head.rpartition("module ")[2], frames)
    else:
        name, path = _imported(frames)
    return Refusal(name, path, text, _led_there(name, frames))


def _led_there(name: str, frames: list[tuple[FrameType, int]]) -> tuple[str, ...]:
    owner = name.partition(".")[0]
    modules: list[str] = []
    for frame, _ in frames:
        if frame.f_code.co_name != "<module>":
            continue
        module = frame.f_globals.get("__name__")
        if type(module) is not str:
            continue
        if module.partition(".")[0] == owner:
            break
        if module not in modules:
            modules.append(module)
    return tuple(modules)


def _locate(name: str, frames: list[tuple[FrameType, int]]) -> tuple[str, str | None]:
    """Find the full name and the file of a module that CPython has named."""
    if "." not in name:  # its own idea of its name; the import was often one from its package
        for frame, _ in reversed(frames):
            package = frame.f_globals.get("__package__")
            while type(package) is str and package:
                path = _extension_file(f"{package}.{name}")
                if path:
                    return f"{package}.{name}", path
                package = package.rpartition(".")[0]
    return name, _extension_file(name)


def _imported(frames: list[tuple[FrameType, int]]) -> tuple[str, str | None]:
    """Find the extension module that was being imported, if the error does not name it."""
    from linecache import getline  # noqa: PLC0415 - only in this case

    for frame, line in reversed(frames):
        source = getline(frame.f_code.co_filename, line, frame.f_globals)
        package = frame.f_globals.get("__package__") or ""
        for name in frame.f_code.co_names:
            if not name or (source and name.rpartition(".")[2] not in source):
                continue
            for full in (f"{package}.{name}" if package else name, name):
                path = None if full in sys.modules else _extension_file(full)
                if path:
                    return full, path
    return "", None


def _extension_file(name: str) -> str | None:
    """Find the file of an extension module without importing its packages."""
    folders: Any = None
    spec: Any = None
    full = ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        spec = None
        for finder in sys.meta_path:
            spec = finder.find_spec(full, folders)
            if spec is not None:
                break
        if spec is None:
            return None
        folders = spec.submodule_search_locations
        if folders is None and full != name:
            return None
    origin = spec.origin
    return origin if type(origin) is str and stem(origin) else None


def stem(file: str) -> str | None:
    """Give an extension module's file name without its suffix; ``None`` for other files."""
    import _imp  # noqa: PLC0415 - built in

    for suffix in _imp.extension_suffixes():
        if file.endswith(suffix):
            return file[: -len(suffix)].rpartition("/")[2]
    return None


# Main's part: what to say.

_distributions: dict[tuple[str, str | None], tuple[str, str] | None] = {}


def distribution(extension: str, path: str | None) -> tuple[str, str] | None:
    """Find the distribution that an extension module came with: its name and version."""
    key = extension, path
    if key not in _distributions:
        try:
            _distributions[key] = _find_distribution(extension, path)
        except Exception:  # noqa: BLE001 - broken metadata of any package; the name can be done without
            _distributions[key] = None
    return _distributions[key]


def _find_distribution(extension: str, path: str | None) -> tuple[str, str] | None:
    from importlib import metadata  # noqa: PLC0415 - slow, and main's

    top = extension.partition(".")[0]
    if not top or top in sys.stdlib_module_names:
        return None
    if path is not None:
        tail = "/".join(path.split("/")[-1 - extension.count(".") :])
        for found in metadata.distributions():
            # Searched as text: to parse the list of all files takes a hundred times longer.
            if f"\n{tail}," in f"\n{found.read_text('RECORD') or ''}":
                located = str(found.locate_file(tail))
                if located == path:
                    return found.metadata["Name"], found.version
    names = metadata.packages_distributions().get(top)
    return (names[0], metadata.version(names[0])) if names else None


def explain(refusal: Refusal, function: str) -> str:
    """Say which function needs what, and what to do: the text of `IncompatibleModuleError`."""
    from subpool._advice import advice_for  # noqa: PLC0415 - main's

    name, path, text, modules = refusal.name, refusal.path, refusal.text, refusal.modules
    owner = distribution(name, path)
    label = f" of {owner[0]} {owner[1]}" if owner else ""
    why = _NAMED if _NAMED in text else f" refuses to load in subinterpreters ({text})"
    message = (
        f"{function} needs the extension module {name or '(unknown)'}{label}, which{why}. "
        f'Ways out: run such calls elsewhere, with fallback="process" or fallback="thread" on the '
        f"tag or the executor"
    )
    package = owner[0] if owner else name.partition(".")[0]
    own = ", ".join(module for module in modules if _is_users(module))
    if own:
        message += (
            f"; or, if {function} does not use {package} itself, move the import into the "
            f"functions that do, or let this code travel by value, with "
            f"subpool.register_by_value ({own})"
        )
    elif package:
        message += f"; or use {package} outside of the task, and pass it what comes of it"
    advice = advice_for(package)
    return f"{message}. {advice}" if advice else f"{message}."


def _is_users(module: str) -> bool:
    """Tell whether a module is the user's own, as far as its file tells."""
    if module == "__main__" or module.partition(".")[0] in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return type(file) is str and not is_installed(file)
