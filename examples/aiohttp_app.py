"""An aiohttp app that shares out one request among all cores.

    python examples/aiohttp_app.py [--port N]       serves until Ctrl-C
    curl -d 'The genrator raises an exeption' http://127.0.0.1:8080/check

Needs aiohttp.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

import spelling
from subpool import InterpreterPoolExecutor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXECUTOR = web.AppKey("executor", InterpreterPoolExecutor)


async def interpreters(app: web.Application) -> AsyncIterator[None]:
    """Have the interpreters for as long as the app runs."""
    with InterpreterPoolExecutor(initializer=spelling.vocabulary) as executor:
        executor.warm_up()
        app[EXECUTOR] = executor
        yield


async def check(request: web.Request) -> web.Response:
    """Find the misspelt words of a text, and correct them side by side."""
    executor = request.app[EXECUTOR]
    words = await executor.run(spelling.unknown, await request.text())
    found = await asyncio.gather(*map(executor.wrap(spelling.suggest), words))
    return web.json_response(dict(zip(words, found, strict=True)))


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8080, help="0: a free one, which is printed")
    app = web.Application()
    app.cleanup_ctx.append(interpreters)
    app.add_routes([web.post("/check", check)])
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
