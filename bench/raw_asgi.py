"""The floor of serving a bundle: the least that an ASGI application can do."""

import os
from typing import Any

BODY = b"x" * int(os.environ.get("BENCH_BODY", "2000"))
TAG = b'"sha256:floor"'
CHANGED = [(b"content-type", b"application/json"), (b"etag", TAG), (b"content-length", str(len(BODY)).encode())]


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if (b"if-none-match", TAG) in scope["headers"]:
        await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", TAG)]})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": CHANGED})
    await send({"type": "http.response.body", "body": BODY})
