"""The app that `bench/serve.py` has served: ASGI, without a framework."""

from __future__ import annotations

import os
import time
from typing import Any

WHO = os.urandom(6).hex()  # one for each worker, process or interpreter


def page(rows: int = 150) -> bytes:
    """A page that Python makes, in some milliseconds."""
    cells = []
    for row in range(rows):
        total = sum((row * column) % 7 for column in range(100))
        cells.append(f"<tr><td>{row}</td><td>{total}</td></tr>")
    return ("<table>" + "".join(cells) + "</table>").encode()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    match scope["path"]:
        case "/cpu":
            body = page()
        case "/who":
            time.sleep(0.02)  # noqa: ASYNC251 - so that the other workers take the other connections
            body = WHO.encode()
        case _:
            body = b"hello"
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/html")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
