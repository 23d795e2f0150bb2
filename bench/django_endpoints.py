"""What a limit adds to an endpoint of Django: the endpoint with it minus the endpoint without, through WSGI."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django_ratelimit.decorators import ratelimit

from bench.peers import RATES
from bench.rounds import Contender, Turn
from bench.subjects import CALLERS, client
from policy_client.default import install, installed
from policy_client.stores.memory import MemoryStore

MIDDLEWARE = "policy_client.django.PolicyMiddleware"


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"ok")


def limited(count: int) -> Callable[..., HttpResponse]:
    """The view under so many decorators of django-ratelimit."""

    def view(request: HttpRequest) -> HttpResponse:
        return answer(request)

    found: Callable[..., HttpResponse] = view
    for rate in RATES[:count]:
        found = ratelimit(group="export", key="ip", rate=rate)(found)
    return found


urlpatterns = [path("plain", answer), path("limited/1", limited(1)), path("limited/3", limited(3))]


def contenders() -> list[Contender]:
    settings.RATELIMIT_USE_CACHE = "default"
    made = [Contender("the endpoint without", "base", requests("/plain"))]
    for count in (1, 3):
        with installed_client(count):
            ours = requests("/plain", MIDDLEWARE, expect=count)
        made.append(Contender(f"ours, {count}", f"ours {count}", ours))
        made.append(Contender(f"django-ratelimit, {count}", f"peer {count}", requests(f"/limited/{count}")))
    return made


@contextmanager
def installed_client(count: int) -> Iterator[None]:
    before = installed()
    install(client(MemoryStore(), count, key="ip", route="/plain"))
    try:
        yield
    finally:
        install(before)


def requests(target: str, *middleware: str, expect: int = 0) -> Turn:
    """Requests to an application of its own; `expect` limits are told in the answer's headers."""
    with override_settings(MIDDLEWARE=list(middleware)):
        handler = WSGIHandler()
    told: dict[str, str] = {}

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        told.update(headers, status=status)

    def ask(number: int) -> None:
        response = handler(environ(target, number), start)
        b"".join(response)
        response.close()

    ask(0)
    assert told["status"] == "200 OK", told
    assert told.get("RateLimit-Policy", "").count("q=") == expect, told

    def turn(count: int) -> float:
        before = time.process_time()
        for number in range(count):
            ask(number)
        return time.process_time() - before

    return turn


def environ(target: str, number: int) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": target,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": f"192.0.2.{number % CALLERS}",
        "HTTP_HOST": "localhost",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(b""),
        "wsgi.errors": BytesIO(),
    }
