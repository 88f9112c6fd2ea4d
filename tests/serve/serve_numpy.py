"""An app that no interpreter can load."""

import numpy as np


async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = str(np.arange(4).sum()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
