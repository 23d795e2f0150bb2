"""The middleware for WSGI. An application whose routes we cannot see is decided by path, against the routes that the
policies name; Flask after routing (see `policy_client.flask`).
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from importlib import import_module
from typing import Any, Self

from policy_client.answer import TITLES, Headers
from policy_client.call import Call, Identify
from policy_client.client import PolicyClient
from policy_client.default import process_client
from policy_client.plan import Entry
from policy_client.request_parts import read_body_headers, read_cookies, read_meta_headers, read_query
from policy_client.visit import Visit, current, wanted

Environ = MutableMapping[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Any, Any], Iterable[bytes]]

KEY = "policy_client.visit"


class WsgiVisit(Visit):
    """A request of a WSGI application; `request` is its environ, `path` what it was called with."""

    __slots__ = ("path",)

    def __init__(self, environ: Environ, client: PolicyClient, identify: Identify | None = None) -> None:
        super().__init__(environ, environ.get("REQUEST_METHOD", "GET").upper(), client, identify)
        self.path: str = environ.get("PATH_INFO", "")

    def route(self) -> str | None:
        return None

    def path_params(self) -> Any:
        """The values of the route's parameters, where a router has found them."""
        return {}

    def describe(self, call: Call, entry: Entry) -> None:
        environ = self.request
        wants = wanted(entry.needs)
        call.path = decoded(environ.get("PATH_INFO", ""))
        if wants.headers or entry.guards:
            call.headers = read_meta_headers(environ)
            if entry.guards:
                read_body_headers(call, call.headers)
        if wants.ip:
            call.ip = self.client.proxies.client(environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR"))
        if wants.cookies:
            call.cookies = read_cookies(environ.get("HTTP_COOKIE", ""))
        if wants.query:
            call.query = read_query(environ.get("QUERY_STRING", ""))
        if wants.path_params:
            call.path_params = self.path_params()


class PolicyMiddleware:
    """`application = PolicyMiddleware(application)`, around any WSGI application.

    `client` is by default that of the process. `identify(request)` says who calls; it gets Flask's request where Flask
    has routed, else the environ.
    """

    def __init__(self, app: App, client: PolicyClient | None = None, identify: Identify | None = None) -> None:
        self.app = app
        self.client = client or process_client()
        self.identify = identify
        self._visit: type[WsgiVisit] = WsgiVisit
        self._routes = False
        if "flask" in sys.modules:
            adapter = import_module("policy_client.flask")
            adapter.hook_routing()
            self.client.runs_in(adapter.framework())
            self._visit = adapter.FlaskVisit
            self._routes = adapter.has_routes(app)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        visit = self._visit(environ, self.client, self.identify)
        if not self._routes:
            entry = self.client.entry_for_path(visit.method, decoded(visit.path) or "/")
            if entry is not None and not visit.decide(entry).allowed:
                return refuse(visit, start_response)
        return run(visit, self.app, environ, start_response)


def refuse(visit: WsgiVisit, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the denial."""
    answer = visit.answer()
    start_response(f"{answer.status} {TITLES.get(answer.status, 'Refused')}", native(answer.headers))
    return [answer.body]


def run(visit: WsgiVisit, app: App, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Let `app` answer, with our headers if its call was decided and allowed."""
    started = False

    def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        nonlocal started
        started = True
        if visit.decision is not None and visit.decision.allowed:
            headers = [*headers, *native(visit.headers())]
        return start_response(status, headers, *error)

    with _during(visit, environ):
        chunks = app(environ, start)
    return chunks if started else _Late(visit, environ, chunks)


@contextlib.contextmanager
def _during(visit: WsgiVisit, environ: Environ) -> Iterator[None]:
    """What runs in here is on the account of this request."""
    around = environ.get(KEY)
    environ[KEY] = visit
    token = current.set(visit)
    try:
        yield
    finally:
        current.reset(token)
        # Environ and visit would hold each other until the garbage collector comes by.
        environ.pop(KEY, None)
        if around is not None:
            environ[KEY] = around


class _Late:
    """The answer of an application that does its work when the server asks for the first chunk."""

    def __init__(self, visit: WsgiVisit, environ: Environ, chunks: Iterable[bytes]) -> None:
        self._visit = visit
        self._environ = environ
        self._chunks = chunks
        self._following = iter(chunks)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        with _during(self._visit, self._environ):
            return next(self._following)

    def close(self) -> None:
        with _during(self._visit, self._environ):
            getattr(self._chunks, "close", lambda: None)()


def native(headers: Headers) -> list[tuple[str, str]]:
    """Headers as WSGI wants them: text of Latin-1 alone."""
    return [(name, value.encode("latin-1", "replace").decode("latin-1")) for name, value in headers]


def decoded(path: str) -> str:
    """A path of the environ, whose characters stand for bytes, as text."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")
