"""Task functions of the tests of memory. Workers import this."""

import sys


def import_nothing(): ...


def import_h11():
    import h11  # noqa: F401


def import_hypercorn():
    """Serve for a moment: what a worker of a server has loaded when it is replaced."""
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    async def app(scope, receive, send): ...

    async def main():
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.errorlog = None
        over = asyncio.Event()
        over.set()
        await serve(app, config, shutdown_trigger=over.wait)

    asyncio.run(main())


def import_django():
    import django
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"], USE_TZ=True
    )
    django.setup()


def fail(number):
    raise LookupError(number)


def say(text):
    print(text)


def say_in_part(text):
    sys.stdout.write(text)


def both(value, more=None):
    return [value, more]


def part(view):
    return view[1:-1]


def rest(view):
    """A view of the worker's own memory, as large as that."""
    return memoryview(bytes(view))
