"""Hundreds of spellings of protected addresses, in services protected whole: whenever a view ran, its policy ran."""

import asyncio
import io
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

import pytest
from django.core.asgi import get_asgi_application
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import override_settings
from django.urls import include, path, re_path
from django.views import View
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from flask import Blueprint, Flask
from flask.views import MethodView
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from policy_client.asgi import PolicyMiddleware
from policy_client.flask import Policies as FlaskPolicies
from policy_client.testing import Policies, in_force

pytestmark = pytest.mark.usefixtures("no_database")

MINE = "policy_client.django.PolicyMiddleware"
PATHS = ["/things/7", "/a/b/c/things/7", "/shelf", "/files/x/y.txt", "/slashed/7/"]
RULES = {
    "/things/{n}": "flat",
    "/a/b/c/things/{n}": "deep",
    "/shelf": "shelf",
    "/files/{p*}": "files",
    "/slashed/{n}/": "slashed",
}
SLASHES = ("//", "///", "/./", "/x/../", "%2F", "%2f", "\\", "/;x/", "/%2e/")
ENDS = ("/", "//", "?x=1", "?", "%20", "%00", "%0a", ".", "/.", ";x=1", "#x", "%3Fx", "?/things/7")
METHODS = ["GET", "HEAD", "POST", "get", "Get", "OPTIONS", "DELETE"]


class Spelling(NamedTuple):
    """A request line as a server gets it, and headers."""

    method: str
    target: str
    headers: dict[str, str]


class Told(NamedTuple):
    """What a caller sees: the view that ran, whether its call was decided, and by which limits."""

    view: str | None
    decided: bool
    limits: str


def spellings() -> list[Spelling]:
    """The same ones at every run."""
    pick = random.Random(3)
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], Spelling] = {}

    def add(method: str, target: str, **headers: str) -> None:
        found[(method, target, tuple(headers.items()))] = Spelling(
            method, target, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    for place, method in itertools.product(PATHS, METHODS):
        add(method, place)
    for place in PATHS:
        for changed in changes(place):
            add("GET", changed)
        add("GET", place, x_http_method_override="DELETE")
        add("POST", place, x_http_method_override="GET")
        add("GET", "/elsewhere", x_original_url=place, x_rewrite_url=place)
        add("GET", place, host="other.example.com")
        add("GET", place, x_forwarded_prefix="/behind", x_script_name="/behind")
    while len(found) < 700:
        once = pick.choice(list(changes(pick.choice(PATHS))))
        add(pick.choice(METHODS), pick.choice(list(changes(once))))
    return list(found.values())


def changes(target: str) -> Iterator[str]:
    """One change, at every place where it can be made."""
    for position, character in enumerate(target):
        before, after = target[:position], target[position + 1 :]
        if character == "/":
            yield from (before + other + after for other in SLASHES)
        elif character.isalnum():
            yield f"{before}%{ord(character):02X}{after}"
            yield f"{before}%25{ord(character):02X}{after}"
            yield before + character.swapcase() + after
    yield from (target + end for end in ENDS)
    yield from ("http://other.example.com" + target, "//other.example.com" + target, target[1:], "/behind" + target)


# --- services -------------------------------------------------------------------------------------------------------


def answer(name: str) -> dict[str, str]:
    return {"X-View": name}


def django_view(name: str) -> Any:
    return lambda request, **parts: HttpResponse(name, headers=answer(name))


def django_shelf() -> Any:
    class Shelf(View):
        def dispatch(self, request: Any) -> HttpResponse:
            return HttpResponse("shelf", headers=answer("shelf"))

    return Shelf.as_view()


class Urls:
    urlpatterns = [
        path("things/<n>", django_view("flat")),
        path("a/", include([path("b/", include([re_path(r"^c/things/(?P<n>[^/]+)$", django_view("deep"))]))])),
        path("shelf", django_shelf()),
        path("files/<path:p>", django_view("files")),
        path("slashed/<n>/", django_view("slashed")),
    ]


def fastapi_app() -> Any:
    def view(name: str) -> Any:
        return lambda: PlainTextResponse(name, headers=answer(name))

    class Shelf(HTTPEndpoint):
        async def get(self, request: Any) -> PlainTextResponse:
            return PlainTextResponse("shelf", headers=answer("shelf"))

        post = get

    router = APIRouter(prefix="/things")
    router.add_api_route("/{n}", view("flat"), methods=["GET", "HEAD", "POST"])
    deepest = FastAPI()
    deepest.add_api_route("/things/{n}", view("deep"), methods=["GET", "POST"])
    middle = Starlette(routes=[Mount("/b", routes=[Mount("/c", deepest)])])
    app = FastAPI(routes=[Mount("/a", middle), Route("/shelf", Shelf)])
    app.include_router(router)
    app.add_api_route("/files/{p:path}", view("files"))
    app.add_api_route("/slashed/{n}/", view("slashed"))
    app.add_middleware(PolicyMiddleware)
    return app


def flask_app() -> Any:
    def view(name: str) -> Any:
        return lambda **parts: (name, 200, answer(name))

    class Shelf(MethodView):
        def get(self) -> Any:
            return "shelf", 200, answer("shelf")

        post = get

    blueprint = Blueprint("things", __name__, url_prefix="/things")
    blueprint.add_url_rule("/<n>", "flat", view("flat"), methods=["GET", "POST"])
    app, upper, middle, deep = (Flask(__name__, static_folder=None) for _ in range(4))
    deep.add_url_rule("/things/<n>", "deep", view("deep"), methods=["GET", "POST"])
    middle.wsgi_app = DispatcherMiddleware(middle.wsgi_app, {"/c": deep})  # type: ignore[method-assign]
    upper.wsgi_app = DispatcherMiddleware(upper.wsgi_app, {"/b": middle})  # type: ignore[method-assign]
    app.register_blueprint(blueprint)
    app.add_url_rule("/shelf", view_func=Shelf.as_view("shelf"))
    app.add_url_rule("/files/<path:p>", "files", view("files"))
    app.add_url_rule("/slashed/<n>/", "slashed", view("slashed"))
    FlaskPolicies(app)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/a": upper})  # type: ignore[method-assign]
    return app


# --- servers --------------------------------------------------------------------------------------------------------


def target_of(spelling: Spelling) -> tuple[str, str]:
    """Path and query of a request line, as servers take them apart."""
    target, _, _ = spelling.target.partition("#")
    place, _, query = target.partition("?")
    return place, query


def by_wsgi(app: Any, spelling: Spelling) -> Told:
    place, query = target_of(spelling)
    environ = {
        "REQUEST_METHOD": spelling.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(place).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "test",
        "SERVER_PORT": "80",
        "HTTP_HOST": "test",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in spelling.headers.items()},
    }
    started: list[Any] = []
    chunks = app(environ, lambda *head: started.append(head))
    getattr(chunks, "close", lambda: None)()
    headers = {name.lower(): value for name, value in started[-1][1]}
    return Told(headers.get("x-view"), "policy-decision" in headers, headers.get("ratelimit", ""))


def by_asgi(app: Any, spelling: Spelling) -> Told:
    place, query = target_of(spelling)
    named = {"host": "test", **spelling.headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": spelling.method,
        "scheme": "http",
        "path": unquote(place),
        "raw_path": place.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("192.0.2.1", 5000),
        "server": ("test", 80),
    }
    sent: list[Any] = []

    async def serve() -> None:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

    asyncio.run(serve())
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Told(headers.get("x-view"), "policy-decision" in headers, headers.get("ratelimit", ""))


SERVICES: dict[str, tuple[Callable[[], Any], Callable[[Any, Spelling], Told]]] = {
    "django-wsgi": (WSGIHandler, by_wsgi),
    "django-asgi": (get_asgi_application, by_asgi),
    "fastapi": (fastapi_app, by_asgi),
    "flask": (flask_app, by_wsgi),
}


@pytest.fixture(autouse=True)
def _project() -> Iterator[None]:
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=[MINE], ALLOWED_HOSTS=["*"], APPEND_SLASH=True):
        yield


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("named", [False, True], ids=["whole service", "by route"])
def test_whenever_a_view_runs_its_policy_ran(service: str, named: bool) -> None:
    make, ask = SERVICES[service]
    with in_force() as policies:
        enforce(policies, named)
        app = make()
        told = [(spelling, ask(app, spelling)) for spelling in spellings()]
    reached = [(spelling, answer) for spelling, answer in told if answer.view is not None]
    for spelling, answer in reached:
        assert answer.decided, (spelling, answer)
        expected = answer.view if named else "everything"
        if named or spelling.method != "OPTIONS":  # which is covered only where a policy lists it
            assert answer.limits.startswith(f'"{expected}";'), (spelling, answer)
    assert len(told) >= 500
    assert len(reached) >= 100
    assert {answer.view for _, answer in reached} == set(RULES.values())


def enforce(policies: Policies, named: bool) -> None:
    many = {"key": [], "limit": 10_000, "window": 60}
    policies.enforce(everything=many)
    if named:
        for route, rule in RULES.items():
            policies.enforce(route=route, methods=["GET", "POST", "DELETE", "OPTIONS"], **{rule: many})
