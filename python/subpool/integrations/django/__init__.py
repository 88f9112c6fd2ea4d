"""Django tasks (`django.tasks`, Django 6.0 and 6.1) in interpreters of this process.

In the settings::

    TASKS = {"default": {"BACKEND": "subpool.integrations.django.InterpreterBackend"}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subpool.integrations.django.backend import InterpreterBackend

__all__ = ["InterpreterBackend"]


def __getattr__(name: str) -> Any:
    # Late: `apps` may not import what needs the apps, and main's side needs no Django.
    if name != "InterpreterBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from subpool.integrations.django.backend import InterpreterBackend  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "django":
            raise ImportError(
                "subpool.integrations.django needs Django 6.0 or later: "
                "pip install 'subpool[django]'"
            ) from error
        raise
    globals()[name] = InterpreterBackend
    return InterpreterBackend
