"""The site as `manage.py subpool_serve` serves it: the app of each web worker.

Django's own app knows nothing of ASGI's lifespan, which servers complain about. This one answers
it, and hands on all else; in development it serves static files, too, as `runserver` does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    type App = Callable[[Any, Any, Any], Awaitable[None]]

# For `subpool serve`.
PATH = "subpool.integrations.django.asgi:application"


def _package() -> str | None:
    """Give the package that the project's `asgi.py` is in; None if nothing tells."""
    for name in ("WSGI_APPLICATION", "ROOT_URLCONF"):
        if named := getattr(settings, name, None):
            return str(named).partition(".")[0]
    return None


def _project() -> App:
    """Find the project's app.

    `ASGI_APPLICATION` if the settings have it, else `application` in the module `asgi` beside what
    `WSGI_APPLICATION` or `ROOT_URLCONF` names, else a new one.
    """
    place = getattr(settings, "ASGI_APPLICATION", None)
    if place is None:
        package = _package()
        if package is None:
            return get_asgi_application()  # type: ignore[no-any-return]
        place = f"{package}.asgi.application"
        try:
            import_module(f"{package}.asgi")
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.asgi"):
                raise
            return get_asgi_application()  # type: ignore[no-any-return]
    module, _, name = place.rpartition(".")
    try:
        app: App = getattr(import_module(module), name)
    except AttributeError as error:
        raise ImproperlyConfigured(f"the project has no app at {place}") from error
    return app


def _is_development() -> bool:
    return bool(settings.DEBUG) and "django.contrib.staticfiles" in settings.INSTALLED_APPS


def _with_lifespan(app: App) -> App:
    async def with_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    return with_lifespan


def make() -> App:
    """Make the app. Sets up Django."""
    get_asgi_application()
    app = _project()
    # What wraps Django's may have a lifespan of its own.
    has_lifespan = not isinstance(app, ASGIHandler)
    if _is_development():
        from django.contrib.staticfiles.handlers import (  # noqa: PLC0415 - needs the apps
            ASGIStaticFilesHandler,
        )

        app = ASGIStaticFilesHandler(app)
    return app if has_lifespan else _with_lifespan(app)
