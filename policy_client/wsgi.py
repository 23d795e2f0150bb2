"""The middleware for WSGI. An application whose routes we cannot see is decided by path, against the routes that the
policies name; Flask after routing (see `policy_client.flask`).
"""

from collections.abc import Iterable
from typing import Any

from policy_client.body import CountedBody
from policy_client.call import Call, Identify
from policy_client.client import PolicyClient
from policy_client.decision import Decision
from policy_client.default import process_client
from policy_client.frameworks import in_use
from policy_client.plan import Entry
from policy_client.request_parts import read_body_headers, read_cookies, read_meta_headers, read_query
from policy_client.routes import path_values
from policy_client.running import Running
from policy_client.visit import Ask, Visit
from policy_client.wsgi_run import App, Environ, StartResponse, WsgiRun, refuse


class WsgiVisit(Visit):
    """A request of a WSGI application; `request` is its environ, `path` what it was called with.

    `matched` is the template of a policy and the path that it matches, where no router says what the route is.
    """

    matched: tuple[str, str] | None = None

    def __init__(self, environ: Environ, client: PolicyClient, identify: Identify | None = None) -> None:
        super().__init__(environ, environ.get("REQUEST_METHOD", "GET").upper(), client, identify)
        self.path: str = environ.get("PATH_INFO", "")

    def decide(self, ask: Ask) -> Decision:
        decision = super().decide(ask)
        if decision.running is not None and decision.running.reads:
            self.count_body(decision.running)
        return decision

    def count_body(self, running: Running) -> None:
        """Have what is read of the body counted, from now on."""
        if "wsgi.input" in self.request:
            self.request["wsgi.input"] = CountedBody(self.request["wsgi.input"], running)

    def route(self) -> str | None:
        return None

    def is_timed(self) -> bool:
        """Nothing around an asynchronous view cancels it: it has an event loop of its own."""
        return False

    def path_params(self) -> Any:
        """The values of the route's parameters."""
        return {} if self.matched is None else path_values(*self.matched)

    def describe(self, call: Call, entry: Entry) -> None:
        environ = self.request
        wants = entry.wanted
        call.path = decoded(environ.get("PATH_INFO", ""))
        if wants.headers:
            call.headers = read_meta_headers(environ)
            if wants.body:
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
        adapter = in_use("flask")
        if adapter is not None:
            adapter.hook_routing()
            self.client.runs_in(adapter.framework())
            self._visit = adapter.FlaskVisit
            self._routes = adapter.has_routes(app)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        visit = self._visit(environ, self.client, self.identify)
        if not self._routes:
            path = decoded(visit.path) or "/"
            found = self.client.template_for_path(visit.method, path)
            if found is not None:
                visit.matched = (found[1], path)
                if not visit.decide(found[0]).allowed:
                    return refuse(visit, start_response)
        return WsgiRun(visit, environ, start_response).answer(self.app)


def decoded(path: str) -> str:
    """A path of the environ, whose characters stand for bytes, as text."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")
