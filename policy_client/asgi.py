"""The middleware for ASGI: pure, so streams and background work pass through untouched.

Under Starlette and FastAPI the decision comes after routing (see `policy_client.starlette`). An application without
their router is decided by path, against the routes that the policies name.
"""

import asyncio
import functools
from collections.abc import MutableMapping
from contextvars import Token
from typing import Any

from policy_client.answer import Headers
from policy_client.asgi_run import App, AsgiRun, Message, Receive, Send
from policy_client.call import Call, Identify
from policy_client.client import PolicyClient
from policy_client.default import process_client
from policy_client.frameworks import in_use
from policy_client.plan import Entry
from policy_client.request_parts import read_body_headers, read_cookies, read_query
from policy_client.routes import path_values
from policy_client.visit import Visit, current

Scope = MutableMapping[str, Any]

KEY = "policy_client.visit"


class AsgiVisit(Visit):
    """A request of an ASGI application; `request` is its scope.

    `blind`: it was decided without anybody knowing which view will answer it. `matched` is the template of a policy and
    the path that it matches, where no router says what the route is.
    """

    blind = False
    matched: tuple[str, str] | None = None

    def route(self) -> str | None:
        return None

    def describe(self, call: Call, entry: Entry) -> None:
        scope = self.request
        wants = entry.wanted
        call.path = scope.get("path", "")
        if wants.headers or wants.cookies or (wants.ip and self.client.proxies):
            call.headers = read_headers(scope)
            if wants.cookies:
                call.cookies = read_cookies(call.headers.get("cookie", ""))
            if wants.body:
                read_body_headers(call, call.headers)
                call.unannounced = not scope.get("http_version", "").startswith("1")
        if wants.ip:
            remote = (scope.get("client") or (None,))[0]
            call.ip = self.client.proxies.client(remote, call.headers.get("x-forwarded-for"))
        if wants.query:
            call.query = read_query(scope.get("query_string", b"").decode("latin-1"))
        if wants.path_params:
            call.path_params = path_values(*self.matched) if self.matched else scope.get("path_params", {})


class PolicyMiddleware:
    """`app.add_middleware(PolicyMiddleware, client=client)`, or around any ASGI application.

    `client` is by default that of the process. `identify(request)` says who calls; it gets a Starlette Request where
    Starlette is, else the scope, and may be a coroutine function.
    """

    def __init__(self, app: App, client: PolicyClient | None = None, identify: Identify | None = None) -> None:
        self.app = app
        self.client = client or process_client()
        self.identify = identify
        self._visit: type[AsgiVisit] = AsgiVisit
        adapter = in_use("starlette.routing")
        if adapter is not None:
            adapter.hook_routing()
            self.client.runs_in(adapter.framework())
            self._visit = adapter.StarletteVisit
        django = in_use("django.core.handlers.asgi")
        self._django = django if django is not None and django.decides_itself(app) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._django is not None:
            await self._django.serve(self.client, self.app, scope, receive, send)
            return
        # Routers know methods in capitals; but an endpoint of Starlette's finds its handler for any spelling.
        visit = self._visit(scope, scope["method"].upper(), self.client, self.identify)
        scope[KEY] = visit
        token: Token[Visit | None] = current.set(visit)
        try:
            if "app" in scope or has_routes(self.app):
                await self.app(scope, receive, send)
            else:
                await self._by_path(visit, scope, receive, send)
        finally:
            current.reset(token)
            # Scope and visit would hold each other until the garbage collector comes by, which costs more than the
            # decision. A middleware in between may have made a copy.
            scope.pop(KEY, None)
            visit.request.pop(KEY, None)

    async def _by_path(self, visit: AsgiVisit, scope: Scope, receive: Receive, send: Send) -> None:
        path, root = scope["path"], scope.get("root_path", "")
        if root and f"{path}/".startswith(f"{root}/"):
            path = path[len(root) :] or "/"
        found = self.client.template_for_path(visit.method, path)
        if found is None:
            await self.app(scope, receive, send)
        else:
            visit.blind = True
            visit.matched = (found[1], path)
            await serve(visit, found[0], self.app, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with the worker process, and hand over the last counts when it ends."""

        async def flushed(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                # Before the server hears of it, which ends the process then. In a thread: the console may be slow.
                await asyncio.to_thread(self.client.flush)
            await send(message)

        self.client.start()
        await self.app(scope, receive, flushed)


async def serve(visit: AsgiVisit, ask: str | Entry | None, app: App, receive: Receive, send: Send) -> None:
    """Decide, then answer a denial or let `app` answer with our headers. `ask` is what `Visit.adecide` takes."""
    decision = await visit.adecide(ask)
    if not decision.allowed:
        await refuse(visit, send)
        return
    headers = encoded(visit.headers())
    told = functools.partial(_send, send, headers) if headers else send
    if decision.running is None:
        await app(visit.request, receive, told)
    else:
        await AsgiRun(visit, decision.running, receive, told, functools.partial(refuse, visit, send)).serve(app)


async def refuse(visit: AsgiVisit, send: Send) -> None:
    answer = visit.answer()
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})


async def _send(send: Send, headers: list[tuple[bytes, bytes]], message: Message) -> None:
    if message["type"] == "http.response.start":
        message = {**message, "headers": [*message.get("headers", ()), *headers]}
    await send(message)


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]


def read_headers(scope: Scope) -> dict[str, str]:
    """The request's headers by lower-case name; repeated ones joined as the RFCs say."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            value = headers[name] + ("; " if name == "cookie" else ",") + value
        headers[name] = value
    return headers


def has_routes(app: Any) -> bool:
    """Whether a router that says what it found is at the end of this chain of middlewares."""
    for _ in range(100):
        if app is None:
            return False
        if hasattr(app, "routes"):
            return True
        app = getattr(app, "app", None)
    return False
