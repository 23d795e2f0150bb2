"""Starlette and FastAPI: where the router has found a route, and how a request becomes a call.

The decision comes after routing, so that it knows the route and leaves 404 and 405 alone. The one place between router
and view that every route passes (those of included routers, mounts and hosts, and routes added while the service
runs) is the `handle` of the route's class. `hook_routing` steps in there, for requests that passed our middleware.
"""

import functools
import math
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from typing import Any
from weakref import WeakKeyDictionary

import anyio
from starlette import __version__
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from policy_client.asgi import KEY, AsgiVisit, encoded, has_routes, refuse, serve
from policy_client.asgi_run import AsgiRun, BodyCount
from policy_client.decision import Decision
from policy_client.default import default_client
from policy_client.running import expiring, nothing
from policy_client.views import Protection, about
from policy_client.visit import Ask, Visit

PREFIX = "policy_client.prefix"
VISIT = "policy_client_visit"


class StarletteVisit(AsgiVisit):
    """A request that a router of Starlette or FastAPI gives to a route; `template` is that route's. `asked` is the
    view's own request, where there is no middleware."""

    template: str | None = None
    asked: HTTPConnection | None = None

    def route(self) -> str | None:
        return self.template

    def subject(self) -> Any:
        return Request(self.request)

    def user(self) -> str | None:
        user = self.request.get("user")
        if not getattr(user, "is_authenticated", False):
            return None
        for name in ("identity", "display_name"):
            try:
                value = getattr(user, name, None)
            except NotImplementedError:  # Starlette's BaseUser leaves both to its heirs
                continue
            if value:
                return str(value)
        return None

    def take_arguments(self, arguments: Mapping[str, Any]) -> None:
        """FastAPI's response argument takes the headers where a view returns something that is no response."""
        for argument in arguments.values():
            if isinstance(argument, Response):
                self.merged = argument

    def refusal(self) -> Response:
        answer = self.answer()
        response = Response(answer.body, answer.status)
        response.raw_headers = encoded(answer.headers)
        return response

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[Callable[[], None]]:
        """By anyio's way of cancelling, which waits for code in a thread: nobody can stop that."""
        running = self.running
        left = None if running is None else running.left()
        if running is None or left is None:
            yield nothing
            return
        with expiring(running, left) as lift, anyio.CancelScope(deadline=anyio.current_time() + left) as scope:

            def lift_both() -> None:
                lift()
                scope.deadline = math.inf

            yield lift_both
        if scope.cancelled_caught:
            raise TimeoutError

    def decide(self, ask: Ask) -> Decision:
        decision = super().decide(ask)
        if self._too_large():
            self.finish()
        return decision if self.decision is None else self.decision

    async def adecide(self, ask: Ask) -> Decision:
        decision = await super().adecide(ask)
        if self._too_large():
            await self.afinish()
        return decision if self.decision is None else self.decision

    def _too_large(self) -> bool:
        """Without a middleware: whether FastAPI has read too much before it called the view. What the view is going to
        read by itself is counted then."""
        running, request = self.running, self.asked
        if running is None or request is None or not running.reads:
            return False
        if isinstance(request, Request):
            request._receive = BodyCount(request._receive, running).receive
        return not running.read(len(getattr(request, "_body", b""))) and self.overruled()

    def follow(self, response: Any) -> bool:
        """A response of Starlette's sends itself."""
        if not isinstance(response, Response):
            return False
        response.__class__ = _following(type(response))
        setattr(response, VISIT, self)
        return True

    def grant(self, response: Any) -> Any:
        if isinstance(response, Response):
            # A copy, because a view may give the same one to everybody.
            granted = copy(response)
            vars(granted).pop("_headers", None)
            granted.raw_headers = [*response.raw_headers, *encoded(self.headers())]
            return granted
        if self.merged is not None:
            self.merged.raw_headers.extend(encoded(self.headers()))
        return response


_followed: WeakKeyDictionary[type[Response], type[Response]] = WeakKeyDictionary()


def _following(kind: type[Response]) -> type[Response]:
    """Responses of this class that end their visit with the last byte, or when the caller is gone."""
    known = _followed.get(kind)
    return known or _followed.setdefault(kind, _follow(kind))


def _follow(kind: type[Response]) -> type[Response]:

    async def send_it(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
        visit: StarletteVisit = getattr(self, VISIT)
        visit.request = scope

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await kind.__call__(self, scope, receive, send)

        if visit.running is None:
            await app(scope, receive, send)
        else:
            refuse_it = functools.partial(refuse, visit, send)
            await AsgiRun(visit, visit.running, receive, send, refuse_it).serve(app)

    return type(kind.__name__, (kind,), {"__call__": send_it, "__module__": kind.__module__})


def framework() -> str:
    """What the heartbeat calls it."""
    fastapi = sys.modules.get("fastapi")
    return f"starlette {__version__}" if fastapi is None else f"fastapi {fastapi.__version__}"


def arrive(request: HTTPConnection, protection: Protection) -> tuple[Visit, bool]:
    """The visit of a request, and whether a function with this protection is the view that answers it."""
    scope = request.scope
    visit = scope.get(KEY)
    if visit is None or visit.blind:
        client = protection.client or (default_client() if visit is None else visit.client)
        client.runs_in(framework())
        identify = None if visit is None else visit.identify
        visit = scope[KEY] = StarletteVisit(scope, scope.get("method", "").upper(), client, identify)
        visit.asked = request
    return visit, visit.enter(scope.get("endpoint"), protection)


def hook_routing() -> None:
    """Step in between router and view, in this process and once."""
    classes: list[type[BaseRoute]] = [Route]
    fastapi = sys.modules.get("fastapi.routing")
    if fastapi is not None:
        classes.append(fastapi.APIRoute)
    for kind in classes:
        _hook(kind, _handle_route)
    _hook(Mount, _handle_mount)


def _hook(kind: type[BaseRoute], step: Any) -> None:
    original = vars(kind).get("handle")
    if original is None or getattr(original, KEY, False):
        return

    @functools.wraps(original)
    async def handle(self: BaseRoute, scope: Scope, receive: Receive, send: Send) -> None:
        await step(self, functools.partial(original, self), scope, receive, send)

    setattr(handle, KEY, True)
    kind.handle = handle  # type: ignore[method-assign]


async def _handle_route(route: Route, original: Any, scope: Scope, receive: Receive, send: Send) -> None:
    visit = scope.get(KEY)
    if not isinstance(visit, StarletteVisit) or visit.settled:
        await original(scope, receive, send)
        return
    chosen = _effective(route, scope)
    protection, answers = about(scope.get("endpoint"), visit.method)
    if not answers or (chosen.methods and scope["method"] not in chosen.methods):
        visit.skipped = True
        await original(scope, receive, send)
        return
    visit.request = scope  # a middleware in between may have made a copy
    visit.template = scope.get(PREFIX, "") + chosen.path
    if protection is not None:
        visit.protected_by(protection)
    await serve(visit, None if protection is None else protection.name, original, receive, send)


async def _handle_mount(mount: Mount, original: Any, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        await original(scope, receive, send)
        return
    prefix = scope[PREFIX] = scope.get(PREFIX, "") + mount.path
    visit = scope.get(KEY)
    if not isinstance(visit, StarletteVisit) or visit.settled or has_routes(getattr(mount, "_base_app", mount.app)):
        await original(scope, receive, send)
        return
    # What is mounted has no routes of its own that we know of (static files, another framework): all of it is one.
    visit.request = scope
    visit.template = prefix + "/{path:path}"
    visit.blind = True
    await serve(visit, None, original, receive, send)


def _effective(route: Route, scope: Scope) -> Any:
    """The route as its router sees it: FastAPI keeps what an included router adds (the prefix) beside the route."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    return context if context is not None and context.original_route is route else route
