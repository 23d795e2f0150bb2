"""What a limit adds to an endpoint of Flask: the endpoint with it minus the endpoint without, through WSGI, headers
on."""

import time
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from bench.django_endpoints import environ
from bench.peers import RATES
from bench.rounds import Contender, Turn
from bench.subjects import client
from policy_client.flask import Policies
from policy_client.stores.memory import MemoryStore

LONG = {"m": "minute", "h": "hour", "d": "day"}


def contenders() -> list[Contender]:
    made = [Contender("the endpoint without", "base", requests(plain()))]
    for count in (1, 3):
        app = plain()
        Policies(app, client=client(MemoryStore(), count, key="ip", route="/plain"))
        made.append(Contender(f"ours, {count}", f"ours {count}", requests(app, "ratelimit-policy")))
        theirs = requests(limited(count), "x-ratelimit-limit")
        made.append(Contender(f"flask-limiter, {count}", f"peer {count}", theirs))
    return made


def plain() -> Flask:
    app = Flask(__name__)

    @app.get("/plain")
    def answer() -> str:
        return "ok"

    return app


def limited(count: int) -> Flask:
    app = plain()
    rates = [f"{rate[:-1]}{LONG[rate[-1]]}" for rate in RATES[:count]]
    Limiter(get_remote_address, app=app, default_limits=rates, storage_uri="memory://", headers_enabled=True)
    return app


def requests(app: Flask, header: str | None = None) -> Turn:
    """Requests to the application, without a server; `header` must be among the answer's headers."""
    told: dict[str, str] = {}

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        told.update({name.lower(): value for name, value in headers}, status=status)

    def ask(number: int) -> None:
        response = app(environ("/plain", number), start)
        b"".join(response)
        response.close()  # type: ignore[attr-defined]

    ask(0)
    assert told["status"] == "200 OK", told
    assert header is None or header in told, told

    def turn(count: int) -> float:
        before = time.process_time()
        for number in range(count):
            ask(number)
        return time.process_time() - before

    return turn
