"""What went wrong with a worker, in words."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hypercorn.config import Config


# Hypercorn's own, and ours.
_PLAIN = {"NoAppError", "LifespanFailureError", "LifespanTimeoutError", "NotInstalledError"}


class NotInstalledError(ModuleNotFoundError):
    """What the configuration asks for needs a library that is not there."""


def told(error: BaseException) -> str:
    """Give an error with what led to it; where the user's own code has no part in it, its text."""
    import traceback  # noqa: PLC0415 - only when something failed

    if type(error).__name__ in _PLAIN:
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


def incompatible(
    config: Config, error: BaseException, option: str | None = None, *, is_open: bool = False
) -> str:
    """Say that the app, or an option of the server, does not work in interpreters; what to do."""
    # Not if only the app's lifespan or a new version of it imports that.
    opened = "" if is_open else " No socket was opened."
    library = getattr(error, "distribution", None) or getattr(error, "name", None) or "a library"
    version = getattr(error, "version", None)
    name = f"{library} {version}" if version else library
    extension = getattr(error, "name", None)
    which = f" (its extension module {extension} refuses)" if extension else ""
    refused = f"{name}, which does not load in an interpreter of its own{which}"
    if option is not None:
        return (
            f"{option} does not work in interpreters, because it needs {refused}.{opened} "
            f"Ways out: run the same thing on processes, with --workers-kind=process; or "
            f"do without {option}."
        )
    return (
        f"{config.application_path} cannot be served by interpreters, because it imports "
        f"{refused}.{opened} Ways out: run the same thing on processes, with "
        f"--workers-kind=process; or import {library} only "
        f"in functions that other processes or threads run; or do without it. `subpool doctor "
        f"{library}` tells more."
    )
