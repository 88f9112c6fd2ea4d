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
from subpool import InterpreterThreadPoolExecutor, interpreter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

unknown = interpreter(spelling.unknown)
suggest = interpreter(spelling.suggest)


async def executor(_app: web.Application) -> AsyncIterator[None]:
    """Have the interpreters while the app runs, behind `asyncio.to_thread`."""
    prepare = interpreter(spelling.vocabulary)
    with InterpreterThreadPoolExecutor(initializer=prepare) as executor:
        executor.warm_up()
        executor.set_as_event_loop_default()
        yield


async def check(request: web.Request) -> web.Response:
    """Find the misspelt words of a text, and correct them side by side."""
    words = await asyncio.to_thread(unknown, await request.text())
    found = await asyncio.gather(*(asyncio.to_thread(suggest, word) for word in words))
    return web.json_response(dict(zip(words, found, strict=True)))


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8080, help="0: a free one, which is printed")
    app = web.Application()
    app.cleanup_ctx.append(executor)
    app.add_routes([web.post("/check", check)])
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
