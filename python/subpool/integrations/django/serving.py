"""The site as `manage.py subpool_serve` serves it: the app of each web worker."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def project() -> str | None:
    """Give the package that the project's `asgi.py` is in; None if nothing tells."""
    for name in ("WSGI_APPLICATION", "ROOT_URLCONF"):
        if named := getattr(settings, name, None):
            return str(named).partition(".")[0]
    return None


def find() -> str:
    """Find the project's app, as MODULE:APP.

    `ASGI_APPLICATION` if the settings have it, else `application` in the `asgi` module beside the
    one that `WSGI_APPLICATION` or `ROOT_URLCONF` names, else Django's own.
    """
    named = getattr(settings, "ASGI_APPLICATION", None)
    if named:
        module, _, name = named.rpartition(".")
        return f"{module}:{name}"
    package = project()
    if package is not None:
        try:
            import_module(f"{package}.asgi")
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.asgi"):
                raise
        else:
            return f"{package}.asgi:application"
    return f"{__name__}:application"


def __getattr__(name: str) -> Any:
    # Made when a web worker asks for it, not when main looks for the project's.
    if name not in ("application", "development"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _plain() if name == "application" else _development()
    return made


def _plain() -> Any:
    from django.core.asgi import get_asgi_application  # noqa: PLC0415 - sets up Django

    return get_asgi_application()


def _development() -> Any:
    """Make the app that serves static files, too, as `runserver` does."""
    _plain()  # sets up Django
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: PLC0415

    place = find()
    if place.startswith(f"{__name__}:"):
        return ASGIStaticFilesHandler(_plain())
    module, _, name = place.partition(":")
    try:
        return ASGIStaticFilesHandler(getattr(import_module(module), name))
    except AttributeError as error:
        raise ImproperlyConfigured(f"there is no app at {place}") from error


def serves_static_files() -> bool:
    """Tell whether this is a development's site, with `django.contrib.staticfiles`."""
    return bool(settings.DEBUG) and "django.contrib.staticfiles" in settings.INSTALLED_APPS
