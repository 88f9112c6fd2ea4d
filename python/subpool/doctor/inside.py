"""What the doctor runs in the interpreter: import a library, use it, and note what was refused.

It catches all that the library raises and answers in plain values, so that the findings do not
depend on how tasks and their errors travel.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_MOST_LINES = 12


def examine(path: list[str], modules: list[str], use: str, parts: list[str]) -> dict[str, Any]:
    """Import `modules`, run the code `use`, import `parts`; say how far that went.

    A part is an extension module of the library, or a module that uses one. Of these only the
    refusals count, and not those that the library itself has caught: it can do without.

    Returns ``error`` (``None``, or type, text and traceback), ``refusal`` (that of the error) and
    ``refused``: the extension modules that were refused, also where the library went on without.
    """
    sys.path.extend(folder for folder in path if folder not in sys.path)
    import warnings  # noqa: PLC0415 - the libraries' own are no findings

    warnings.simplefilter("ignore")
    from subpool._incompatible import refusal  # noqa: PLC0415 - after the path

    refused: list[tuple[str, str | None, str]] = []
    stage, failed, found = "", None, None
    undo = _watch(refused)
    try:
        for next_stage, step, what in _steps(modules, use, parts, refused):
            stage = next_stage
            step(what)
    except BaseException as error:  # noqa: BLE001 - whatever a library raises is a finding
        found = refusal(error)
        failed = _told(error)
    finally:
        undo()
    return {
        "stage": stage,
        "error": failed,
        "refusal": None if found is None else tuple(found),
        "refused": refused,
    }


def _steps(
    modules: list[str], use: str, parts: list[str], refused: list[tuple[str, str | None, str]]
) -> Iterator[tuple[str, Callable[[str], object], str]]:
    for module in modules:
        yield f"import {module}", __import__, module
    if use:
        yield "a small use", _run, use
    for part in parts:
        if part not in sys.modules and all(part != name for name, _, _ in refused):
            yield f"import {part}", _import_part, part


def _run(use: str) -> None:
    exec(use, {"__name__": "subpool_doctor_use"})  # noqa: S102 - one of uses.py


def _import_part(module: str) -> None:
    from subpool._incompatible import refusal  # noqa: PLC0415 - as above

    try:
        __import__(module)
    except Exception as error:
        if refusal(error) is not None:
            raise


def _watch(refused: list[tuple[str, str | None, str]]) -> Callable[[], None]:
    """Note each extension module that is refused from now on, whoever catches the error."""
    import _frozen_importlib_external as machinery  # noqa: PLC0415 - where importlib has it from

    from subpool._incompatible import is_refusal  # noqa: PLC0415 - after the path

    loader: Any = machinery.ExtensionFileLoader
    create, execute = loader.create_module, loader.exec_module

    def noting(step: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def noted(self: Any, what: Any) -> Any:
            try:
                return step(self, what)
            except ImportError as error:
                if is_refusal(error):
                    refused.append((self.name, self.path, str(error)))
                raise

        return noted

    loader.create_module, loader.exec_module = noting(create), noting(execute)

    def undo() -> None:
        loader.create_module, loader.exec_module = create, execute

    return undo


def _told(error: BaseException) -> tuple[str, str, str]:
    from traceback import format_exception  # noqa: PLC0415 - slow, and only for failures

    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a library's __str__ may raise anything
        text = ""
    lines = "".join(format_exception(error)).splitlines()
    return type(error).__name__, text, "\n".join(lines[-_MOST_LINES:])
