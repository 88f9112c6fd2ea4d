"""A Starlette app with a pool of interpreters for as long as it serves.

    python examples/starlette_app.py [--port N]     serves until Ctrl-C
    curl 'http://127.0.0.1:8000/suggest?word=genrator'
    curl 'http://127.0.0.1:8000/suggest?word=genrator&seconds=0.001'

What takes longer than allowed is interrupted, so it does not hold up what comes after it.
Needs starlette and uvicorn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import spelling
from subpool import InterpreterPoolExecutor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


@contextlib.asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, InterpreterPoolExecutor]]:
    """Have every interpreter started, and its vocabulary read, before the first request."""
    with InterpreterPoolExecutor(initializer=spelling.vocabulary) as executor:
        executor.warm_up()
        yield {"executor": executor}


async def suggest(request: Request) -> JSONResponse:
    """Compute in an interpreter, for so long at most; the event loop goes on."""
    word = request.query_params.get("word", "")
    try:
        async with asyncio.timeout(float(request.query_params.get("seconds", "1"))):
            found = await request.state.executor.run(spelling.suggest, word)
    except TimeoutError:
        return JSONResponse({"word": word, "error": "that takes too long"}, 503)
    return JSONResponse({"word": word, "suggestions": [known for known, _ in found]})


app = Starlette(routes=[Route("/suggest", suggest)], lifespan=lifespan)


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="0: a free one, which is printed")
    uvicorn.run(app, port=parser.parse_args().port)


if __name__ == "__main__":
    main()
