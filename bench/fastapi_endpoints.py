"""What a limit adds to an endpoint of FastAPI: the endpoint with it minus the endpoint without, headers on."""

import asyncio
import time
from typing import Any

from fastapi import FastAPI
from fastapi import Request as FastRequest
from fastapi import Response as FastResponse
from slowapi import Limiter
from slowapi.util import get_remote_address

from bench.peers import RATES
from bench.rounds import Contender, Turn
from bench.subjects import CALLERS, client
from policy_client.asgi import PolicyMiddleware
from policy_client.stores.memory import MemoryStore

LONG = {"m": "minute", "h": "hour", "d": "day"}


def contenders(loop: asyncio.AbstractEventLoop) -> list[Contender]:
    made = [Contender("the endpoint without", "base", requests(loop, plain()))]
    for count in (1, 3):
        app = plain()
        app.add_middleware(PolicyMiddleware, client=client(MemoryStore(), count, key="ip", route="/plain"))
        made.append(Contender(f"ours, {count}", f"ours {count}", requests(loop, app, b"ratelimit-policy")))
        theirs = requests(loop, limited(count), b"x-ratelimit-limit")
        made.append(Contender(f"slowapi, {count}", f"peer {count}", theirs))
    return made


def plain() -> FastAPI:
    app = FastAPI()

    @app.get("/plain")
    async def answer(request: FastRequest) -> FastResponse:
        return FastResponse(b"ok")

    return app


def limited(count: int) -> FastAPI:
    app = FastAPI()
    limiter = Limiter(key_func=get_remote_address, headers_enabled=True)
    app.state.limiter = limiter
    rates = [f"{rate[:-1]}{LONG[rate[-1]]}" for rate in RATES[:count]]

    @app.get("/plain")
    @limiter.limit(";".join(rates))
    async def answer(request: FastRequest) -> FastResponse:
        return FastResponse(b"ok")

    return app


def requests(loop: asyncio.AbstractEventLoop, app: FastAPI, header: bytes | None = None) -> Turn:
    """Requests to the application, without a server; `header` must be among the answer's headers."""
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            told[:] = [message]

    async def ask(count: int) -> float:
        before = time.process_time()
        for number in range(count):
            await app(scope(number), receive, send)
        return time.process_time() - before

    loop.run_until_complete(ask(1))
    assert told[0]["status"] == 200, told
    assert header is None or header in dict(told[0]["headers"]), told
    return lambda count: loop.run_until_complete(ask(count))


def scope(number: int) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/plain",
        "raw_path": b"/plain",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": (f"192.0.2.{number % CALLERS}", 1234),
        "server": ("localhost", 80),
        "state": {},
    }
