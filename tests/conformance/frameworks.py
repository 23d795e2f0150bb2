"""One application per framework for `tests.conformance.services`: its own router, middleware, views and test client."""

from collections.abc import Callable, Sequence
from typing import Any

import flask
import httpx
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.views import View as DjangoView
from fastapi import APIRouter, FastAPI
from rest_framework.response import Response as RestResponse
from rest_framework.views import APIView
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from werkzeug.test import Client as Visitor

from policy_client import protect
from policy_client.asgi import PolicyMiddleware
from policy_client.django.throttling import PolicyThrottle
from policy_client.flask import Policies
from policy_client.wsgi import PolicyMiddleware as WsgiMiddleware
from tests.conformance.services import METHODS, Answer, Ask, Place, Request, Service

View = Callable[..., Any]


def placed(service: Service, place: Place, view: View) -> View:
    return view if place.name is None else protect(place.name, **service.protection(place))(view)


def angled(route: str) -> str:
    """A route as Django and Flask write it."""
    return route.replace("{", "<").replace("}", ">")


MIDDLEWARE = ("policy_client.django.PolicyMiddleware",)


def django(
    service: Service,
    patterns: Callable[[Place], Any],
    ask: Callable[[Request], Any],
    middleware: Sequence[str] = MIDDLEWARE,
) -> Ask:
    """Django with these views; its settings are in force as long as the service is."""
    urls = tuple(path(angled(place.route).removeprefix("/"), patterns(place)) for place in service.places)

    service.within.enter_context(override_settings(ROOT_URLCONF=urls, MIDDLEWARE=list(middleware), ALLOWED_HOSTS=["*"]))

    def answered(request: Request) -> Answer:
        found = ask(request)
        return Answer(found.status_code, {name.lower(): value for name, value in found.headers.items()}, found.content)

    return answered


def django_request(client: Any, request: Request, **extra: Any) -> Any:
    told = {name: value for name, value in request.headers.items() if name != "content-type"}
    kind = request.headers.get("content-type", "")
    return client.generic(request.method, request.target, request.body, kind, headers=told, **extra)


def django_wsgi(service: Service) -> Ask:
    """Function views of Django, under WSGI."""

    def view(request: Any, **parameters: Any) -> HttpResponse:
        service.turn.run()
        return HttpResponse("done")

    return django(service, lambda place: placed(service, place, view), from_address)


def django_asgi(service: Service) -> Ask:
    """Async function views of Django, under ASGI."""

    class Addressed(AsyncClient):
        address = ""

        def _base_scope(self, **request: Any) -> Any:
            scope = super()._base_scope(**request)
            # Django's client always sends a cookie header of its own, which would be joined to ours.
            told = [header for header in scope["headers"] if header != (b"cookie", b"")]
            return {**scope, "headers": told, "client": [self.address, 5000]}

    async def view(request: Any, **parameters: Any) -> HttpResponse:
        await service.turn.arun()
        return HttpResponse("done")

    def ask(request: Request) -> Any:
        client = Addressed()
        client.address = request.address
        return service.run(django_request(client, request))

    return django(service, lambda place: placed(service, place, view), ask)


def django_classes(service: Service) -> Ask:
    """Class views of Django, under WSGI."""

    def view_of(place: Place) -> View:
        def handle(self: View, request: Any, **parameters: Any) -> HttpResponse:
            service.turn.run()
            return HttpResponse("done")

        methods = {method.lower(): placed(service, place, handle) for method in METHODS}
        shelf: Any = type("Shelf", (DjangoView,), methods)
        return shelf.as_view()

    return django(service, view_of, from_address)


def rest_framework(service: Service) -> Ask:
    """Class views of DRF, under WSGI."""
    return django(service, rest_views(service), from_address)


def rest_throttle(service: Service) -> Ask:
    """The same without middleware, through DRF's own hook."""
    return django(service, rest_views(service, throttle_classes=[PolicyThrottle]), from_address, middleware=())


def rest_views(service: Service, **settings: Any) -> Callable[[Place], View]:
    def view_of(place: Place) -> View:
        def handle(self: APIView, request: Any, **parameters: Any) -> RestResponse:
            service.turn.run()
            return RestResponse({"done": True})

        methods = {method.lower(): placed(service, place, handle) for method in METHODS}
        none: dict[str, Any] = {"authentication_classes": [], "permission_classes": []}
        api: Any = type("Api", (APIView,), {**methods, **none, **settings})
        return api.as_view()

    return view_of


def from_address(request: Request) -> Any:
    return django_request(Client(), request, REMOTE_ADDR=request.address)


def asgi(service: Service, app: Any) -> Ask:
    async def ask(request: Request) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(request.address, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", trust_env=False) as client:
            url = f"http://test{request.target}"
            return await client.request(request.method, url, content=request.body, headers=request.headers)

    def answered(request: Request) -> Answer:
        found = service.run(ask(request))
        return Answer(found.status_code, dict(found.headers), found.content)

    return answered


def fastapi(service: Service) -> Ask:
    """Async endpoints of FastAPI."""
    app = FastAPI()
    app.add_middleware(PolicyMiddleware)

    async def view() -> dict[str, bool]:
        await service.turn.arun()
        return {"done": True}

    for place in service.places:
        app.add_api_route(place.route, placed(service, place, view), methods=METHODS)
    return asgi(service, app)


def fastapi_threads(service: Service) -> Ask:
    """Plain endpoints of FastAPI, on a router that is included."""
    app, router = FastAPI(), APIRouter()
    app.add_middleware(PolicyMiddleware)

    def view() -> dict[str, bool]:
        service.turn.run()
        return {"done": True}

    for place in service.places:
        router.add_api_route(place.route, placed(service, place, view), methods=METHODS)
    app.include_router(router)
    return asgi(service, app)


def starlette(service: Service) -> Ask:
    """Async endpoints of Starlette."""

    async def view(request: Any) -> PlainTextResponse:
        await service.turn.arun()
        return PlainTextResponse("done")

    routes = [Route(place.route, placed(service, place, view), methods=METHODS) for place in service.places]
    return asgi(service, PolicyMiddleware(Starlette(routes=routes)))


def flask_routes(service: Service) -> Ask:
    """Function views of Flask."""
    app = flask_app(service)
    Policies(app)
    return asked_flask(app)


def flask_around(service: Service) -> Ask:
    """The same, with the middleware for WSGI around the whole application."""
    app = flask_app(service)
    return asked_flask(WsgiMiddleware(app))


def flask_app(service: Service) -> flask.Flask:
    app = flask.Flask("conformance")

    def view(**parameters: Any) -> str:
        service.turn.run()
        return "done"

    for number, place in enumerate(service.places):
        options: dict[str, Any] = {"methods": METHODS, "provide_automatic_options": False}
        app.add_url_rule(angled(place.route), str(number), placed(service, place, view), **options)
    return app


def asked_flask(app: Any) -> Ask:
    def answered(request: Request) -> Answer:
        found = Visitor(app, use_cookies=False).open(
            request.target,
            method=request.method,
            headers=request.headers,
            data=request.body or None,
            environ_base={"REMOTE_ADDR": request.address},
        )
        answer = Answer(found.status_code, {name.lower(): value for name, value in found.headers}, found.data)
        found.close()
        return answer

    return answered


FRAMEWORKS: list[Callable[[Service], Ask]] = [
    django_wsgi,
    django_asgi,
    django_classes,
    rest_framework,
    rest_throttle,
    fastapi,
    fastapi_threads,
    starlette,
    flask_routes,
    flask_around,
]
