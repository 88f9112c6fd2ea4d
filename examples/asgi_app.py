"""A bare ASGI app, without a framework: pages, a stream, a WebSocket, and work that computes.

    cd examples
    subpool serve asgi_app:app --workers 2          http://127.0.0.1:8000
    curl 'http://127.0.0.1:8000/suggest?word=genrator'
    curl -T - http://127.0.0.1:8000/check           then type words, a line at a time

Each worker is an interpreter with a copy of this module.  What computes does so there, beside the
other workers; on a thread, so that this worker's event loop stays awake.  Needs nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import spelling
from subpool import worker
from subpool.integrations.hypercorn import worker_number

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one connection's scope."""
    if scope["type"] == "lifespan":
        await live(scope["state"], receive, send)
    elif scope["type"] == "websocket":
        await echo(receive, send)
    else:
        await PAGES.get((scope["method"], scope["path"]), missing)(scope, receive, send)


async def live(state: dict[str, Any], receive: Receive, send: Send) -> None:
    """Prepare before the first request, and clean up after the last one.

    What is in `state` each request finds in its scope, in this worker.
    """
    asked = state["asked"] = []
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            state["words"] = len(await asyncio.to_thread(spelling.vocabulary))
            await send({"type": "lifespan.startup.complete"})
        else:
            print(f"worker {worker_number()} was asked {len(asked)} words", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
            return


async def respond(send: Send, status: int, kind: str, body: bytes) -> None:
    """Send a whole answer."""
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-worker", f"{worker_number()}".encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def missing(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer that there is no such page."""
    await respond(send, 404, "text/plain", b"not found\n")


async def home(scope: Scope, _receive: Receive, send: Send) -> None:
    """Tell who answers."""
    text = f"Worker {worker_number()} knows {scope['state']['words']} words.\n"
    await respond(send, 200, "text/plain", text.encode())


async def suggest(scope: Scope, _receive: Receive, send: Send) -> None:
    """Compute for 10 to 30 ms, in this worker's interpreter."""
    word = parse_qs(scope["query_string"].decode()).get("word", [""])[0]
    found = await asyncio.to_thread(spelling.suggest, word)
    scope["state"]["asked"].append(word)
    here = worker()  # a place in a pool of subpool's
    answer = {
        "word": word,
        "suggestions": [known for known, _ in found],
        "worker": worker_number(),
        "interpreter": here and here.interpreter_id,
    }
    await respond(send, 200, "application/json", json.dumps(answer).encode())


async def lines(receive: Receive) -> AsyncIterator[str]:
    """Give the lines of a request's body as they come."""
    rest, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        *whole, rest = (rest + message.get("body", b"")).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    yield rest.decode(errors="replace")


async def check(_scope: Scope, receive: Receive, send: Send) -> None:
    """Correct a text while it is being sent: a line of JSON for each unknown word."""
    headers = [(b"content-type", b"application/x-ndjson")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for line in lines(receive):
        for word in spelling.unknown(line):
            found = await asyncio.to_thread(spelling.suggest, word)
            answer = json.dumps({word: [known for known, _ in found]}) + "\n"
            await send({"type": "http.response.body", "body": answer.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def echo(receive: Receive, send: Send) -> None:
    """Send each message of a WebSocket back."""
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({**message, "type": "websocket.send"})


PAGES = {
    ("GET", "/"): home,
    ("GET", "/suggest"): suggest,
    ("PUT", "/check"): check,
    ("POST", "/check"): check,
}
