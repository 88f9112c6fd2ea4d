"""A FastAPI app with a CPU-bound endpoint: inline, and three ways into an interpreter.

    python examples/fastapi_app.py [--port N]       serves until Ctrl-C
    curl 'http://127.0.0.1:8000/def?word=genrator'

`/inline` computes in the event loop's own thread, and all other requests wait.  `/to_thread`,
`/def` and `/run` compute in an interpreter with a GIL of its own.  `fastapi_load.py` measures
them.  Needs fastapi and uvicorn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI, Request

# Not in this module: a worker imports the module of what it runs, and cannot import FastAPI, since
# pydantic-core loads only in the main interpreter.
import spelling
import subpool
from subpool import InterpreterThreadPoolExecutor, interpreter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

suggest = interpreter(spelling.suggest)
# Runs once in each interpreter, so that no request waits for its vocabulary.
prepare = interpreter(spelling.vocabulary)
subpool.configure(initializer=prepare)


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, InterpreterThreadPoolExecutor]]:
    """Have interpreters ready while the app serves."""
    spelling.vocabulary()  # for /inline
    subpool.default_pool().warm_up()  # for /def, which needs no executor at hand
    with InterpreterThreadPoolExecutor(initializer=prepare) as executor:
        executor.warm_up()
        executor.set_as_event_loop_default()  # so asyncio.to_thread comes here
        yield {"executor": executor}


app = FastAPI(lifespan=lifespan)


@app.get("/inline")
async def inline(word: str) -> list[tuple[str, int]]:
    """Compute here: nothing else is served meanwhile."""
    return spelling.suggest(word)


@app.get("/to_thread")
async def to_thread(word: str) -> list[tuple[str, int]]:
    """Compute in an interpreter; the event loop goes on."""
    return await asyncio.to_thread(suggest, word)


@app.get("/def")
def plain(word: str) -> list[tuple[str, int]]:
    """Run on one of FastAPI's threads, which waits for an interpreter."""
    return suggest(word)


@app.get("/run")
async def run(request: Request, word: str) -> list[tuple[str, int]]:
    """Compute in an interpreter; the event loop goes on, and no thread waits."""
    return await request.state.executor.run(spelling.suggest, word)


@app.get("/ping")
async def ping() -> str:
    """Answer at once, if the event loop is free to."""
    return "pong"


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="0: a free one, which is printed")
    uvicorn.run(app, port=parser.parse_args().port, access_log=False)


if __name__ == "__main__":
    main()
