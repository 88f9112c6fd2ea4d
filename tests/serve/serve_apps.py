"""Apps that the tests of `subpool serve` serve."""

import asyncio
import os
import sys

from subpool.integrations.hypercorn import worker_number


async def _reply(send, body, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def hello(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            kind = message["type"].partition(".")[2]
            note = os.environ.get("SERVE_NOTES")
            if note:
                with open(note, "a") as file:
                    file.write(f"{kind} {worker_number()}\n")
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return
    match scope["path"]:
        case "/slow":
            await asyncio.sleep(float(scope["query_string"] or b"0.5"))
            await _reply(send, b"slow")
        case "/exit":
            sys.exit(7)
        case "/exit-task":
            await asyncio.create_task(_exit())
        case "/spin":
            while True:
                pass
        case "/worker":
            number = scope["extensions"]["subpool"]["worker"]
            assert number == worker_number()
            await _reply(send, b"%d" % number)
        case "/die":
            os.kill(os.getpid(), 9)
        case _:
            await _reply(send, b"hello", headers=[(b"content-length", b"5")])


async def _exit():
    sys.exit(8)


def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/exit":
        sys.exit(9)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"wsgi %d" % worker_number()]


async def echo(scope, receive, send):
    """Answer a websocket's messages until it closes."""
    assert scope["type"] == "websocket", scope["type"]
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": message["text"]})
