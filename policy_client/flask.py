"""Flask: `Policies(app)` decides each routed request, after routing and after what runs before a request.

The one place between router and view that every route passes is the application's `dispatch_request`.
`hook_routing` steps in there, for requests of applications that have `Policies` and for what is mounted below them.
"""

import functools
import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

import flask
from flask import Flask, g
from flask.wrappers import Request, Response
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Rule
from werkzeug.wsgi import ClosingIterator

from policy_client.body import CountedBody, Tally
from policy_client.call import Identify
from policy_client.client import PolicyClient
from policy_client.decision import Decision
from policy_client.default import default_client, process_client
from policy_client.running import Running
from policy_client.steps import in_steps
from policy_client.views import Cost, Protection, about
from policy_client.visit import Ask, Visit
from policy_client.wsgi import WsgiVisit, decoded
from policy_client.wsgi_run import KEY, App, Environ, StartResponse, WsgiRun, refuse

EXTENSION = "policy_client"
VISIT = "policy_client_visit"

# Werkzeug's way of writing a variable of a route.
_VARIABLE = re.compile(r"<(?:(?P<converter>[A-Za-z_]\w*)(?:\(.*?\))?:)?(?P<name>[A-Za-z_]\w*)>")


class Installed(NamedTuple):
    """What `Policies` leaves in `app.extensions`."""

    client: PolicyClient
    identify: Identify | None


class Policies:
    """`Policies(app, client, identify)`, or `Policies(client=…).init_app(app)` where applications are made later.

    `client` is by default that of the process. `identify(request)` says who calls; it may look at what functions
    before the request have left in `flask.g`.
    """

    def __init__(
        self, app: Flask | None = None, client: PolicyClient | None = None, identify: Identify | None = None
    ) -> None:
        self.client = client
        self.identify = identify
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        client = self.client or process_client()
        client.runs_in(framework())
        hook_routing(type(app))
        if EXTENSION not in app.extensions:
            app.wsgi_app = _Entrance(app, app.wsgi_app)  # type: ignore[method-assign]
        app.extensions[EXTENSION] = Installed(client, self.identify)


class FlaskVisit(WsgiVisit):
    """A request that Flask gives to a view.

    `owner` is the application that it came in by, `asked` Flask's request once it is routed, `template` its route and
    `named` the endpoint's name, if it has one. `tally` knows how much of the body was read before the decision.
    `answering`: its view runs.
    """

    asked: Request | None = None
    named: str | None = None
    template: str | None = None
    tally: Tally | None = None
    answering = False

    def __init__(
        self,
        environ: Environ,
        client: PolicyClient,
        identify: Identify | None = None,
        owner: Flask | None = None,
    ) -> None:
        super().__init__(environ, client, identify)
        self.owner = owner

    def tally_body(self) -> None:
        """What runs before the view may read the body; count it."""
        environ = self.request
        if "wsgi.input" in environ and (environ.get("CONTENT_LENGTH") or "HTTP_TRANSFER_ENCODING" in environ):
            self.tally = Tally()
            environ["wsgi.input"] = CountedBody(environ["wsgi.input"], self.tally)

    def count_body(self, running: Running) -> None:
        if self.tally is None:
            super().count_body(running)
        else:
            self.tally.tell(running)

    def take(self, app: Flask, request: Request) -> None:
        """Look at what the router of `app` has found."""
        setattr(g, VISIT, self)
        self.asked = request
        self.request = request.environ  # a middleware in between may have made a copy, and changed the method
        self.method = request.method
        rule = request.url_rule
        if rule is None or request.routing_exception is not None:
            self.skipped = True
            return
        self.template = self._prefix(app) + template(app, rule)
        if getattr(rule, "provide_automatic_options", False) and self.method == "OPTIONS":
            return  # answered without the view
        protection = about(app.view_functions.get(rule.endpoint), self.method).protection
        if protection is not None:
            self.named = protection.name
            self.protected_by(protection)

    def _prefix(self, app: Flask) -> str:
        """Where `app` is mounted in this process, which is what the mounts above it took from the path."""
        below = self.request.get("PATH_INFO", "")
        if app is self.owner or not self.path.endswith(below):
            return ""
        return decoded(self.path[: len(self.path) - len(below)])

    def route(self) -> str | None:
        return self.template

    def path_params(self) -> Any:
        return super().path_params() if self.asked is None else self.asked.view_args or {}

    def subject(self) -> Any:
        return self.request if self.asked is None else self.asked

    async def aask(self, client: PolicyClient, ask: Ask, cost: Cost | None = None) -> Decision:
        """Flask runs a coroutine in an event loop of its own, which has nobody else to wait for us."""
        return self.ask(client, ask, cost)

    async def adecide(self, ask: Ask) -> Decision:
        return self.decide(ask)

    def refusal(self) -> Response:
        answer = self.answer()
        return flask.current_app.response_class(answer.body, answer.status, list(answer.headers))

    def grant(self, response: Any) -> Any:
        """A view returns anything that Flask can make a response of, so the headers wait until it has."""
        flask.after_this_request(self._tell)
        return response

    def follow(self, response: Any) -> bool:
        flask.after_this_request(self._let_finish)
        return True

    def _tell(self, response: Response) -> Response:
        if self.decision is not None and self.decision.allowed:
            response.headers.extend(self.headers())
        return response

    def _let_finish(self, response: Response) -> Response:
        chunks, running = response.response, self.running
        if response.direct_passthrough:
            response.response = ClosingIterator(chunks, [self.finish])  # type: ignore[arg-type]
            return response
        if running is not None and running.left() is not None and response.is_streamed:
            response.response = in_steps(chunks, running)
            response.call_on_close(getattr(chunks, "close", lambda: None))
        response.call_on_close(self.finish)
        return response


def framework() -> str:
    """What the heartbeat calls it."""
    return f"flask {version('flask')}"


def arrive(request: Request, protection: Protection) -> tuple[Visit, bool]:
    """The visit of a request, and whether a function with this protection is the view that answers it."""
    visit = g.get(VISIT)
    if visit is None or visit.asked is not request:
        client = protection.client or default_client()
        client.runs_in(framework())
        installed = flask.current_app.extensions.get(EXTENSION)
        visit = FlaskVisit(request.environ, client, installed.identify if installed is not None else None)
        visit.take(flask.current_app, request)
    rule = request.url_rule
    view = None if rule is None else flask.current_app.view_functions.get(rule.endpoint)
    return visit, view is not None and visit.enter(view, protection)


def template(app: Flask, rule: Rule) -> str:
    """A rule as a route template: converters that span slashes make a parameter that does."""
    known: str | None = vars(rule).get(EXTENSION)
    if known is None:
        kinds = app.url_map.converters

        def parameter(found: re.Match[str]) -> str:
            kind = kinds.get(found["converter"] or "default")
            return f"{{{found['name']}{'' if getattr(kind, 'part_isolating', True) else '*'}}}"

        known = vars(rule)[EXTENSION] = _VARIABLE.sub(parameter, rule.rule)
    return known


def hook_routing(kind: type[Flask] = Flask) -> None:
    """Step in between router and view, in this process and once; `kind` may have a way of its own to call views."""
    for each in kind.__mro__:
        if issubclass(each, Flask):
            _hook(each, "dispatch_request", _dispatch)
            _hook(each, "async_to_sync", _awaiting)
    _hook(Flask, "__call__", _enter)
    _hook(DispatcherMiddleware, "__call__", _mount)


def _hook(kind: type, name: str, step: Any) -> None:
    original = vars(kind).get(name)
    if original is None or getattr(original, EXTENSION, False):
        return

    @functools.wraps(original)
    def hooked(self: Any, *args: Any) -> Any:
        return step(self, functools.partial(original, self), *args)

    setattr(hooked, EXTENSION, True)
    setattr(kind, name, hooked)


class _Entrance:
    """An application's `wsgi_app`, for whoever calls that and not the application."""

    def __init__(self, owner: Flask, app: App) -> None:
        self.owner = owner
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return _enter(self.owner, self.app, environ, start_response)


def _enter(app: Flask, original: App, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A request comes in, here or at an application that this one is mounted in."""
    installed: Installed | None = app.extensions.get(EXTENSION)
    if installed is None:
        return original(environ, start_response)
    visit = environ.get(KEY)
    if not isinstance(visit, FlaskVisit) or visit.settled:
        visit = FlaskVisit(environ, *installed, app)
        visit.tally_body()
        return WsgiRun(visit, environ, start_response).answer(original)
    visit.client, visit.identify = installed.client, installed.identify or installed.client.identify
    return original(environ, start_response)


def _dispatch(app: Flask, original: Any) -> Any:
    """A request is given to its view."""
    visit = _due(app, flask.request._get_current_object())  # type: ignore[attr-defined]
    if visit is None:
        return original()
    if not visit.decide(visit.named).allowed or visit.overruled():
        return visit.refusal()
    visit.answering = True
    try:
        answer = original()
    except Exception:
        if not visit.overruled():
            raise
        return visit.refusal()
    finally:
        visit.answering = False
    return visit.refusal() if visit.overruled() else answer


def _awaiting(app: Flask, original: Any, function: Any) -> Any:
    """A coroutine function is made one that Flask can call; in a view it is cancelled in time."""
    visit: FlaskVisit | None = g.get(VISIT) if flask.has_request_context() else None
    if visit is None or not visit.answering:
        return original(function)

    @functools.wraps(function)
    async def in_time(*args: Any, **kwargs: Any) -> Any:
        async with visit.in_time():
            return await function(*args, **kwargs)

    return original(in_time)


def _due(app: Flask, request: Request) -> FlaskVisit | None:
    """The visit of a request that is to be decided now."""
    visit = request.environ.get(KEY)
    installed: Installed | None = app.extensions.get(EXTENSION)
    if isinstance(visit, FlaskVisit):
        if visit.asked is request or (visit.settled and installed is None):
            return None
    elif installed is None:
        return None
    if not isinstance(visit, FlaskVisit) or visit.settled:
        # Somebody has given this request to the application in a way of his own.
        assert installed is not None
        visit = FlaskVisit(request.environ, *installed, app)
        visit.grant(None)
        visit.follow(None)
    visit.take(app, request)
    return None if visit.skipped else visit


def _mount(mounts: DispatcherMiddleware, original: App, environ: Environ, start_response: StartResponse) -> Any:
    """What is mounted and has no routes that we know of (static files, another framework): all of it is one route."""
    visit = environ.get(KEY)
    if not isinstance(visit, FlaskVisit) or visit.settled:
        return original(environ, start_response)
    script = environ.get("PATH_INFO", "")
    while "/" in script and script not in mounts.mounts:
        script = script.rpartition("/")[0]
    app = mounts.mounts.get(script)
    if app is None or has_routes(app):
        return original(environ, start_response)
    above = visit.path.removesuffix(environ.get("PATH_INFO", ""))
    visit.request = environ
    visit.template = decoded(above + script) + "/{path:path}"
    return original(environ, start_response) if visit.decide(None).allowed else refuse(visit, start_response)


def has_routes(app: Any) -> bool:
    """Whether Flask, which says what it found, is at the end of this chain of middlewares."""
    for _ in range(100):
        if app is None:
            return False
        owner = getattr(app, "__self__", app)
        if isinstance(owner, Flask | DispatcherMiddleware):
            return True
        app = getattr(owner, "wsgi_app", None) or getattr(owner, "app", None)
    return False
